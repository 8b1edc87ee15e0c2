"""All that is asked of a Kafka broker: topics, offsets, messages, a seat in a consumer group."""
