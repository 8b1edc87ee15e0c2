"""The few verbs a notebook needs, over one target and one set of names.

Every verb may be called again, in any order: what is missing is made, what is there stays.
Only `reset` takes something away, and only when told `yes=True`.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from random import Random
from typing import Any

from clickstream import consumer, producer
from clickstream.charts import draw, search
from clickstream.demo import history
from clickstream.demo import round_trip as trip
from clickstream.demo.round_trip import RoundTrip
from clickstream.errors import ClickstreamError, ConfigError, ServerError
from clickstream.kafka import acls, topics
from clickstream.opensearch import client, index
from clickstream.reports import IndexReport, Member, ProduceReport
from clickstream.servers import local
from clickstream.settings import Settings
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.scenarios import make_all
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic
from clickstream.targets import target

PATIENCE_S = 10.0
"""So long a cell waits for an OpenSearch that takes nothing: a cell must end."""


@dataclass(frozen=True)
class Overview:
    """How much lies where, at one moment."""

    messages: int
    """In the topic."""
    lag_by_partition: dict[int, int]
    """Messages the consumer group has still to read."""
    dead_letters: int
    documents: int
    newest: datetime | None
    """Event time of the newest document; None where there is none."""

    @property
    def lag(self) -> int:
        """Messages the consumer group has still to read, in all partitions."""
        return sum(self.lag_by_partition.values())

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


class Demo:
    """One target, and everything a notebook does with it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client = client.connect(settings.opensearch)
        self._crowds: dict[int, Simulator] = {}

    @classmethod
    def attach(
        cls, *, namespace: str | None = None, say: Callable[[str], None] | None = None
    ) -> Demo:
        """Find the servers, or start them where they are local, and make sure of topic and index.

        They are local, but where `clickstream demo` handed on a hosted target.

        Args:
            namespace: suffix for names of your own on shared servers; by default that which
                `CLICKSTREAM_NAMESPACE` names, if it does.
            say: called with a line of progress now and then, as with `print`.

        Raises:
            ServerError: they do not start; the message says why and what to do.
            ConfigError: the namespace cannot be part of a name, or the index there has
                another mapping.
        """
        settings = target.of_kernel().up(progress=say, namespace=namespace)
        demo = cls(settings)
        demo.ensure()
        return demo

    def __repr__(self) -> str:
        return str(self.settings)

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
        newest = search.newest(self._client, self.settings.opensearch.index)
        return Overview(
            messages=topics.count(kafka),
            lag_by_partition=topics.consumer_lag(kafka),
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

    def members(self) -> list[Member]:
        """Give what the group's consumers said of themselves at their latest commit."""
        return topics.members(self.settings.kafka)

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
        scenarios: Iterable[str] = (),
        stop: threading.Event | None = None,
        on_second: Callable[[ProduceReport], Any] | None = None,
    ) -> ProduceReport:
        """Let the readers act now, and send what they do to the topic.

        Called again with the same seed, the same readers go on: who was in the middle of a
        session still is.

        Args:
            num_events: stop after so many.
            events_per_second: 0.2 to 5,000; `math.inf` for as fast as Kafka takes.
            duration_s: stop after so many seconds.
            seed: chooses the crowd and what it does.
            scenarios: play from the first event on, each `NAME` or `NAME:key=value,…`, until
                they are over or this is; what they add comes on top of number and rate.
            stop: set it to stop.
            on_second: called about once a second with the report so far, as with `print`.

        Raises:
            ConfigError: neither a number nor a duration nor a way to stop was given; no such
                scenario, or a wrong key.
            DeliveryError, Interrupted, ServerError: as `producer.produce`.
        """
        if num_events is None and duration_s is None and stop is None:
            msg = "produce for ever: a cell must end; give num_events or duration_s"
            raise ConfigError(msg)
        plays = make_all(scenarios)
        pace = Pace(events_per_second, rng=Random())
        # Out of the dictionary while it acts: one that is interrupted cannot go on.
        crowd = self._crowds.pop(seed, None) or live_now(seed=seed)
        traffic = Traffic(crowd)
        for scenario in plays:
            traffic.start(scenario)
        report = producer.produce(
            self.settings.kafka,
            PacedEvents(traffic, pace, num_events=num_events),
            duration_s=duration_s,
            stop=stop,
            on_second=on_second,
        )
        self._crowds[seed] = crowd
        return report

    def consume(self, *, on_bulk: Callable[[IndexReport], None] | None = None) -> IndexReport:
        """Index what lies in the topic and the group has not read, and return.

        With nobody producing meanwhile the lag is 0 afterwards.

        Raises:
            ServerError: a server did not answer, or OpenSearch took nothing for
                `PATIENCE_S`; nothing is lost by that.
            BulkError, ConfigError, DeliveryError, Interrupted: as `consumer.index_topic`.
        """
        index.count(self._client, self.settings.opensearch.index)  # fails at once without it
        return consumer.index_topic(
            self.settings, until_caught_up=True, patience_s=PATIENCE_S, on_bulk=on_bulk
        )

    def replay(self, most: int = 100_000) -> IndexReport:
        """Index the topic's messages again, as a consumer group of its own: nothing doubles.

        Args:
            most: only about so many, the newest, so that a cell ends.

        Raises:
            ServerError, BulkError, ConfigError, DeliveryError, Interrupted: as `consume`.
        """
        index.count(self._client, self.settings.opensearch.index)
        group_id = f"{self.settings.kafka.group_id}-replay-{uuid.uuid4().hex[:8]}"
        again = self.settings.for_group(group_id)
        topics.start_at_newest(again.kafka, most)
        try:
            return consumer.index_topic(again, until_caught_up=True, patience_s=PATIENCE_S)
        finally:
            with suppress(ServerError):  # without the right to, Kafka forgets it by itself
                topics.delete_group(again.kafka)

    def load_history(self) -> history.HistoryReport:
        """Bring two days of history into topic and index; see `history.load`."""
        return history.load(self.settings, patience_s=PATIENCE_S)

    def history_window(self) -> tuple[datetime, datetime] | None:
        """Say from when until when the history goes; None where none was loaded."""
        return history.window(self.settings)

    def ask(self, **question: Any) -> search.Answer:
        """Ask the index everything the charts need, in one search; see `queries.ask`."""
        return search.ask(self._client, self.settings.opensearch.index, **question)

    def charts(self, **question: Any) -> dict[str, Any]:
        """Draw the answer: plotly figures by the name of their visualization."""
        return draw.draw(self.ask(**question))

    def round_trip(self, num_events: int = 5_000) -> RoundTrip:
        """Prove the way there and back, by id.

        On the local servers in a topic and an index of its own, which are gone afterwards. On
        a hosted target, where somebody else says what is made, in those that are there, and
        the events stay.

        Raises:
            ServerError: an event did not come back as exactly one document.
        """
        if self.settings.target != "local":
            return trip.make(self.settings, num_events)
        own = self.settings.in_namespace(f"roundtrip-{uuid.uuid4().hex[:8]}")
        topics.ensure_topics(own.kafka)
        try:
            index.ensure_index(self._client, own.opensearch.index)
            return trip.make(own, num_events)
        finally:
            topics.delete_topics(own.kafka)
            index.delete_index(self._client, own.opensearch.index)

    def reset(self, *, yes: bool = False) -> str:
        """Delete topic, dead letters, offsets and index, and make them new and empty.

        On a hosted target they are emptied and stay what somebody else made of them: with
        their partitions, settings and mapping.

        Args:
            yes: without it nothing is deleted; the answer says what would be.

        Raises:
            ConfigError: Kafka or OpenSearch does not let us; then no event was deleted.
            ServerError: a server did not answer, or a consumer is still reading; the message
                says whether anything was deleted.
        """
        kafka, name = self.settings.kafka, self.settings.opensearch.index
        is_ours = self.settings.target == "local"
        what = f"topic {kafka.topic}, its dead letters, group {kafka.group_id}, index {name}"
        if not yes:
            do = "delete and make new" if is_ours else "empty"
            return f"nothing deleted; yes=True would {do}: {what}"
        index.exists(self._client, name)  # nothing half done: both must answer
        if not is_ours:
            acls.check_empty(kafka)
        topics.require_no_reader(kafka)  # who still reads is told before anything is gone
        if is_ours:
            index.delete_index(self._client, name)
        else:
            index.empty_index(self._client, name)
        try:
            if is_ours:
                topics.delete_topics(kafka)
                self.ensure()
            else:
                history.forget(self.settings)
                topics.empty_topics(kafka)
        except ClickstreamError as error:
            msg = f"half done, the documents are gone: {error}; then reset again"
            raise ServerError(msg) from error
        self._crowds.clear()
        return f"{'deleted and made new' if is_ours else 'emptied'}: {what}"

    def servers(self) -> tuple[local.ServerStatus, ...]:
        """Say how the local servers are; none where the target is a hosted one."""
        return local.status() if self.settings.target == "local" else ()


def _ago(age: timedelta) -> str:
    seconds = age.total_seconds()
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"
