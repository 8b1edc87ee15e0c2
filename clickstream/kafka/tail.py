"""Follow a topic from now on: the messages that arrive, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from typing import Final

from confluent_kafka import TopicPartition

from clickstream.kafka.admin import Admin
from clickstream.kafka.messages import TopicMessage, open_consumer, topic_message
from clickstream.settings import KafkaSettings

_MOST: Final = 1_000
_WAIT_S: Final = 0.2


def follow(settings: KafkaSettings, *, key: str | None = None) -> Generator[list[TopicMessage]]:
    """Yield the messages that arrive from now on, several times per second, until it is closed.

    It joins no group and commits nothing. While Kafka does not answer, nothing arrives.

    Args:
        settings: the Kafka and the topic.
        key: only messages with this key.

    Yields:
        A list, empty if nothing arrived for 0.2 s. The first one is empty and comes as soon as the
        topic's end is known: everything that is sent after it will be found.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer at the beginning.
    """
    admin, topic = Admin(settings), settings.topic
    ends = admin.end_offsets(topic, admin.partitions(topic))
    wanted = None if key is None else key.encode()
    with closing(open_consumer(settings)) as consumer:
        consumer.assign([TopicPartition(topic, *each) for each in ends.items()])
        yield []
        while True:
            # An error here, such as the end of a partition, is one that the client cures itself.
            yield [
                topic_message(message)
                for message in consumer.consume(_MOST, _WAIT_S)
                if message.error() is None and (wanted is None or message.key() == wanted)
            ]
