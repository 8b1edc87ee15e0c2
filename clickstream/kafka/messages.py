"""Read the messages of a topic, all or only the newest, and show them safely.

Reading joins no consumer group and commits nothing.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import methodcaller
from typing import Final

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from clickstream.errors import Command, ServerError, require_count
from clickstream.kafka.admin import Admin
from clickstream.settings import KafkaSettings

_LAST_MS = 253_402_300_799_000
"""The last second of the year 9999."""


@dataclass(frozen=True)
class TopicMessage:
    """One message of a topic."""

    partition: int
    offset: int
    key: str | None
    timestamp: datetime
    value: bytes | None = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)


def read(settings: KafkaSettings, topic: str | None = None) -> Iterator[TopicMessage]:
    """Read every current message of a topic, from the beginning to the end as it is now.

    Messages of different partitions are interleaved; each partition is in order. It joins no
    group and commits nothing.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer for `timeout_s`.
    """
    return map(topic_message, read_raw(settings, topic))


def read_raw(
    settings: KafkaSettings,
    topic: str | None = None,
    *,
    starts: dict[int, int] | None = None,
    ends: dict[int, int] | None = None,
) -> Generator[Message]:
    """Read like `read`, but yield raw messages: key, value and headers in bytes.

    Args:
        settings: the Kafka to read from.
        topic: by default the topic of the settings.
        starts: the first offset to read, by partition; by default the first one that exists.
        ends: the offset to stop before, by partition; by default the current end.

    Raises:
        ConfigError, ServerError: as `read`.
    """
    admin, topic = Admin(settings), topic or settings.topic
    firsts = admin.first_offsets(topic)
    ends = admin.end_offsets(topic, firsts) if ends is None else ends
    wanted = {i: max(first, (starts or {}).get(i, 0)) for i, first in firsts.items()}
    wanted = {i: first for i, first in wanted.items() if ends.get(i, 0) > first}
    with closing(open_consumer(settings)) as consumer:
        yield from read_between(consumer, admin, topic, wanted, ends)


def peek(
    settings: KafkaSettings, n: int = 10, *, topic: str | None = None, partition: int | None = None
) -> list[TopicMessage]:
    """Return the newest `n` messages of a topic, oldest first; fewer if it has fewer.

    Args:
        settings: the Kafka to read from.
        n: the number of messages.
        topic: by default the topic of the settings.
        partition: only messages of this partition.

    Raises:
        ConfigError: no such topic, or `n` is below 1.
        ServerError: Kafka did not answer.
    """
    require_count(f"peek at {n} messages", n)
    admin, topic = Admin(settings), topic or settings.topic
    ends = admin.end_offsets(topic, admin.partitions(topic))
    if partition is not None:
        ends = {i: end for i, end in ends.items() if i == partition}
    newest = {i: end - n for i, end in ends.items()}
    found = map(topic_message, read_raw(settings, topic, starts=newest, ends=ends))
    return sorted(found, key=lambda message: message.timestamp)[-n:]


def open_consumer(settings: KafkaSettings) -> Consumer:
    """Open a consumer for `read_between`; the caller closes it."""
    config = settings.client_config() | {
        # A group id is mandatory; nothing is ever committed under it.
        "group.id": f"{settings.group_id}-looking",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "allow.auto.create.topics": False,
    }
    return Consumer(config)


def read_between(
    consumer: Consumer,
    admin: Admin,
    topic: str,
    starts: Mapping[int, int],
    ends: Mapping[int, int],
) -> Generator[Message]:
    """Read the partitions of `starts` from these offsets up to `ends`.

    Raises:
        ServerError: Kafka did not answer for `timeout_s`, or with an error.
    """
    timeout_s = admin.settings.timeout_s
    left = {i: ends[i] - start for i, start in starts.items()}
    consumer.assign([TopicPartition(topic, i, offset) for i, offset in starts.items()])
    deadline = time.monotonic() + timeout_s
    while left:
        # No more than there are: it would wait for the rest.
        for message in consumer.consume(min(10_000, sum(left.values())), timeout=0.2):
            deadline = time.monotonic() + timeout_s
            error = message.error()
            i = message.partition()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                msg = f"reading topic {topic!r}: Kafka answered {error.str()!r}"
                raise ServerError(msg, ("see ", Command("status")))
            if error is None and message.offset() < ends[i]:
                yield message
            if error is not None or message.offset() >= ends[i] - 1:
                left.pop(i, None)
            elif i in left:
                left[i] = ends[i] - 1 - message.offset()
        if time.monotonic() > deadline:
            raise admin.no_answer(f"reading topic {topic!r}")


def headers(message: Message) -> list[tuple[str, bytes | None]] | None:
    """Return a message's headers; None if the client cannot decode them.

    That happens if the name of one is not UTF-8. Ask once for each message: the client's second
    answer would contain null pointers.
    """
    try:
        return _headers_of(message) or []
    except (SystemError, UnicodeDecodeError):
        return None


# The client returns a list although it has set an exception. A fast call of a method by Python's
# interpreter does not notice; `methodcaller` checks every call.
_headers_of: Final = methodcaller("headers")


def moment(message: Message) -> datetime:
    """Return a message's time, limited to 1970 … 9999; 1970 if it has none."""
    _, timestamp_ms = message.timestamp()
    return datetime.fromtimestamp(min(max(0, timestamp_ms), _LAST_MS) / 1000, UTC)


def topic_message(message: Message) -> TopicMessage:
    """Describe a message; text that is not UTF-8 has replacement characters."""
    key = message.key()
    return TopicMessage(
        partition=message.partition(),
        offset=message.offset(),
        key=None if key is None else key.decode("utf-8", "replace"),
        timestamp=moment(message),
        value=message.value(),
        headers={
            name: (value or b"").decode("utf-8", "replace")
            for name, value in headers(message) or ()
        },
    )


def text(data: bytes) -> str:
    """Decode bytes to text that is safe in a terminal: printable, on one line."""
    return printable(data.decode("utf-8", "backslashreplace"))


def printable(string: str) -> str:
    r"""Escape characters that control a terminal or reverse its text, such as `\x1b[2J`."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in string
    )
