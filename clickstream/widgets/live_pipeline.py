"""The live pipeline behind a control room: simulated readers, Kafka and OpenSearch.

Four background workers run from `start` to `stop`: `producer` sends events, `consumer` indexes
them, `offsets` reads message counts and lag from Kafka four times per second, and `charts` searches
OpenSearch once per second. The module does not depend on widgets: a view calls `snapshot` and draws
`charts`, a dictionary that is always replaced as a whole.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Final

import plotly.graph_objects as go

from clickstream import consumer, producer
from clickstream.charts.timeseries import Arrivals
from clickstream.demo.demo import Demo
from clickstream.errors import ClickstreamError, MissingError, NoAnswerError, shown
from clickstream.kafka import topics
from clickstream.kafka.offsets import STALLED_S, GroupOffsets, StallDetector, TopicOffsets
from clickstream.reports import BoldLine, IndexReport, ProduceReport, this_consumer
from clickstream.servers import processes
from clickstream.servers.free_space import FOR_SERVERS
from clickstream.servers.nodes import Name
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.reactions import Engagement
from clickstream.simulation.scenarios import SCENARIOS
from clickstream.simulation.traffic import Traffic
from clickstream.widgets import workers
from clickstream.widgets.balance import Balance, Counts

logger = logging.getLogger(__name__)

DEFAULT_RATE: Final = 20.0
MAX_MESSAGES: Final = 5_000_000
"""The largest topic that the local servers are designed for."""
OFFSETS_EVERY_S: Final = 0.25
CHARTS_EVERY_S: Final = 1.0
WINDOW: Final = timedelta(minutes=5)
"""The period that the charts show."""

_BUCKET_S = 2
_SEARCHABLE_AFTER: Final = timedelta(seconds=1.5)
"""A stored document is searchable after this time: one and a half refresh intervals."""
_CATCH_UP_S = 1.0
_RETRY_AFTER_S = 1.0
_PATIENCE_S = 4.0
"""For an answer of a server, because an audience notices a stalled screen."""
_STALE_S = 3.0
"""A count without an answer of its server for this long is shown with its age."""

_LOCAL: Final[dict[str, Name]] = {"Kafka": "kafka", "OpenSearch": "opensearch"}

PRODUCER: Final = "producer"
CONSUMER: Final = "consumer"
OFFSETS: Final = "offsets"
CHARTS: Final = "charts"
_WORKERS = (OFFSETS, CHARTS, PRODUCER, CONSUMER)
"""In the order in which their errors are shown: the two monitors know the cause, such as a
deleted topic, and the remedy; an ended producer or consumer only suggests Start."""


@dataclass(frozen=True)
class Snapshot(BoldLine):
    """Message and document counts at one moment."""

    is_running: bool = False
    produced: int = 0
    """Events handed to Kafka since the first `start`, over all runs; those that it did not accept
    are left out when that is known."""
    per_second: float = 0.0
    """Messages that arrived in Kafka during the latest second."""
    in_kafka: int = 0
    there_before: int = 0
    """Of those in Kafka: when the room was opened, or emptied."""
    by_others: int = 0
    """Of those in Kafka: sent by other producers since then."""
    lag: int = 0
    indexed: int = 0
    """Documents in the index."""
    repeats: int = 0
    """Messages whose document was refused, because the index already had it."""
    dead_letters: int = 0
    """Messages that became dead letters; each counts once."""
    latency_ms: float | None = None
    """Median time from Kafka's timestamp to OpenSearch's answer; None before the first."""
    kafka_age_s: float = 0.0
    """Seconds since Kafka answered, if that is too long; then all counts are that old."""
    opensearch_age_s: float = 0.0
    """Seconds since OpenSearch answered, if that is too long."""
    trouble: str = ""
    """One line that says what failed and what to do; empty without errors."""

    @property
    def of_these_produced(self) -> int:
        """Of those in Kafka: produced here; fewer than `produced` while some are on their way."""
        return self.in_kafka - self.there_before - self.by_others

    def __str__(self) -> str:
        return (
            f"{self.produced:,} produced, {self.in_kafka:,} in Kafka ({self.there_before:,} there "
            f"before, {self.of_these_produced:,} produced here, {self.by_others:,} by others), "
            f"lag {self.lag:,}, {self.indexed:,} indexed, {self.repeats:,} repeats, "
            f"{self.dead_letters:,} dead letters, {self.per_second:,.0f} events per second"
        )


class LivePipeline:
    """Everything that runs for one demo; a new one ends everything an earlier one started.

    When idle it has no thread. If local servers hold as many messages as a laptop should, it stops
    the readers, and the snapshot says so.

    Args:
        demo: provides the topic and the index.
        events_per_second: the initial rate; set the attribute to change it at once.
        catch_up_s: how long `stop` waits for the consumer to read the rest.
        max_messages: the number of messages at which readers of a local target stop.
        count_every_s: seconds between two counts.

    Raises:
        ClickstreamError: a server did not answer.
    """

    def __init__(
        self,
        demo: Demo,
        *,
        events_per_second: float = DEFAULT_RATE,
        catch_up_s: float = _CATCH_UP_S,
        max_messages: int = MAX_MESSAGES,
        count_every_s: float = OFFSETS_EVERY_S,
    ) -> None:
        workers.end(*_WORKERS)
        self._demo = demo
        self._pace = Pace(events_per_second, rng=Random())
        self._catch_up_s, self._max_messages = catch_up_s, max_messages
        self._count_every_s = count_every_s
        self._reactions = 1.0
        self._clear()
        self.refresh()

    def _clear(self) -> None:
        self._traffic: Traffic | None = None
        self._latest = Snapshot()
        """As of the latest request to Kafka; `snapshot` adds values that need no request."""
        self.other_consumers = 0
        """Other consumers of the group that were running at the latest start."""
        self._runs: list[ProduceReport] = []
        """The reports of all runs of the readers, the current one last."""
        self._documents_before = 0
        """Documents in the index besides those that the latest report counts."""
        self._index_reports = [IndexReport()]
        """The reports of all runs of the consumer, the current or latest one last."""
        self._refused_elsewhere: dict[str, int] = {}
        """The most repeats that each other consumer of the group reported."""
        self._balance: Balance | None = None
        self._stalled: dict[int, int] = {}
        """The lag of partitions whose owner does not read them."""
        self.arrivals = Arrivals(self._count_every_s)
        self._troubles: dict[str, str] = {}
        """The latest error, by worker."""
        self.charts: dict[str, go.Figure] = {}
        """Figures of the latest answer, by chart name."""
        self._counted_s = self._searched_s = self._indexed_s = time.monotonic()
        self._is_final = True
        """Whether the counts stand until the next start, so that they do not age."""

    def refresh(self) -> None:
        """Count and draw everything once, including documents stored just now.

        Raises:
            ClickstreamError: a server did not answer.
        """
        self._documents_before = self._demo.documents()
        self._index_reports.append(IndexReport(index=self._demo.settings.opensearch.index))
        with closing(GroupOffsets(self._demo.settings.kafka)) as offsets:
            self._count(offsets)
        self._search(datetime.now(UTC))
        self._is_final = True

    @property
    def events_per_second(self) -> float:
        """The requested rate."""
        return self._pace.events_per_second

    @events_per_second.setter
    def events_per_second(self, rate: float) -> None:
        self._pace.events_per_second = rate

    @property
    def reactions(self) -> float:
        """Factor for likes, comments and shares, 1 by default; a new value applies at once."""
        return self._reactions

    @reactions.setter
    def reactions(self, times: float) -> None:
        engagement = Engagement(times=times)
        self._reactions = times
        if self._traffic is None:
            return  # `start` sets it for a new crowd
        if times == 1:
            self._traffic.stop(Engagement.name)
        else:
            self._traffic.start(engagement)

    @property
    def speed(self) -> float:
        """How much faster than its natural rate the crowd acts."""
        crowd = None if self._traffic is None else self._traffic.crowd
        return self.events_per_second / (DEFAULT_RATE if crowd is None else crowd.natural_rate)

    @property
    def is_running(self) -> bool:
        """Whether the readers run."""
        return self._is_running(PRODUCER)

    @property
    def is_at_rest(self) -> bool:
        """Whether no worker runs."""
        return not any([self._is_running(name) for name in _WORKERS])

    def _is_running(self, name: str) -> bool:
        try:
            return workers.is_running(name)
        except Exception as error:  # whatever ended it is shown
            self._troubles[name] = f"{self.explain(error)}; press Start to continue"
            return False

    def start(self) -> None:
        """Start the readers and the consumer; workers that already run continue.

        Raises:
            ClickstreamError: a server did not answer.
        """
        self._troubles.clear()
        try:
            if not self._is_running(CONSUMER):
                self._start_consumer()
            if not self._is_running(PRODUCER):
                self._start_producer()
            for name, watch in ((OFFSETS, self._watch_kafka), (CHARTS, self._watch_index)):
                if not self._is_running(name):
                    workers.start(name, partial(self._retry, name, watch))
        finally:
            self._is_final = False

    def _start_consumer(self) -> None:
        workers.end(OFFSETS, CHARTS)  # so that nobody counts while this report replaces the last
        self.other_consumers = topics.consumers(self._demo.settings.kafka)
        before = self._latest.in_kafka
        self.refresh()
        if self._latest.in_kafka < before:  # topic and index were reset elsewhere
            self._runs.clear()
            self._index_reports = [IndexReport()]
            self._balance = None
            self.refresh()
        self._indexed_s = time.monotonic()
        workers.start(CONSUMER, self._consume)

    def _start_producer(self) -> None:
        if self._traffic is None:
            self._traffic = Traffic(live_now())
            self.reactions = self._reactions
        workers.start(PRODUCER, partial(self._produce, self._traffic))

    def _produce(self, traffic: Traffic, stop: threading.Event) -> None:
        kafka = self._demo.settings.kafka
        report = ProduceReport(kafka.topic)
        self._runs.append(report)
        producer.produce(kafka, PacedEvents(traffic, self._pace), stop=stop, report=report)

    def _consume(self, stop: threading.Event) -> None:
        consumer.index_topic(self._demo.settings, stop=stop, report=self._index_reports[-1])

    def stop(self) -> None:
        """Stop the readers, give the consumer `catch_up_s` to read the rest, and end everything.

        The number of events that Kafka did not acknowledge in time is shown as trouble.

        Raises:
            ClickstreamError: a server did not answer the last count; all workers have ended.
        """
        self._is_final = False  # unless the last count succeeds
        self._stop_workers(PRODUCER, OFFSETS)
        if OFFSETS not in self._troubles:  # without Kafka there is nothing to wait for
            with suppress(ClickstreamError):
                self._wait_for_consumer()
        self._stop_workers(CONSUMER, CHARTS)
        for name in (OFFSETS, CHARTS):  # monitoring has ended: the following counts are final
            self._troubles.pop(name, None)
        self.refresh()

    def _wait_for_consumer(self) -> None:
        ends_s = time.monotonic() + self._catch_up_s
        with closing(GroupOffsets(self._demo.settings.kafka)) as offsets:
            self._count(offsets)  # the latest count may be older than the last message
            while self._latest.lag and self._is_running(CONSUMER) and time.monotonic() < ends_s:
                time.sleep(0.05)
                self._count(offsets)

    def _stop_workers(self, *names: str) -> None:
        for name in names:
            try:
                workers.stop(name)
            except Exception as error:  # whatever ended it, or came of its end, is shown
                self._troubles[name] = self.explain(error)

    def reset(self) -> str:
        """Stop, empty the topic, dead letters and index, and return what was deleted.

        Raises:
            ServerError: a server did not answer, or another consumer is reading; then nothing
                was deleted.
        """
        workers.end(*_WORKERS)
        try:
            deleted = self._demo.reset(yes=True)
        except ClickstreamError:
            self._is_final = False
            self.refresh()
            raise
        self._clear()
        self.refresh()
        return deleted

    def close(self) -> None:
        """End everything at once."""
        workers.end(*_WORKERS)

    def toggle(self, name: str) -> bool:
        """Start a scenario, or end it if it runs; return whether it runs now.

        Without readers nothing happens.
        """
        if self._traffic is None:
            return False
        if name in self.playing:
            self._traffic.stop(name)
            return False
        self._traffic.start(SCENARIOS[name]())
        return True

    @property
    def playing(self) -> tuple[str, ...]:
        """The names of the running scenarios."""
        return () if self._traffic is None else self._traffic.running

    def _watch_kafka(self, stop: threading.Event) -> None:
        kafka = replace(self._demo.settings.kafka, timeout_s=_PATIENCE_S)
        with closing(GroupOffsets(kafka)) as offsets:
            stalls = StallDetector(offsets)
            for _ in workers.ticks(self._count_every_s, stop):
                self._stalled = stalls.note(self._count(offsets))
                self._troubles.pop(OFFSETS, None)
                self._stop_readers_when_full()

    def _count(self, offsets: GroupOffsets) -> TopicOffsets:
        # Against the flow, so that no later stage counts more than an earlier one. The lag is
        # counted by offsets: messages that Kafka delivers again, as after an outage, count once.
        settled = dict(self._index_reports[-1].settled)
        refused = sum(report.replayed for report in self._index_reports)
        indexed = self._documents_before + self._index_reports[-1].stored
        found = offsets.read()
        produced = sum(run.sent - run.failed for run in self._runs)
        for each in found.members:
            if each.consumer != this_consumer():
                most = max(each.replayed, self._refused_elsewhere.get(each.consumer, 0))
                self._refused_elsewhere[each.consumer] = most
        lag = found.lag(settled)
        now = Counts(
            refused=refused + sum(self._refused_elsewhere.values()),
            documents=indexed,
            dead_letters=found.dead_letters,
            unread=lag,
            deleted=sum(each.first_offset for each in found.partitions),
            written=sum(each.end_offset for each in found.partitions),
            produced=produced,
        )
        self._balance = self._balance or Balance(now)
        there_before, by_others = self._balance.sources(now)
        self._counted_s = time.monotonic()
        if indexed != self._latest.indexed or lag == 0:
            self._indexed_s = self._counted_s
        self._latest = Snapshot(
            produced=produced,
            in_kafka=found.messages,
            there_before=there_before,
            by_others=by_others,
            lag=lag,
            indexed=indexed,
            repeats=self._balance.repeats(now),
            dead_letters=found.dead_letters,
        )
        self.arrivals.note(found.messages)
        return found

    def _stop_readers_when_full(self) -> None:
        if self._demo.settings.is_hosted or not self.is_running:
            return
        free = shutil.disk_usage(processes.folder()).free
        if self._latest.in_kafka > self._max_messages or free < FOR_SERVERS.disk_bytes:
            self._troubles[PRODUCER] = (
                f"readers stopped at {self._latest.in_kafka:,} messages, {free / 1e9:.1f} GB of "
                "disk free: the limit for a laptop; press Reset to start over"
            )
            workers.end(PRODUCER)

    def _watch_index(self, stop: threading.Event) -> None:
        for _ in workers.ticks(CHARTS_EVERY_S, stop):
            # Later ones look like a drop in traffic: not all of their events are searchable yet.
            self._search(datetime.now(UTC) - _SEARCHABLE_AFTER)
            self._recount_documents()
            self._troubles.pop(CHARTS, None)

    def _recount_documents(self) -> None:
        """Count again, because another consumer, a lost answer or a deletion may change it."""
        report = self._index_reports[-1]
        at_least = report.stored
        counted = self._demo.documents()
        # In this order, a document stored in between is in both counts, not in neither.
        at_most = report.in_flight + report.stored
        before = max(self._documents_before, counted - at_most)
        self._documents_before = min(before, counted - at_least)

    def _search(self, until: datetime) -> None:
        answer = self._demo.ask(since=until - WINDOW, until=until, bucket_s=_BUCKET_S)
        self.charts = answer.figures()
        self._searched_s = time.monotonic()

    def _stall(self) -> str:
        """Describe a stall without an error; empty if everything progresses."""
        # A search may take as long as a bulk request.
        waited_s = time.monotonic() - self._searched_s
        if waited_s > _PATIENCE_S and self._is_running(CHARTS):
            return (
                f"OpenSearch has not answered for {waited_s:.0f} s; the charts show its last answer"
            )
        if self._stalled and self._is_running(OFFSETS):
            waiting = ", ".join(f"{n:,} in partition {i}" for i, n in sorted(self._stalled.items()))
            return (
                f"messages wait although their consumer is alive: {waiting}; its committed offset "
                f"has not moved for {STALLED_S:.0f} s; press Stop, then Start"
            )
        # A consumer that could not leave its group keeps its partitions for 6 more seconds.
        waited_s = time.monotonic() - self._indexed_s
        if waited_s > 2 * _PATIENCE_S and self._is_running(CONSUMER):
            rejection = self._index_reports[-1].rejection
            why = f": {rejection}" if rejection else ""
            return f"nothing was indexed for {waited_s:.0f} s{why}; the messages wait in Kafka"
        return ""

    def _retry(
        self, name: str, watch: Callable[[threading.Event], None], stop: threading.Event
    ) -> None:
        """Run a monitor until it is stopped; an error is shown as trouble, and it restarts."""
        while not stop.is_set():
            try:
                watch(stop)
            except Exception as error:  # whatever it is, the rest goes on, and it is shown
                logger.warning("monitor failed name=%s error=%r", name, shown(error))
                # The topic or index is missing.
                remedy = "; Reset creates both again" if isinstance(error, MissingError) else ""
                self._troubles[name] = f"{self.explain(error)}{remedy}"
                stop.wait(_RETRY_AFTER_S)

    def explain(self, error: BaseException) -> str:
        """Put an error into a line for an audience: a server that is gone needs no address."""
        if not isinstance(error, NoAnswerError):
            return shown(error)
        if self._demo.settings.is_hosted:
            return f"{error.server} does not answer. Check it in the service's console."
        if processes.running(_LOCAL[error.server]) is None:
            return f"{error.server} is gone. Run the first cell again."
        return f"{error.server} does not answer. If it stays silent, run the first cell again."

    def snapshot(self) -> Snapshot:
        """Return the current counts without a request, so it may be called often."""
        is_running = self.is_running
        self._is_running(CONSUMER)  # records the error that ended it, if any
        return replace(
            self._latest,
            is_running=is_running,
            per_second=self.arrivals.per_second() if self._is_running(OFFSETS) else 0.0,
            latency_ms=self._index_reports[-1].latency_ms(0.5),
            kafka_age_s=self._age_s(self._counted_s),
            opensearch_age_s=self._age_s(self._searched_s),
            trouble=next(filter(None, map(self._troubles.get, _WORKERS)), self._stall()),
        )

    def _age_s(self, answered_s: float) -> float:
        age_s = 0.0 if self._is_final else time.monotonic() - answered_s
        return age_s if age_s > _STALE_S else 0.0
