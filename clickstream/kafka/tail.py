"""The messages that arrive in a topic: all of them from now on, or again and again the newest."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Final

from confluent_kafka import KafkaError, Message, TopicPartition

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


class Newest:
    """The newest messages of a topic, for a reader that asks again and again.

    It reads at most `most` messages of each partition at a time and skips the others, so a busy
    topic costs no more than a quiet one. It joins no group and commits nothing. One thread owns
    it.

    Args:
        settings: the Kafka and the topic.
        most: the number of messages.
    """

    def __init__(self, settings: KafkaSettings, *, most: int) -> None:
        self._consumer, self._topic = open_consumer(settings), settings.topic
        self._kept: deque[TopicMessage] = deque(maxlen=most)
        self._most = most
        self._read_to: dict[int, int] = {}
        """By partition: the offset after the newest message that was read."""

    def read(self, ends: Mapping[int, int]) -> list[TopicMessage]:
        """Return the newest messages, the oldest first; it waits for Kafka for 0.2 s at most.

        Those that arrive together are in the order of Kafka's times. If Kafka is slow or silent,
        the answer is that of the latest call.

        Args:
            ends: by partition of the topic, the offset that the next message will get.
        """
        starts = {}
        for i, end in ends.items():
            known = self._read_to.get(i, 0)
            # A recreated topic begins at 0 again.
            starts[i] = max(0, end - self._most, known if known <= end else 0)
        starts = {i: start for i, start in starts.items() if start < ends[i]}
        found = self._read(starts, ends) if starts else []
        for message in found:
            self._read_to[message.partition()] = message.offset() + 1
        self._kept.extend(sorted(map(topic_message, found), key=lambda each: each.timestamp))
        return list(self._kept)

    def _read(self, starts: Mapping[int, int], ends: Mapping[int, int]) -> list[Message]:
        """Read from these offsets to the ends of all partitions, or nothing if that takes long."""
        left = {i: ends[i] - start for i, start in starts.items()}
        found: list[Message] = []
        self._consumer.assign([TopicPartition(self._topic, *each) for each in starts.items()])
        deadline_s = time.monotonic() + _WAIT_S
        while left and (wait_s := deadline_s - time.monotonic()) > 0:
            for message in self._consumer.consume(sum(left.values()), wait_s):
                i, error = message.partition(), message.error()
                if error is None:
                    found.append(message)
                    is_last = message.offset() >= ends[i] - 1
                else:
                    is_last = error.code() == KafkaError._PARTITION_EOF
                if is_last:
                    left.pop(i, None)
                elif error is None:
                    left[i] = ends[i] - 1 - message.offset()
        self._consumer.unassign()  # or the client would go on to fetch everything
        return [] if left else found

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
