"""The few operations that a notebook needs, on one target and one set of names.

Every method may be called again, in any order: it creates what is missing and keeps what exists.
Only `reset` deletes anything, and only with `yes=True`.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from random import Random
from typing import TYPE_CHECKING, Any

from clickstream import consumer, producer
from clickstream.demo import history
from clickstream.demo.round_trip import RoundTrip, make_round_trip
from clickstream.demo.temporary_group import temporary_group
from clickstream.errors import ClickstreamError, ConfigError, ServerError, require_count
from clickstream.kafka import acls, messages, offsets, topics
from clickstream.opensearch import client, index, site
from clickstream.opensearch.site import Headline
from clickstream.reports import BoldLine, IndexReport, Member, Overview, ProduceReport
from clickstream.servers import local
from clickstream.settings import Settings
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.scenarios import make_all
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic
from clickstream.targets import target

if TYPE_CHECKING:
    from clickstream.charts.search import Answer

PATIENCE_S = 10.0
"""How long a cell waits for an OpenSearch that accepts nothing; a cell must end."""


class Demo(BoldLine):
    """One target, and everything that a notebook does with it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._client = client.connect(settings.opensearch)
        self._crowds: dict[int, Simulator] = {}

    @classmethod
    def attach(
        cls, *, namespace: str | None = None, say: Callable[[str], None] | None = None
    ) -> Demo:
        """Find or start the servers, and create the topic and the index if they are missing.

        The servers are local, unless `clickstream demo` passed on a hosted target, whose servers
        are never started.

        Args:
            namespace: suffix for separate names on shared servers; by default the value of
                `CLICKSTREAM_NAMESPACE`, if it is set.
            say: called with lines of progress, for example `print`.

        Raises:
            ServerError: the servers do not start; the message says why and what to do.
            ConfigError: the namespace cannot be part of a name, or the existing index has
                another mapping.
        """
        settings = target.from_environment().up(say=say, namespace=namespace)
        demo = cls(settings)
        demo.ensure()
        return demo

    def __repr__(self) -> str:
        return str(self.settings)

    def ensure(self) -> None:
        """Create the topic, the dead-letter topic and the index if they are missing."""
        topics.ensure_topics(self.settings.kafka)
        index.ensure(self._client, self.settings.opensearch.index)

    def overview(self) -> Overview:
        """Count messages, lag, dead letters and documents, including those of the last second."""
        index.refresh(self._client, self.settings.opensearch.index)
        newest = index.newest(self._client, self.settings.opensearch.index)
        found = offsets.read(self.settings.kafka)
        return Overview(
            messages=found.messages,
            lag_by_partition={each.partition: each.lag for each in found.partitions},
            dead_letters=found.dead_letters,
            documents=newest.documents,
            newest=newest.timestamp,
            repeated_letters=found.repeated_letters,
        )

    def lag(self) -> int:
        """Count the messages that the consumer group has not read yet."""
        return sum(offsets.consumer_lag(self.settings.kafka).values())

    def partitions(self) -> list[offsets.Partition]:
        """Describe the topic's partitions with the consumer group's offsets."""
        return offsets.partitions(self.settings.kafka)

    def members(self) -> list[Member]:
        """Return the reports of the group's consumers from their latest commits."""
        return offsets.members(self.settings.kafka)

    def peek(self, n: int = 10) -> list[messages.TopicMessage]:
        """Return the newest `n` messages of the topic, oldest first."""
        return messages.peek(self.settings.kafka, n)

    def newest_document(self) -> tuple[str, dict[str, Any]] | None:
        """Return the id and the source of the newest searchable document; None without one."""
        return index.newest_document(self._client, self.settings.opensearch.index)

    def documents(self) -> int:
        """Count the stored documents, including those of the last second."""
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
        """Simulate readers in real time, and send their events to the topic.

        A later call with the same seed continues the sessions of the same readers.

        Args:
            num_events: stop after this many events.
            events_per_second: 0.2 to 5,000; `math.inf` for as fast as Kafka accepts them.
            duration_s: stop after this many seconds.
            seed: determines the crowd and its actions.
            scenarios: run from the first event on, each `NAME` or `NAME:key=value,…`, until they
                end or this call does; their events do not count for number and rate.
            stop: set it to stop.
            on_second: called about once per second with the report so far, for example `print`.

        Raises:
            ConfigError: none of `num_events`, `duration_s` and `stop` was given; no such
                scenario, or a wrong key.
            DeliveryError, Interrupted, ServerError: as `producer.produce`.
        """
        if num_events is None and duration_s is None and stop is None:
            msg = "produce without a limit: a cell must end"
            raise ConfigError(msg, "pass num_events or duration_s")
        plays = make_all(scenarios)
        pace = Pace(events_per_second, rng=Random())
        # Not in the dictionary while it runs, because an interrupted crowd cannot continue.
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
        """Index the messages that the group has not read yet, and return.

        The lag is 0 afterwards, unless more messages are produced in the meantime.

        Raises:
            ServerError: a server did not answer, or OpenSearch accepted nothing for
                `PATIENCE_S`; nothing is lost.
            BulkError, ConfigError, DeliveryError, Interrupted: as `consumer.index_topic`.
        """
        index.count(self._client, self.settings.opensearch.index)  # fails at once without the index
        return consumer.index_topic(
            self.settings, until_caught_up=True, patience_s=PATIENCE_S, on_bulk=on_bulk
        )

    def replay(self, most: int = 100_000) -> IndexReport:
        """Index the topic's messages again in another consumer group, without duplicates.

        Args:
            most: about how many of the newest messages to read, so that a cell ends; 1 or more.

        Raises:
            ServerError, BulkError, ConfigError, DeliveryError, Interrupted: as `consume`.
        """
        require_count(f"replay {most} messages", most)
        with temporary_group(self.settings, "replay", newest=most) as again:
            return Demo(again).consume()

    def load_history(self) -> history.HistoryReport:
        """Load two days of history into topic and index; see `history.load`."""
        return history.load(self.settings, patience_s=PATIENCE_S)

    def history_window(self) -> tuple[datetime, datetime] | None:
        """Return start and end of the history; None if none was loaded."""
        return history.window(self.settings)

    def site(self) -> site.Site:
        """Count the readers and page views of now; see `opensearch.site.read`."""
        return site.read(self._client, self.settings.opensearch.index, round(time.time() * 1000))

    def read_now(self, since: datetime, until: datetime) -> list[tuple[Headline, int | None]]:
        """Return the most read articles of a window; see `opensearch.site.read_now`."""
        since_ms, until_ms = (round(1000 * each.timestamp()) for each in (since, until))
        return site.read_now(self._client, self.settings.opensearch.index, since_ms, until_ms)

    def look(self, within_s: float = 60.0) -> tuple[int | None, int]:
        """Return the event time of the newest event that a search finds, and the time after it.

        Both in ms since 1970. Events in the future and those before `within_s` are left out.
        """
        now_ms = round(time.time() * 1000)
        since_ms = now_ms - round(1000 * within_s)
        newest_ms = site.newest_ms(self._client, self.settings.opensearch.index, since_ms, now_ms)
        return newest_ms, round(time.time() * 1000)

    def search(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a search with aggregations to the index; see `opensearch.index.search`."""
        return index.search(self._client, self.settings.opensearch.index, body)

    def ask(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        bucket_s: int | None = None,
        top: int | None = None,
        category: str | None = None,
        device: str | None = None,
        only: Mapping[str, str] | None = None,
    ) -> Answer:
        """Request the data of all charts in one search; see `charts.search.ask`.

        The answer draws them: `answer.figures()`.

        Raises:
            ConfigError: as `charts.search.ask`; or no such index.
            ServerError: OpenSearch did not answer, or some shards did not.
        """
        # Imports pandas and plotly, which only commands that draw need.
        from clickstream.charts import search
        from clickstream.simulation.scenarios import ADDS_EVENTS

        return search.ask(
            self.search,
            scenarios=ADDS_EVENTS,
            since=since,
            until=until,
            bucket_s=bucket_s,
            top=top,
            category=category,
            device=device,
            only=only,
        )

    def round_trip(self, num_events: int = 5_000) -> RoundTrip:
        """Prove by id that events reach the topic and come back as documents.

        On local servers it uses a separate topic and index and deletes them afterwards. On a
        hosted target it uses the demo's topic and index, and the events stay there.

        Raises:
            ConfigError: `num_events` is not a whole number of 1 or more.
            ServerError: an event did not come back as exactly one document.
        """
        require_count(f"round trip of {num_events} events", num_events)
        if self.settings.is_hosted:
            return make_round_trip(self.settings, num_events)
        own = self.settings.in_namespace(f"roundtrip-{uuid.uuid4().hex[:8]}")
        topics.ensure_topics(own.kafka)
        try:
            index.ensure(self._client, own.opensearch.index)
            return make_round_trip(own, num_events)
        finally:
            topics.delete_topics(own.kafka)
            index.delete(self._client, own.opensearch.index)

    def reset(self, *, yes: bool = False, confirm_by: str = "yes=True") -> str:
        """Delete topic, dead letters, offsets and index, and create them again.

        On a hosted target it only empties them: partitions, settings and mapping do not change.

        Args:
            yes: without it nothing is deleted, and the answer says what would be deleted.
            confirm_by: how the caller confirms, for that answer.

        Raises:
            ConfigError: Kafka or OpenSearch refuses; then no event was deleted.
            ServerError: a server did not answer, or a consumer is still reading; the message
                says whether anything was deleted.
        """
        kafka, name = self.settings.kafka, self.settings.opensearch.index
        is_ours = not self.settings.is_hosted
        what = f"topic {kafka.topic}, its dead letters, group {kafka.group_id}, index {name}"
        if not yes:
            do = "delete and create again" if is_ours else "empty"
            return f"nothing deleted; {confirm_by} would {do}: {what}"
        if is_ours:
            self._delete_and_make_new()
        else:
            self._empty()
        self._crowds.clear()
        return f"{'deleted and created again' if is_ours else 'emptied'}: {what}"

    def _delete_and_make_new(self) -> None:
        # Both servers must answer, and the index must not come back unfit, before it is deleted.
        index.put_template(self._client, self.settings.opensearch.index)
        topics.require_no_reader(self.settings.kafka)
        index.delete(self._client, self.settings.opensearch.index)
        with _after_the_documents():
            topics.delete_topics(self.settings.kafka)
            self.ensure()

    def _empty(self) -> None:
        acls.check_delete_permission(self.settings.kafka)
        topics.require_no_reader(self.settings.kafka)
        index.empty(self._client, self.settings.opensearch.index)
        with _after_the_documents():
            history.forget(self.settings)
            topics.empty_topics(self.settings.kafka)

    def servers(self) -> tuple[local.ServerStatus, ...]:
        """Return the state of the local servers; empty for a hosted target."""
        return () if self.settings.is_hosted else local.status()


@contextmanager
def _after_the_documents() -> Iterator[None]:
    """Add to an error in the block that the documents are already deleted."""
    try:
        yield
    except ClickstreamError as error:
        msg = f"reset incomplete, the documents are deleted: {error}"
        raise ServerError(msg, *error.hints, "then reset again") from error
