"""Counts of a producer or consumer run, and of messages and documents.

The consumer commits its report as metadata beside its offsets. Any client that can read the
consumer group can read it, from another process or machine, and after the consumer has ended.
"""

from __future__ import annotations

import os
import platform
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import escape

import msgspec

_SAMPLES = 400
"""Quantiles cover this many of the latest latencies: those of twenty bulk requests, which take
about two seconds of live traffic."""


class BoldLine:
    """Shown in a notebook cell as its text, in bold."""

    def _repr_html_(self) -> str:
        return f"<b>{escape(str(self))}</b>"


@dataclass
class ProduceReport(BoldLine):
    """Events handed to Kafka, counted by its delivery reports."""

    topic: str
    sent: int = 0
    delivered: int = 0
    failed: int = 0
    bytes: int = 0
    """Of the values delivered."""
    seconds: float = 0.0
    first_error: str | None = field(default=None, repr=False)

    @property
    def events_per_second(self) -> float:
        """The actual rate over the whole run."""
        return self.sent / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        return (
            f"{self.delivered:,} of {self.sent:,} events delivered to {self.topic} "
            f"in {self.seconds:.1f} s ({self.events_per_second:,.1f} events/s, "
            f"{self.bytes / 1e6:.1f} MB, {self.failed:,} failed)"
        )


@dataclass
class Counts:
    """Counts of messages by outcome; a message counts once it is settled."""

    stored: int = 0
    replayed: int = 0
    """Documents that the index already had, with the same id."""
    dead_lettered: int = 0
    retried: int = 0
    """Documents sent again; every attempt counts."""
    bytes: int = 0
    """Of the bulk bodies that OpenSearch answered."""

    @property
    def messages(self) -> int:
        """Messages settled: stored, replayed or dead-lettered."""
        return self.stored + self.replayed + self.dead_lettered


@dataclass
class BatchReport(Counts):
    """The outcome of one batch."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    """From Kafka's timestamp to the answer, for an even sample of the messages."""


@dataclass(frozen=True)
class Lag:
    """How far the consumer is behind in one partition."""

    messages: int
    seconds: float
    """Age of the oldest polled message whose offset cannot be committed yet; 0 without one."""


@dataclass
class IndexReport(Counts, BoldLine):
    """A run of the consumer so far, or at its end."""

    index: str = ""
    seconds: float = 0.0
    in_flight: int = 0
    """Messages sent and not yet answered; 0 at the end."""
    rejection: str = field(default="", repr=False)
    """Why OpenSearch takes no documents, and what to do about it; empty while it takes them."""
    lag: dict[int, Lag] = field(default_factory=dict)
    """By partition of this member, from the latest end offsets that Kafka sent."""
    settled: dict[int, int] = field(default_factory=dict)
    """By partition of this member: the offset below which every message is settled, committed or
    not; empty at the end."""
    _latencies_ms: deque[float] = field(
        default_factory=lambda: deque(maxlen=_SAMPLES), repr=False, compare=False
    )

    def take(self, batch: BatchReport) -> None:
        """Count a batch that is settled."""
        self.stored += batch.stored
        self.replayed += batch.replayed
        self.dead_lettered += batch.dead_lettered
        self.retried += batch.retried
        self.bytes += batch.bytes
        self._latencies_ms.extend(batch.latencies_ms)

    def forget_latencies(self) -> None:
        """Forget the latencies so far, for example those of messages that were sent in a rush."""
        self._latencies_ms.clear()

    def latency_ms(self, quantile: float) -> float | None:
        """Return a quantile (0 to 1) of the time from Kafka's timestamp to OpenSearch's answer.

        It covers the latest messages; None if nothing was indexed.
        """
        if not self._latencies_ms:
            return None
        ordered = sorted(self._latencies_ms)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]

    @property
    def documents_per_second(self) -> float:
        """Acknowledged documents (stored and replayed) per second, over the whole run."""
        return (self.stored + self.replayed) / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        return (
            f"{self.stored:,} documents stored in {self.index}, {self.replayed:,} replayed, "
            f"{self.dead_lettered:,} dead-lettered, {self.retried:,} retried "
            f"in {self.seconds:.1f} s ({self.documents_per_second:,.0f} documents/s)"
        )

    def line(self, batch: BatchReport) -> str:
        """Format a batch and the state after it as `key=value` pairs for a log."""
        lag = sum(each.messages for each in self.lag.values())
        lag_s = max((each.seconds for each in self.lag.values()), default=0.0)
        return (
            f"index={self.index} stored={batch.stored} replayed={batch.replayed} "
            f"dead_lettered={batch.dead_lettered} retried={batch.retried} bytes={batch.bytes} "
            f"took_s={batch.seconds:.3f} in_flight={self.in_flight} lag={lag} lag_s={lag_s:.1f} "
            f"p50_ms={_rounded(self.latency_ms(0.5))} p99_ms={_rounded(self.latency_ms(0.99))}"
        )

    def as_metadata(self) -> str:
        """Serialise the report as short JSON, committed beside an offset; `members` reads it."""
        member = Member(
            consumer=this_consumer(),
            at=datetime.now(UTC),
            stored=self.stored,
            replayed=self.replayed,
            dead_lettered=self.dead_lettered,
            retried=self.retried,
            bytes=self.bytes,
            in_flight=self.in_flight,
            p50_ms=_rounded(self.latency_ms(0.5)),
            p99_ms=_rounded(self.latency_ms(0.99)),
        )
        return msgspec.json.encode(member).decode()


