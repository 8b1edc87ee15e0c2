"""Everything the kit asks of a Kafka broker: topics, offsets, messages, group membership."""
