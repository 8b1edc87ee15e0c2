"""The dead-letter topic: write messages with their origin and cause, and read them as a table.

It receives messages that can never become documents. Nothing here deletes one: the topic is a
log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from clickstream.errors import DeliveryError, GivenUp
from clickstream.kafka import messages
from clickstream.kafka.admin import Admin
from clickstream.kafka.messages import printable
from clickstream.settings import DEAD_LETTER_BYTES, KafkaSettings

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

REPLAYED_FROM: Final = "clickstream.replayed-from"
"""Header of a message replayed from the dead-letter topic: its place in that topic."""
UNKNOWN: Final = "unknown"
"""The error type of a letter without one: another program wrote it."""
NO_EVENT: Final = "not an event: "
"""Prefix of every `EventError` reason; it is redundant beside the error type."""

_HEADERS: Final = tuple(
    f"clickstream.{name}" for name in ("topic", "partition", "offset", "error.type", "error.reason")
)
"""Headers that the consumer adds to the message."""
_MAX_DIGITS: Final = 18
_REASON_BYTES: Final = 1_000
_WARN_EVERY_S: Final = 10.0

DELIVERY_PROPERTIES: Final = {
    "enable.idempotence": True,
    "acks": "all",
    # Wait for a broker that is down, without a time limit.
    "message.timeout.ms": 0,
    # The topics limit the size: a message may come back from the dead letters, with more headers.
    "message.max.bytes": DEAD_LETTER_BYTES,
}
"""Properties of our producers, by which nothing is lost, doubled or reordered."""

Letter = tuple[Message, str, str]
"""Message, error type, reason."""


class DeadLetters:
    """Writes to the dead-letter topic: each message unchanged, with its origin and cause.

    The message keeps its headers, unless the client cannot decode them; `clickstream.topic`,
    `.partition`, `.offset`, `.error.type` and `.error.reason` are appended.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._topic = settings.dead_letter_topic
        self._lock = threading.Lock()
        self._producer = Producer(settings.client_config() | DELIVERY_PROPERTIES)

    def send(self, dead: list[Letter], give_up: threading.Event) -> None:
        """Return once every letter is acknowledged. Any thread may call it.

        It waits for a Kafka that does not answer, without a time limit.

        Args:
            dead: message, error type, reason.
            give_up: set it to end the wait for acknowledgements.

        Raises:
            DeliveryError: Kafka refused a letter, so no offset may be committed.
            GivenUp: `give_up` ended the wait, so no offset may be committed.
        """
        failures: list[KafkaError] = []

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error)

        with self._lock:  # so that a flush waits only for the letters of this batch
            for message, error_type, reason in dead:
                try:
                    self._producer.produce(
                        self._topic,
                        message.value(),
                        message.key(),
                        headers=_headers(message, error_type, reason),
                        on_delivery=on_delivery,
                    )
                except KafkaException as exception:
                    failures.append(exception.args[0])
            warn_s = time.monotonic() + _WARN_EVERY_S
            while left := self._producer.flush(0.5):
                if give_up.is_set():
                    self._producer.purge()
                    raise GivenUp
                if time.monotonic() > warn_s:
                    warn_s += _WARN_EVERY_S
                    logger.warning(
                        "kafka does not answer, still waiting topic=%s letters=%d",
                        *(self._topic, left),
                    )
        if failures:
            msg = (
                f"dead-letter topic {self._topic!r}: {len(failures):,} of {len(dead):,} "
                f"letters were refused ({failures[0].str()}); their offsets are not committed, "
                "and the consumer has stopped"
            )
            raise DeliveryError(msg, "fix the topic, then consume again; nothing is lost")

    def close(self) -> None:
        """Close the producer; `send` has already waited for every letter."""
        self._producer.close()


def _headers(message: Message, error_type: str, reason: str) -> list[tuple[str, bytes]]:
    """Return the headers of the message, followed by its origin and cause."""
    own = messages.headers(message)
    if own is None:
        reason = f"{reason}; without its headers, because the name of one is not UTF-8"
    origin = message.topic(), str(message.partition()), str(message.offset())
    values = [each.encode() for each in (*origin, error_type, reason)]
    values[-1] = values[-1][:_REASON_BYTES]
    return [*(own or ()), *zip(_HEADERS, values, strict=True)]


