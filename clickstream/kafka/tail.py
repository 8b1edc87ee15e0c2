"""Follow a topic from now on: the messages that arrive, in the order in which they are read."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import closing

from confluent_kafka import Message, TopicPartition

from clickstream.kafka.admin import Admin
from clickstream.kafka.messages import TopicMessage, open_consumer, topic_message
from clickstream.settings import KafkaSettings

_MOST = 1_000
_WAIT_S = 0.2


def follow(
    settings: KafkaSettings, stop: threading.Event, *, key: str | None = None
) -> Generator[list[TopicMessage]]:
    """Yield the messages that arrive from now on, several times per second.

    It joins no group and commits nothing.

    Args:
        settings: the Kafka and the topic.
        stop: set it to end.
        key: only messages with this key, which are all in one partition: the others are not read
            any more once the first is found.

    Yields:
        A list, empty if nothing arrived for 0.2 s; the first as soon as the end is known, so that
        what is sent after it will be found.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    admin, topic = Admin(settings), settings.topic
    ends = admin.end_offsets(topic, admin.partitions(topic))
    wanted = None if key is None else key.encode()
    with closing(open_consumer(settings)) as consumer:
        consumer.assign([TopicPartition(topic, *each) for each in ends.items()])
        yield []
        is_narrow = False
        while not stop.is_set():
            found = [
                each for each in consumer.consume(_MOST, _WAIT_S) if _is_of(each, wanted)
            ]
            if found and wanted is not None and not is_narrow:
                last = found[-1]
                consumer.assign([TopicPartition(topic, last.partition(), last.offset() + 1)])
                is_narrow = True
            yield [topic_message(each) for each in found]


def _is_of(message: Message, key: bytes | None) -> bool:
    return message.error() is None and (key is None or message.key() == key)
