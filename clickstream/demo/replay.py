"""Dead letters as people meet them: what lies in the topic and why, and the way back, mended.

Writing them is the consumer's (`dead_letters.py`). Nothing here takes a letter away: the
dead-letter topic is a log, and a letter that was sent back still lies in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Message

from clickstream import events, producer
from clickstream.errors import EventError
from clickstream.kafka import topics
from clickstream.settings import KafkaSettings

if TYPE_CHECKING:
    import pandas as pd

REPLAYED_FROM: Final = "clickstream.replayed-from"
"""The header of a message that came back from the dead-letter topic: its place there."""
UNKNOWN: Final = "unknown"
"""The error type of a letter that names none: somebody else wrote it."""
NO_EVENT: Final = "not an event: "
"""How every reason of an `EventError` begins: to be left out beside that word."""

_ON_TOP: Final = tuple(
    f"clickstream.{name}" for name in ("topic", "partition", "offset", "error.type", "error.reason")
)
_REASON_CHARACTERS: Final = 200
_MOST_DIGITS: Final = 18


@dataclass(frozen=True, order=True)
class Place:
    """Where a message lies."""

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
    """Where it came from; None where the letter does not say."""
    error_type: str
    """`EventError` where it was no event, OpenSearch's own word where that refused it."""
    reason: str
    timestamp: datetime
    """When it became a dead letter."""
    key: bytes | None
    value: bytes | None = field(repr=False)
    headers: tuple[tuple[str, bytes | None], ...] = ()
    """The message's own."""

    @property
    def replayed_from(self) -> str | None:
        """The dead letter whose replay failed again and became this one."""
        for name, value in self.headers:
            if name == REPLAYED_FROM:
                return _text(value)
        return None


Repair = Callable[[DeadLetter], bytes | None]
"""Gives a letter's value mended, or None to leave it where it is."""