def this_consumer() -> str:
    """Return the name of this process's consumer in the reports of a group: machine and pid."""
    return consumer_of(os.getpid())


def consumer_of(pid: int) -> str:
    """Return that name for another process of this machine."""
    return f"{platform.node()}:{pid}"


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


@dataclass(frozen=True)
class Overview(BoldLine):
    """Counts of messages, dead letters and documents at one moment.

    They are read against the flow, first the documents, then the dead letters, then the messages,
    so that no document or dead letter counts without its message.
    """

    messages: int
    """In the topic."""
    lag_by_partition: dict[int, int]
    """Messages that the consumer group has not read yet."""
    dead_letters: int
    """Messages that became dead letters; each counts once."""
    documents: int
    newest: datetime | None
    """Event time of the newest document; None without documents."""
    repeated_letters: int = 0
    """Further entries in the dead-letter topic: letters that were written more than once."""

    @property
    def lag(self) -> int:
        """Messages that the consumer group has not read yet, in all partitions."""
        return sum(self.lag_by_partition.values())

    @property
    def repeats(self) -> int:
        """Messages read that are neither documents nor dead letters: the index had their events."""
        return max(0, self.messages - self.lag - self.documents - self.dead_letters)

    def __str__(self) -> str:
        age = "nothing indexed yet"
        if self.newest is not None:
            age = f"newest {_ago(datetime.now(UTC) - self.newest)}"
        repeats = f", {self.repeats:,} repeats" if self.repeats else ""
        return (
            f"{self.messages:,} messages, lag {self.lag:,}, "
            f"{letters(self.dead_letters, self.repeated_letters)}, "
            f"{self.documents:,} documents ({age}){repeats}"
        )


def letters(num_letters: int, num_repeats: int) -> str:
    """Format a number of dead letters, and how many more entries of their topic repeat them."""
    also = f" ({num_repeats:,} written again)" if num_repeats else ""
    return f"{num_letters:,} dead letter{'' if num_letters == 1 else 's'}{also}"


def _ago(age: timedelta) -> str:
    seconds = age.total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


@dataclass(frozen=True)
class Member:
    """One consumer of the group, as of its latest commit."""

    consumer: str
    """Machine and process id."""
    at: datetime
    stored: int
    replayed: int
    dead_lettered: int
    retried: int
    bytes: int
    in_flight: int
    p50_ms: int | None
    p99_ms: int | None

    def __str__(self) -> str:
        age_s = max(0.0, (datetime.now(UTC) - self.at).total_seconds())
        latency = "nothing indexed"
        if self.p50_ms is not None:
            latency = f"Kafka to OpenSearch p50 {self.p50_ms:,} ms, p99 {self.p99_ms:,} ms"
        return (
            f"consumer {self.consumer}, as of {age_s:,.0f} s ago: {self.stored:,} stored, "
            f"{self.replayed:,} replayed, {self.dead_lettered:,} dead-lettered, "
            f"{self.retried:,} retried, {self.bytes / 1e6:,.1f} MB, "
            f"{self.in_flight:,} in flight, {latency}"
        )


def members(metadata: Iterable[str]) -> list[Member]:
    """Read the consumers' reports from the metadata of a group's offsets, the newest first.

    Each consumer appears once, with its latest report. Other metadata is ignored.
    """
    newest: dict[str, Member] = {}
    for text in metadata:
        try:
            found = msgspec.json.decode(text, type=Member)
        except msgspec.DecodeError:
            continue  # another program, or another version, committed these offsets
        known = newest.setdefault(found.consumer, found)
        newest[found.consumer] = max(known, found, key=lambda each: each.at)
    return sorted(newest.values(), key=lambda each: each.at, reverse=True)