@dataclass(frozen=True, order=True)
class Place:
    """The position of a message in Kafka."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


@dataclass(frozen=True)
class DeadLetter:
    """A message that could not become a document, and why."""

    place: Place
    """In the dead-letter topic."""
    source: Place | None
    """The origin of the message; None if the headers do not name it."""
    error_type: str
    """`EventError` if it was not an event; otherwise the error type of OpenSearch."""
    reason: str
    timestamp: datetime
    """The time at which it became a dead letter."""
    key: bytes | None
    value: bytes | None = field(repr=False)
    headers: tuple[tuple[str, bytes | None], ...] = ()
    """The headers of the message, without those that the consumer added."""
    repeats: int = 0
    """How many more letters there are of the same message; only `read` counts them."""

    @property
    def replayed_from(self) -> str | None:
        """The earlier dead letter whose replay failed and became this one."""
        found = (_text(value) for name, value in self.headers if name == REPLAYED_FROM)
        return next(found, None)


def read(settings: KafkaSettings) -> list[DeadLetter]:
    """Read the current dead letters of the topic, in order, without joining a group.

    A message may become a letter twice, if a consumer was killed before its commit or if another
    group also read it: only the first letter is returned. Letters with missing or invalid headers
    are returned with the known values.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    found = map(_letter, messages.read_raw(settings, settings.dead_letter_topic))
    first: dict[object, DeadLetter] = {}
    for letter in sorted(found, key=lambda each: each.place):
        origin = _origin(letter)
        known = first.get(origin)
        first[origin] = replace(known, repeats=known.repeats + 1) if known else letter
    return list(first.values())


def _origin(letter: DeadLetter) -> object:
    """Identify the message of a letter: its repeats have the same."""
    # Compare the value, too: the offsets of a recreated topic start at 0 again.
    return letter.place if letter.source is None else (letter.source, hash(letter.value))


class DeadLetterCounter:
    """Counts dead letters as `read` lists them, and reads each only once.

    It keeps its connection until `close`. One thread owns it.

    Args:
        admin: stays the caller's, and is asked nothing but why Kafka does not answer.
    """

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._consumer = messages.open_consumer(admin.settings)
        self._origins: set[object] = set()
        self._num_read = 0
        self._ends: dict[int, int] = {}

    def count(self, ends: Mapping[int, int]) -> tuple[int, int]:
        """Count the letters below these offsets, by partition of the dead-letter topic.

        Returns:
            The letters, each counted once, and the repeats of them.

        Raises:
            ServerError: Kafka did not answer.
        """
        if any(end < self._ends.get(i, 0) for i, end in ends.items()):  # a recreated topic
            self._origins.clear()
            self._ends.clear()
            self._num_read = 0
        starts = {i: start for i, end in ends.items() if end > (start := self._ends.get(i, 0))}
        topic = self._admin.settings.dead_letter_topic
        for message in messages.read_between(self._consumer, self._admin, topic, starts, ends):
            self._origins.add(_origin(_letter(message)))
            self._num_read += 1
        self._ends = dict(ends)
        return len(self._origins), self._num_read - len(self._origins)

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()


def table(found: Iterable[DeadLetter]) -> pd.DataFrame:
    """Build a table with one row per letter, in the given order.

    Shapes: `partition` and `offset` in the dead-letter topic (int64), `timestamp`
    (datetime64[ms, UTC]); `error_type`, `reason`, `key`, `value`, `source_topic` (string, missing
    if unknown); `source_partition`, `source_offset` (Int64); `replayed_from` (string). Text is
    made printable. A table without letters has the same columns.
    """
    import pandas as pd

    rows = [_row(letter) for letter in found]
    return pd.DataFrame(rows, columns=[*_COLUMNS], dtype=object).astype(_COLUMNS)


def _row(letter: DeadLetter) -> tuple[object, ...]:
    place, source = letter.place, letter.source
    return (
        place.partition,
        place.offset,
        letter.timestamp,
        printable(letter.error_type),
        printable(letter.reason),
        None if letter.key is None else messages.text(letter.key),
        None if letter.value is None else messages.text(letter.value),
        source and printable(source.topic),
        source and source.partition,
        source and source.offset,
        letter.replayed_from and printable(letter.replayed_from),
    )


_COLUMNS: Final = {
    "partition": "int64",
    "offset": "int64",
    "timestamp": "datetime64[ms, UTC]",
    "error_type": "string",
    "reason": "string",
    "key": "string",
    "value": "string",
    "source_topic": "string",
    "source_partition": "Int64",
    "source_offset": "Int64",
    "replayed_from": "string",
}


def _letter(message: Message) -> DeadLetter:
    """Separate the headers that the consumer appended from those of the message."""
    added: dict[str, bytes | None] = {}
    own: list[tuple[str, bytes | None]] = []
    for name, value in reversed(messages.headers(message) or ()):
        if name in _HEADERS and name not in added:
            added[name] = value
        else:
            own.append((name, value))
    topic, partition, offset, error_type, reason = map(added.get, _HEADERS)
    return DeadLetter(
        place=Place(message.topic(), message.partition(), message.offset()),
        source=_source(topic, partition, offset),
        error_type=_text(error_type) or UNKNOWN,
        reason=_text(reason),
        timestamp=messages.moment(message),
        key=message.key(),
        value=message.value(),
        headers=tuple(reversed(own)),
    )


def _source(topic: bytes | None, *numbers: bytes | None) -> Place | None:
    partition, offset = (
        # No offset has more digits, and a longer number does not fit the table's type.
        int(each) if each is not None and each.isdigit() and len(each) <= _MAX_DIGITS else None
        for each in numbers
    )
    if topic is None or partition is None or offset is None:
        return None
    return Place(_text(topic), partition, offset)


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