def read(settings: KafkaSettings) -> list[DeadLetter]:
    """Read the dead letters that lie in the topic now, in order; no group is joined.

    A message may have become a letter twice, as when a consumer was killed before it could
    commit, or when another group read it, too: the first is given, once. Letters of which
    headers are missing or make no sense are given with what is known.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    found = map(_letter, topics.read_raw(settings, settings.dead_letter_topic))
    first: dict[object, DeadLetter] = {}
    for letter in sorted(found, key=lambda each: each.place):
        # By the value, too: a topic that was made anew counts its offsets from 0 again.
        message = letter.place if letter.source is None else (letter.source, letter.value)
        first.setdefault(message, letter)
    return list(first.values())


def table(found: Iterable[DeadLetter]) -> pd.DataFrame:
    """Lay letters out as a table, a row each, in the order given.

    Shapes: `partition` and `offset` in the dead-letter topic (int64), `timestamp`
    (datetime64[ms, UTC]); as string, missing where there is none, `error_type`, `reason`,
    `key`, `value`, `source_topic`; `source_partition`, `source_offset` (Int64);
    `replayed_from` (string). Text is made printable. Without letters the columns are there.
    """
    import pandas as pd  # noqa: PLC0415 - half a second, which no other use of letters needs

    rows = [
        (
            *(letter.place.partition, letter.place.offset, letter.timestamp),
            *(printable(letter.error_type), printable(letter.reason)),
            *(None if part is None else text(part) for part in (letter.key, letter.value)),
            *_row(letter.source),
            letter.replayed_from and printable(letter.replayed_from),
        )
        for letter in found
    ]
    columns: Iterable[Any] = zip(*rows, strict=True) if rows else [()] * len(_COLUMNS)
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype=kind)
            for (name, kind), values in zip(_COLUMNS.items(), columns, strict=True)
        }
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


@dataclass(frozen=True)
class ReplayReport:
    """What became of the dead letters; all that count here lie in their topic as before."""

    topic: str
    letters: int
    sent: int
    """Events now, sent back and acknowledged."""
    no_events: int
    """No events still."""
    unrepaired: int
    """Events, but with the very value that OpenSearch refused, or that came back already."""
    left: int
    """Not to be sent: the repair gave None."""
    reason: str = ""
    """Why those that are no events are none, most often."""

    def __str__(self) -> str:
        parts = [f"{self.sent:,} of {self.letters:,} dead letters sent back to {self.topic}"]
        if self.no_events:
            reason = printable(self.reason.removeprefix(NO_EVENT)[:_REASON_CHARACTERS])
            parts.append(f"{self.no_events:,} still no events (most often: {reason})")
        if self.unrepaired:
            parts.append(f"{self.unrepaired:,} unrepaired (as they are they only come back)")
        if self.left:
            parts.append(f"{self.left:,} left alone")
        return ", ".join(parts)

    def _repr_html_(self) -> str:
        return f"<b>{escape(str(self))}</b>"


def replay(settings: KafkaSettings, repair: Repair | None = None) -> ReplayReport:
    """Send those dead letters back to the topic that are events now, mended or as they are.

    Delivery: every value is made and checked before the first is sent; then as the producer,
    with the event's `user_id` as key, the message's own headers, and `REPLAYED_FROM` on top.
    The letters stay. Sending one back again stores nothing twice, since a document's id is
    its event's.

    It never goes in circles: what OpenSearch refused is sent back only with another value,
    and so is what came back from a replay and failed again.

    Args:
        settings: where.
        repair: gives each letter's value mended, or None to leave it. By default values stay
            as they are, and those go that the event model has learnt to read since.

    Raises:
        ConfigError: no such topic.
        DeliveryError: Kafka did not take all of them; do it again, for nothing doubles.
        Interrupted: by the notebook's stop button; what was sent has been flushed.
        ServerError: Kafka did not answer.
    """
    found = read(settings)
    failed_again = {letter.value for letter in found if letter.replayed_from is not None}
    batch: list[producer.Raw] = []
    reasons: Counter[str] = Counter()
    unrepaired = left = 0
    for letter in found:
        value = repair(letter) if repair else letter.value or b""
        if value is None:
            left += 1
            continue
        try:
            event = events.decode(value)
        except EventError as error:
            reasons[str(error)] += 1
            continue
        was_refused = value == letter.value and letter.error_type != EventError.__name__
        if was_refused or value in failed_again:
            unrepaired += 1
            continue
        headers = [each for each in letter.headers if each[0] != REPLAYED_FROM]
        headers.append((REPLAYED_FROM, str(letter.place).encode()))
        batch.append((value, event.user_id, headers))
    if batch:
        producer.send_raw(settings, batch)
    return ReplayReport(
        topic=settings.topic,
        letters=len(found),
        sent=len(batch),
        no_events=reasons.total(),
        unrepaired=unrepaired,
        left=left,
        reason=reasons.most_common(1)[0][0] if reasons else "",
    )


def text(data: bytes) -> str:
    """Show bytes as text that is safe in a terminal: printable, on one line."""
    return printable(data.decode("utf-8", "backslashreplace"))


def printable(said: str) -> str:
    r"""Escape what would drive a terminal or turn its text around, as in `\x1b[2J`."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in said
    )


def _letter(message: Message) -> DeadLetter:
    """Tell the headers that the consumer put on top from the message's own."""
    on_top: dict[str, bytes | None] = {}
    own: list[tuple[str, bytes | None]] = []
    for name, value in reversed(message.headers() or ()):
        if name in _ON_TOP and name not in on_top:
            on_top[name] = value
        else:
            own.append((name, value))
    topic, partition, offset, error_type, reason = map(on_top.get, _ON_TOP)
    return DeadLetter(
        place=Place(message.topic(), message.partition(), message.offset()),
        source=_source(topic, partition, offset),
        error_type=_text(error_type) or UNKNOWN,
        reason=_text(reason),
        timestamp=topics.moment(message),
        key=message.key(),
        value=message.value(),
        headers=tuple(reversed(own)),
    )


def _source(topic: bytes | None, *numbers: bytes | None) -> Place | None:
    partition, offset = (
        # No offset has more digits, and none that has is a number to a table.
        int(each) if each is not None and each.isdigit() and len(each) <= _MOST_DIGITS else None
        for each in numbers
    )
    if topic is None or partition is None or offset is None:
        return None
    return Place(_text(topic), partition, offset)


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


def _row(source: Place | None) -> tuple[str | None, int | None, int | None]:
    if source is None:
        return None, None, None
    return printable(source.topic), source.partition, source.offset
