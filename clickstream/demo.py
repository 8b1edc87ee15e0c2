"""The few verbs a notebook needs, over one target and one set of names.

Every verb may be called again, in any order: what is missing is made, what is there stays.
Only `reset` takes something away, and only when told `yes=True`.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from itertools import islice, pairwise
from random import Random
from typing import Any

from clickstream import charts, consumer, events, index, producer, queries, servers, topics
from clickstream.bulks import IndexReport
from clickstream.errors import ConfigError, ServerError
from clickstream.settings import Settings
from clickstream.simulator import Simulator, crowd_for

HISTORY_HOURS = 48
HISTORY_EVENTS = 100_000
HISTORY_SEED = 7
"""About so many events in so many hours, up to the last full hour, always of this seed."""

_HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Overview:
    """How much lies where, at one moment."""

    messages: int
    """In the topic."""
    lag: int
    """Messages the consumer group has still to read."""
    dead_letters: int
    documents: int
    newest: datetime | None
    """Event time of the newest document; None where there is none."""

    def __str__(self) -> str:
        age = "nothing indexed yet"
        if self.newest is not None:
            age = f"newest {_ago(datetime.now(UTC) - self.newest)}"
        return (
            f"{self.messages:,} messages, lag {self.lag:,}, {self.dead_letters:,} dead letters, "
            f"{self.documents:,} documents ({age})"
        )

    def _repr_html_(self) -> str:
        return f"<b>{self}</b>"


@dataclass(frozen=True)
class HistoryReport:
    """What loading the history added; nothing where all of it was there."""

    since: datetime
    until: datetime
    events: int
    """Of the whole history."""
    added: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"history of {self.events:,} events, {self.since:%d %b %H:%M} to "
            f"{self.until:%d %b %H:%M} UTC: {self.added:,} added in {self.seconds:.1f} s"
        )

    def _repr_html_(self) -> str:
        return f"<b>{self}</b>"


@dataclass(frozen=True)
class RoundTrip:
    """A proof that events come back as documents, with the seconds each step took."""

    events: int
    made_s: float
    produced_s: float
    indexed_s: float
    compared_s: float
    cleaned_s: float

    def __str__(self) -> str:
        total_s = self.made_s + self.produced_s + self.indexed_s + self.compared_s + self.cleaned_s
        return (
            f"round trip of {self.events:,} events in {total_s:.1f} s: topic and index made "
            f"{self.made_s:.1f} s, produced {self.produced_s:.1f} s, indexed "
            f"{self.indexed_s:.1f} s, compared by id {self.compared_s:.1f} s, "
            f"cleaned away {self.cleaned_s:.1f} s"
        )

    def _repr_html_(self) -> str:
        return f"<b>{self}</b>"


class Demo:
    """One target, and everything a notebook does with it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client = index.connect(settings.opensearch)

    @classmethod
    def attach(
        cls, *, namespace: str | None = None, say: Callable[[str], None] | None = None
    ) -> Demo:
        """Find the local servers, or start them, and make sure of topic and index.

        Args:
            namespace: suffix for names of your own on shared servers.
            say: called with a line of progress now and then, as with `print`.

        Raises:
            ServerError: they do not start; the message says why and what to do.
            ConfigError: the namespace cannot be part of a name, or the index there has
                another mapping.
        """
        settings = servers.up(progress=say)
        if namespace is not None:
            settings = settings.in_namespace(namespace)
        demo = cls(settings)
        demo.ensure()
        return demo

    def __repr__(self) -> str:
        names = self.settings
        return (
            f"target {names.target}: Kafka on {names.kafka.bootstrap_servers}, topic "
            f"{names.kafka.topic}; OpenSearch on {names.opensearch.url}, index "
            f"{names.opensearch.index}"
        )

    def _repr_html_(self) -> str:
        return f"<b>{escape(repr(self))}</b>"

    def ensure(self) -> None:
        """Make topic, dead-letter topic and index where they are missing."""
        topics.ensure_topics(self.settings.kafka)
        index.ensure_index(self._client, self.settings.opensearch.index)

    def overview(self) -> Overview:
        """Count messages, lag, dead letters and documents, those of the last second included."""
        kafka = self.settings.kafka
        index.refresh(self._client, self.settings.opensearch.index)
        newest = queries.newest(self._client, self.settings.opensearch.index)
        return Overview(
            messages=topics.count(kafka),
            lag=self.lag(),
            dead_letters=topics.count(kafka, kafka.dead_letter_topic),
            documents=newest.documents,
            newest=newest.timestamp,
        )

    def lag(self) -> int:
        """Count the messages the consumer group has still to read."""
        return sum(topics.consumer_lag(self.settings.kafka).values())

    def partitions(self) -> list[topics.Partition]:
        """Describe the topic's partitions with the consumer group's offsets."""
        return topics.partitions(self.settings.kafka)

    def peek(self, n: int = 10) -> list[topics.TopicMessage]:
        """Give the newest `n` messages of the topic, oldest first."""
        return topics.peek(self.settings.kafka, n)

    def documents(self) -> int:
        """Count the documents stored, those of the last second included."""
        index.refresh(self._client, self.settings.opensearch.index)
        return index.count(self._client, self.settings.opensearch.index)

    def produce(
        self,
        num_events: int | None = None,
        *,
        events_per_second: float = 20.0,
        duration_s: float | None = None,
        seed: int = 1,
        stop: threading.Event | None = None,
    ) -> producer.ProduceReport:
        """Let the readers act now, and send what they do to the topic.

        Args:
            num_events: stop after so many.
            events_per_second: 0.2 to 5,000; `math.inf` for as fast as Kafka takes.
            duration_s: stop after so many seconds.
            seed: chooses the crowd and what it does.
            stop: set it to stop.

        Raises:
            ConfigError: neither a number nor a duration nor a way to stop was given.
        """
        if num_events is None and duration_s is None and stop is None:
            msg = "produce for ever: a cell must end; give num_events or duration_s"
            raise ConfigError(msg)
        now_ms = int(time.time() * 1000)
        return producer.produce(
            self.settings.kafka,
            Simulator(seed=seed, start_ms=now_ms, live_from_ms=now_ms),
            pace=producer.Pace(events_per_second, rng=Random(now_ms)),
            num_events=num_events,
            duration_s=duration_s,
            stop=stop,
        )

    def consume(self, *, on_bulk: Callable[[IndexReport], None] | None = None) -> IndexReport:
        """Index what the group has still to read, and return when the lag is 0."""
        return consumer.index_topic(self.settings, until_caught_up=True, on_bulk=on_bulk)

    def replay(self) -> IndexReport:
        """Index the whole topic again, as a consumer group of its own: nothing doubles."""
        group_id = f"{self.settings.kafka.group_id}-replay-{uuid.uuid4().hex[:8]}"
        again = self.settings.for_group(group_id)
        try:
            return consumer.index_topic(again, until_caught_up=True)
        finally:
            topics.delete_group(again.kafka)

    def load_history(self) -> HistoryReport:
        """Bring the history into topic and index; called again, add only what is missing.

        About 100,000 events of 48 h, of a fixed seed, so that the charts have something to
        show before anybody produces. It ends with the last full hour before the first live
        event, so that the two never share a chart.

        Raises:
            ConfigError: the history there is over a week old.
        """
        started_s = time.monotonic()
        self.consume()
        index.refresh(self._client, self.settings.opensearch.index)
        end_ms = int(time.time() * 1000) // _HOUR_MS * _HOUR_MS
        start_ms = self._history_start_ms()
        if start_ms is not None and end_ms - start_ms > 7 * 24 * _HOUR_MS:
            msg = (
                f"the history in index {self.settings.opensearch.index!r} began "
                f"{_ago(timedelta(milliseconds=end_ms - start_ms))}; start over with "
                "demo.reset(yes=True), then load it anew"
            )
            raise ConfigError(msg)
        there = set(index.ids(self._client, self.settings.opensearch.index, until_ms=end_ms))
        history = [] if start_ms is None else list(_history(start_ms).events(until_ms=end_ms))
        if live := there.difference(event.event_id for event in history):
            end_ms = min(map(events.id_ms, live)) // _HOUR_MS * _HOUR_MS
        if start_ms is None:
            start_ms = end_ms - HISTORY_HOURS * _HOUR_MS
            history = list(_history(start_ms).events(until_ms=end_ms))
        end = events.format_timestamp(end_ms)
        history = [event for event in history if event.timestamp < end]
        missing = [event for event in history if event.event_id not in there]
        if missing:
            producer.send(self.settings.kafka, missing)
            self.consume()
            index.refresh(self._client, self.settings.opensearch.index)
        return HistoryReport(
            since=datetime.fromtimestamp(start_ms / 1000, UTC),
            until=datetime.fromtimestamp(end_ms / 1000, UTC),
            events=len(history),
            added=len(missing),
            seconds=time.monotonic() - started_s,
        )

    def _history_start_ms(self) -> int | None:
        """Find the hour at which a history loaded earlier starts, by an event of that hour."""
        oldest = index.oldest(self._client, self.settings.opensearch.index)
        if oldest is None:
            return None
        oldest_id, oldest_ms = oldest
        start_ms = oldest_ms // _HOUR_MS * _HOUR_MS
        # The very first event may be among those that are missing.
        first_hour = _history(start_ms).events(until_ms=start_ms + _HOUR_MS)
        return start_ms if any(event.event_id == oldest_id for event in first_hour) else None

    def ask(self, **question: Any) -> queries.Answer:
        """Ask the index everything the charts need, in one search; see `queries.ask`."""
        return queries.ask(self._client, self.settings.opensearch.index, **question)

    def charts(self, **question: Any) -> dict[str, Any]:
        """Draw the answer: plotly figures by the name of their visualization."""
        return charts.draw(self.ask(**question))

    def round_trip(self, num_events: int = 5_000) -> RoundTrip:
        """Prove the way there and back, by id, in a namespace that is gone afterwards.

        Raises:
            ServerError: an event did not come back as exactly one document.
        """
        own = self.settings.in_namespace(f"roundtrip-{uuid.uuid4().hex[:8]}")
        name = own.opensearch.index
        marks = [time.monotonic()]
        try:
            topics.ensure_topics(own.kafka)
            index.ensure_index(self._client, name)
            marks.append(time.monotonic())
            start_ms = int(time.time() * 1000) - _HOUR_MS
            sent = list(islice(Simulator(seed=1, start_ms=start_ms).events(), num_events))
            producer.send(own.kafka, sent)
            marks.append(time.monotonic())
            consumer.index_topic(own, until_caught_up=True)
            marks.append(time.monotonic())
            index.refresh(self._client, name)
            found = index.ids(self._client, name)
            if sorted(found) != sorted(event.event_id for event in sent):
                msg = (
                    f"round trip: {num_events:,} events sent, {len(found):,} documents found, "
                    f"{len({event.event_id for event in sent}.difference(found)):,} ids missing; "
                    "see the logs that `clickstream status` names"
                )
                raise ServerError(msg)
            marks.append(time.monotonic())
        finally:
            topics.delete_topics(own.kafka)
            index.delete_index(self._client, name)
        marks.append(time.monotonic())
        return RoundTrip(num_events, *(after - before for before, after in pairwise(marks)))

    def reset(self, *, yes: bool = False) -> str:
        """Delete topic, dead letters, offsets and index, and make them new and empty.

        Args:
            yes: without it nothing is deleted; the answer says what would be.
        """
        kafka, name = self.settings.kafka, self.settings.opensearch.index
        what = f"topic {kafka.topic}, its dead letters, group {kafka.group_id}, index {name}"
        if not yes:
            return f"nothing deleted; yes=True would delete and make new: {what}"
        topics.delete_topics(kafka)
        index.delete_index(self._client, name)
        self.ensure()
        return f"deleted and made new: {what}"

    def servers(self) -> tuple[servers.ServerStatus, ...]:
        """Say how the local servers are."""
        return servers.status()


def _history(start_ms: int) -> Simulator:
    readers = crowd_for(HISTORY_EVENTS / (HISTORY_HOURS * 3600))
    return Simulator(seed=HISTORY_SEED, start_ms=start_ms, readers=readers)


def _ago(age: timedelta) -> str:
    seconds = age.total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
