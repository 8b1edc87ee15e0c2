"""The live pipeline behind a control room: simulated readers, Kafka and OpenSearch.

Four background workers run from `start` to `stop`: `producer` sends events, `consumer` indexes
them, `offsets` reads message counts and lag from Kafka four times per second, and the newest
messages twice, and `charts` searches OpenSearch once per second. The module does not depend on
widgets: a view calls `snapshot` and draws `charts`, `newest` and `read_now`, which are always
replaced as a whole.
"""

from __future__ import annotations

import logging
import math
import shutil
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Final

import plotly.graph_objects as go

from clickstream import consumer, producer
from clickstream.charts.search import Answer
from clickstream.demo.demo import Demo
from clickstream.errors import ClickstreamError, MissingError, NoAnswerError, shown
from clickstream.kafka import topics
from clickstream.kafka.messages import TopicMessage
from clickstream.kafka.offsets import (
    STALLED_S,
    GroupOffsets,
    Partition,
    StallDetector,
    TopicOffsets,
)
from clickstream.kafka.tail import Newest
from clickstream.opensearch.site import Headline, Site
from clickstream.reports import BoldLine, IndexReport, ProduceReport, this_consumer
from clickstream.servers import processes
from clickstream.servers.free_space import FOR_SERVERS
from clickstream.servers.nodes import Name
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.reactions import Engagement
from clickstream.simulation.scenarios import SCENARIOS
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic
from clickstream.simulation.visitor import Visitor
from clickstream.widgets import workers
from clickstream.widgets.activity_log import ActivityLog
from clickstream.widgets.arrivals import KEPT, Arrivals
from clickstream.widgets.balance import Balance, Counts
from clickstream.widgets.effect import SHOWN_AFTER_S, Effect
from clickstream.widgets.searchable import ClickToSearchable

logger = logging.getLogger(__name__)

DEFAULT_RATE: Final = 20.0
MAX_MESSAGES: Final = 5_000_000
"""The largest topic that the local servers are designed for."""
OFFSETS_EVERY_S: Final = 0.25
CHARTS_EVERY_S: Final = 1.0
LOOK_EVERY_S: Final = 0.25
"""Seconds between two searches for the newest event."""
BUCKETS_S: Final = {1: 1, 5: 2, 15: 5}
"""The periods that the charts can show, in minutes, with the width of their buckets."""
WINDOW_MINUTES: Final = 5
NEWEST: Final = 8
"""Messages that are shown of those that have just arrived."""
PAST_S: Final = 1_200.0
"""A new crowd begins this long ago, so that the charts are full from the first second."""
MOST_PAST_S: Final = 1_800.0
"""A crowd that was drawn ahead is too old if it begins earlier. A history ends before that."""

_LEAST_PAST_S = 60.0
_CHARTS_IN_PAST_S: Final = 4.0
"""Seconds between two searches for the charts while events of the past are read."""
_OWNERS_EVERY: Final = 4
"""The members of the group are asked for with every fourth count."""
_NEWEST_EVERY_S: Final = 0.5
"""Seconds between two looks at the newest messages."""
_READ_NOW_EVERY_S: Final = 2.0
"""Seconds between two looks at the most read articles; one costs OpenSearch about two thirds of a
search for the charts."""
_FEW: Final = 10
"""Messages that wait for a moment in a partition with hardly any traffic."""
_LAGS: Final = 8
"""The lags of two seconds."""
_SEARCHABLE_AFTER: Final = timedelta(seconds=1.5)
"""A stored document is searchable after this time: one and a half refresh intervals."""
_CATCH_UP_S = 1.0
_RETRY_AFTER_S = 1.0
_PATIENCE_S = 4.0
"""For an answer of a server, because an audience notices a stalled screen."""
_ANSWER_S = 8.0
"""For an answer of OpenSearch: charts of a slow one take seconds, and Stop waits for all of it."""
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
class Lane:
    """One partition of the topic on its way to the index."""

    partition: int
    end_offset: int
    """The offset that the next message will get."""
    per_second: float
    """Messages that arrived in the latest second."""
    lag: int
    is_lag_growing: bool
    """Whether the lag is more than two seconds of traffic, ten messages, and two seconds ago."""
    owner: str
    """The client id of the member that reads it; empty without one."""
    is_stalled: bool
    """Whether messages wait although it has an owner."""


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
    counted_ms: int = 0
    """When Kafka answered, in ms since 1970."""
    lanes: tuple[Lane, ...] = field(default=(), repr=False)
    readers: int = 0
    """Sessions with an event in the latest five minutes, as far as they are searchable."""
    views_per_second: float = 0.0
    searchable_ms: tuple[float, float] | None = None
    """Median and 99th percentile of the time from a click until a search finds its event."""
    latency_ms: float | None = None
    """Median time from Kafka's timestamp to OpenSearch's answer; None before the first. Like
    `per_second`, without the events of the past."""
    num_past: int = 0
    """Events of the past that the latest new crowd sent first, so far."""
    past_s: float = 0.0
    """How long before the start they begin, in seconds; 0 if the latest run of the
    readers sent none."""
    kafka_age_s: float = 0.0
    """Seconds since Kafka answered, if that is too long; then all counts are that old."""
    opensearch_age_s: float = 0.0
    """Seconds since OpenSearch answered, if that is too long."""
    effect: str = ""
    """One line that compares now with the minute before the latest scenario; empty without one."""
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

    A new crowd, at the first start or after `reset`, sends its last 20 minutes first, or up to 30
    if it was prepared earlier. They begin after the newest document, and are left out where less
    than one minute is free.

    When idle it has no thread. If local servers hold as many messages as a laptop should, it stops
    the readers, and the snapshot says so.

    Args:
        demo: provides the topic and the index.
        events_per_second: the initial rate; set the attribute to change it at once.
        past_s: how many seconds ago a new crowd begins, at most.
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
        past_s: float = PAST_S,
        catch_up_s: float = _CATCH_UP_S,
        max_messages: int = MAX_MESSAGES,
        count_every_s: float = OFFSETS_EVERY_S,
    ) -> None:
        workers.end(*_WORKERS)
        settings, opensearch = demo.settings, demo.settings.opensearch
        patience_s = min(opensearch.timeout_s, _ANSWER_S)
        self._demo = demo
        self._asking = Demo(replace(settings, opensearch=replace(opensearch, timeout_s=patience_s)))
        """Waits no longer than an audience does."""
        self._pace = Pace(events_per_second, rng=Random())
        self._catch_up_s, self._max_messages = catch_up_s, max_messages
        self._count_every_s, self._most_past_s = count_every_s, past_s
        self._drawing = threading.Lock()
        self.window_minutes = WINDOW_MINUTES
        """The period that the charts show, one of `BUCKETS_S`; a new value applies at the next
        search."""
        self._reactions = 1.0
        self.remedies = dict.fromkeys(_LOCAL, "Run the first cell again.")
        """What to do about a local server that is gone."""
        self._clear()
        self.refresh()

    def _clear(self) -> None:
        self._traffic: Traffic | None = None
        self._prepared: Simulator | None = None
        """The next crowd, drawn ahead."""
        self._latest = Snapshot()
        """As of the latest request to Kafka; `snapshot` adds values that need no request."""
        self.other_consumers = 0
        """Other consumers of the group that were running at the latest start."""
        self._runs: list[ProduceReport] = []
        """The reports of all runs of the readers, the current one last."""
        self._past_source: PacedEvents | None = None
        """Of the crowd's first run: it sends the events of the past first."""
        self._past_s = 0.0
        self._num_past = 0
        self.is_reading_past = False
        """Whether events of the past are not all indexed yet."""
        self._written_with_past: int | None = None
        """The messages that the topic had when it had all events of the past."""
        self._documents_before = 0
        """Documents in the index besides those that the latest report counts."""
        self._index_reports = [IndexReport()]
        """The reports of all runs of the consumer, the current or latest one last."""
        self._refused_elsewhere: dict[str, int] = {}
        """The most repeats that each other consumer of the group reported."""
        self._balance: Balance | None = None
        self._stalled: dict[int, int] = {}
        """The lag of partitions whose owner does not read them."""
        self._owners: dict[int, str] = {}
        """By partition: the client id of the member that reads it."""
        self._lanes: defaultdict[int, Arrivals] = defaultdict(Arrivals)
        self._lane_lags: defaultdict[int, deque[int]] = defaultdict(lambda: deque(maxlen=_LAGS))
        self._site = Site(0, 0.0)
        self.activity = ActivityLog(DEFAULT_RATE)
        """What happened here since the first start or the latest reset."""
        self._effect, self._effect_line = Effect(self._asking.search), ""
        self._click_to_searchable = ClickToSearchable()
        self.arrivals = Arrivals()
        self.lags: deque[int] = deque(maxlen=KEPT)
        """The lag at each of the latest counts."""
        self._troubles: dict[str, str] = {}
        """The latest error, by worker."""
        self.only: Mapping[str, str] = {}
        """The charts count only events with this value, by field; see `filter`."""
        self.answer: Answer | None = None
        """The latest one."""
        self.charts: dict[str, go.Figure] = {}
        """Figures of the latest answer, by chart name."""
        self.newest: list[TopicMessage] = []
        """The newest messages since the first start, the oldest first."""
        self.read_now: list[tuple[Headline, int | None]] = []
        """The most read articles, each with its views in the window before, if it is covered."""
        self._counted_s = self._searched_s = self._indexed_s = time.monotonic()
        self._is_final = True
        """Whether the counts stand until the next start, so that they do not age."""

    def refresh(self) -> None:
        """Count and draw everything once, including documents stored just now.

        Raises:
            ClickstreamError: a server did not answer.
        """
        self._documents_before = self._asking.documents()
        self._index_reports.append(IndexReport(index=self._demo.settings.opensearch.index))
        with closing(GroupOffsets(self._demo.settings.kafka)) as offsets:
            self._owners = offsets.owners()
            self._count(offsets)
        now = datetime.now(UTC)
        self._search(now)
        self._look_what_is_read(now)
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
    def is_complete(self) -> bool:
        """Whether both the readers and the consumer run, so that `start` would change nothing."""
        return self._is_running(PRODUCER) and self._is_running(CONSUMER)

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

    def prepare(self) -> None:
        """Draw the next crowd ahead, which takes a second or more, unless there is one."""
        with self._drawing:
            if self._traffic is None:
                self._prepared = live_now(past_s=self._most_past_s)

    def _start_consumer(self) -> None:
        # Nobody looked since the last stop.
        self._click_to_searchable.forget(round(time.time() * 1000))
        workers.end(OFFSETS, CHARTS)  # so that nobody counts while this report replaces the last
        self.other_consumers = topics.consumers(self._demo.settings.kafka)
        before = self._latest.in_kafka
        self.refresh()
        if self._latest.in_kafka < before:  # topic and index were reset elsewhere
            self._runs.clear()
            self.is_reading_past = False
            self._index_reports = [IndexReport()]
            self._balance = None
            self.refresh()
        self._indexed_s = time.monotonic()
        workers.start(CONSUMER, self._consume)

    def _start_producer(self) -> None:
        traffic = self._traffic
        if traffic is not None:
            source, self._past_s = PacedEvents(traffic, self._pace), 0.0
        else:
            with self._drawing:
                crowd = self._new_crowd()
                traffic = self._traffic = Traffic(crowd)
            past_s = time.time() - crowd.start_ms / 1000
            has_past = self.is_reading_past = past_s >= _LEAST_PAST_S
            self._past_s = past_s if has_past else 0.0
            self.reactions = self._reactions
            source = self._past_source = PacedEvents(traffic, self._pace, past_first=has_past)
        self.activity.start(self.events_per_second, is_in_past=source.is_in_past)
        workers.start(PRODUCER, partial(self._produce, source))

    def _new_crowd(self) -> Simulator:
        """Return a crowd that begins in the past, but later than the newest document."""
        newest_ms, now_ms = self._asking.look(max(MOST_PAST_S, self._most_past_s))
        free_s = math.inf if newest_ms is None else (now_ms - newest_ms) / 1000
        crowd, self._prepared = self._prepared, None
        if crowd is not None and time.time() - crowd.start_ms / 1000 < min(free_s, MOST_PAST_S):
            return crowd
        past_s = min(free_s, self._most_past_s)
        return live_now(past_s=past_s if past_s >= _LEAST_PAST_S else 0.0)

    def _produce(self, source: PacedEvents, stop: threading.Event) -> None:
        kafka = self._demo.settings.kafka
        report = ProduceReport(kafka.topic)
        self._runs.append(report)
        producer.produce(kafka, source, stop=stop, report=report)

    def _consume(self, stop: threading.Event) -> None:
        consumer.index_topic(self._demo.settings, stop=stop, report=self._index_reports[-1])

    def stop(self) -> None:
        """Stop the readers, give the consumer `catch_up_s` to read the rest, and end everything.

        The number of events that Kafka did not acknowledge in time is shown as trouble.

        Raises:
            ClickstreamError: a server did not answer the last count; all workers have ended.
        """
        self._is_final = False  # unless the last count succeeds
        if not self.is_at_rest:
            self.activity.stop()
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
        is_start = name not in self.playing
        if is_start:
            self._traffic.start(SCENARIOS[name]())
        else:
            self._traffic.stop(name)
        self._note_what_happens()
        return is_start

    def add(self, visitor: Visitor) -> None:
        """Let a person onto the site, among the readers; without readers nothing happens."""
        if self._traffic is not None:
            self._traffic.start(visitor)

    def remove(self, visitor: Visitor) -> None:
        """Log a person out."""
        if self._traffic is not None:
            self._traffic.stop(visitor.name)

    @property
    def playing(self) -> tuple[str, ...]:
        """The names of the running scenarios, and of the persons who are logged in."""
        return () if self._traffic is None else self._traffic.running

    def _note_what_happens(self) -> None:
        source = self._past_source
        is_in_past = source is not None and source.is_in_past
        rate = self.events_per_second
        self.activity.note(running=self.playing, rate=rate, is_in_past=is_in_past)

    def _watch_kafka(self, stop: threading.Event) -> None:
        kafka = replace(self._demo.settings.kafka, timeout_s=_PATIENCE_S)
        with (
            closing(GroupOffsets(kafka)) as offsets,
            closing(Newest(kafka, most=NEWEST)) as newest,
        ):
            stalls, newest_s = StallDetector(offsets), -math.inf
            for number, _ in enumerate(workers.ticks(self._count_every_s, stop)):
                found = self._count(offsets)
                self._stalled = stalls.note(found)
                self.activity.note_answer("Kafka")
                self._note_what_happens()
                if number % _OWNERS_EVERY == 0:
                    self._owners = offsets.owners()
                if self._counted_s - newest_s > _NEWEST_EVERY_S - OFFSETS_EVERY_S / 2:
                    newest_s = self._counted_s
                    ends = {each.partition: each.end_offset for each in found.partitions}
                    self.newest = newest.read(ends) or self.newest
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
        lags = found.lags(settled)
        unread = sum(lags.values())
        now = Counts(
            refused=refused + sum(self._refused_elsewhere.values()),
            documents=indexed,
            dead_letters=found.dead_letters,
            unread=unread,
            deleted=sum(each.first_offset for each in found.partitions),
            written=sum(each.end_offset for each in found.partitions),
            produced=produced,
        )
        self._balance = self._balance or Balance(now)
        there_before, by_others = self._balance.sources(now)
        self._counted_s = time.monotonic()
        if indexed != self._latest.indexed or unread == 0:
            self._indexed_s = self._counted_s
        self._latest = Snapshot(
            produced=produced,
            in_kafka=found.messages,
            there_before=there_before,
            by_others=by_others,
            lag=unread,
            indexed=indexed,
            repeats=self._balance.repeats(now),
            dead_letters=found.dead_letters,
            counted_ms=round(time.time() * 1000),
            lanes=tuple(self._lane(each, lags[each.partition]) for each in found.partitions),
        )
        self._note_arrivals(now)
        return found

    def _lane(self, found: Partition, unread: int) -> Lane:
        number = found.partition
        arrivals, lags = self._lanes[number], self._lane_lags[number]
        arrivals.note(found.end_offset)
        per_second = arrivals.per_second()
        is_growing = bool(lags) and unread > max(lags[0], 2 * per_second, _FEW)
        lags.append(unread)
        return Lane(
            partition=number,
            end_offset=found.end_offset,
            per_second=per_second,
            lag=unread,
            is_lag_growing=is_growing,
            owner=self._owners.get(number, ""),
            is_stalled=number in self._stalled,
        )

    def _note_arrivals(self, now: Counts) -> None:
        """Count messages as they arrive, without those of the past, which come in a rush."""
        source = self._past_source
        if self.is_reading_past and source is not None:
            self._num_past = source.num_past
            if self._written_with_past is None:
                # While the past is sent there may be no report yet.
                if source.is_in_past:
                    return
                if len(self._runs) == 1 and self._runs[0].delivered < self._num_past:
                    return
                self._written_with_past = now.written
            if now.unread <= now.written - self._written_with_past:
                self._index_reports[-1].forget_latencies()
                self.is_reading_past = False
        self.arrivals.note(now.written - self._num_past)
        self.lags.append(now.unread)

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
        charts_s, was_reading_past = time.monotonic() - CHARTS_EVERY_S, False
        read_now_s = -math.inf
        for _ in workers.ticks(LOOK_EVERY_S, stop):
            newest_ms, now_ms = self._asking.look()
            self._searched_s = time.monotonic()
            self.activity.note_answer("OpenSearch")
            self._note_what_happens()
            # Charts cost processor time, which the events of the past need first.
            is_reading_past, since_s = self.is_reading_past, time.monotonic() - charts_s
            has_read_past = was_reading_past and not is_reading_past
            was_reading_past = is_reading_past
            if has_read_past:  # some events of the past become searchable only now
                self._click_to_searchable.forget(now_ms)
            if not is_reading_past:
                self._click_to_searchable.note(newest_ms, now_ms)
            every_s = _CHARTS_IN_PAST_S if is_reading_past else CHARTS_EVERY_S - LOOK_EVERY_S / 2
            if since_s < every_s and not has_read_past:
                continue
            charts_s = time.monotonic()
            self._recount_documents()
            self._site = self._asking.site()
            # Later ones look like a drop in traffic: not all of their events are searchable yet.
            until = datetime.now(UTC) - _SEARCHABLE_AFTER
            self._search(until)
            if has_read_past or charts_s - read_now_s > _READ_NOW_EVERY_S - CHARTS_EVERY_S / 2:
                read_now_s = charts_s
                self._look_what_is_read(until)
            self._compare(until)
            self._troubles.pop(CHARTS, None)

    def _compare(self, until: datetime) -> None:
        self._effect.note_dead_letters(datetime.now(UTC), self._latest.dead_letters)
        play = self.activity.latest_play(over_s=SHOWN_AFTER_S)
        self._effect_line = "" if play is None else self._effect.compare(play, until)

    def _recount_documents(self) -> None:
        """Count again, because another consumer, a lost answer or a deletion may change it."""
        report = self._index_reports[-1]
        at_least = report.stored
        counted = self._asking.documents()
        # In this order, a document stored in between is in both counts, not in neither.
        at_most = report.in_flight + report.stored
        before = max(self._documents_before, counted - at_most)
        self._documents_before = min(before, counted - at_least)

    def redraw(self) -> None:
        """Search now for another window; at rest, up to the same time.

        Raises:
            ClickstreamError: OpenSearch did not answer.
        """
        until = self._now()
        self._search(until)
        self._look_what_is_read(until)

    def _now(self) -> datetime:
        """Return the end of the window; at rest, that of the latest answer."""
        if self.answer is not None and self.is_at_rest:
            return self.answer.until
        return datetime.now(UTC) - _SEARCHABLE_AFTER

    def filter(self, only: Mapping[str, str]) -> None:
        """Count only events with these values, by field, in all charts.

        Raises:
            ClickstreamError: OpenSearch did not answer; then nothing changes.
        """
        before, self.only = self.only, dict(only)
        try:
            self._search(self._now())
        except ClickstreamError:
            self.only = before
            raise

    def _search(self, until: datetime) -> None:
        minutes, only = self.window_minutes, self.only
        since, width_s = until - timedelta(minutes=minutes), BUCKETS_S[minutes]
        answer = self._asking.ask(since=since, until=until, bucket_s=width_s, only=only)
        self._searched_s = time.monotonic()
        figures = answer.figures(marks=self.activity.marks.since(since))
        if only is self.only:  # another thread may have asked for other filters meanwhile
            self.answer, self.charts = answer, figures

    def _look_what_is_read(self, until: datetime) -> None:
        since = until - timedelta(minutes=self.window_minutes)
        self.read_now = self._asking.read_now(since, until)

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
                if isinstance(error, NoAnswerError):
                    answered_s = self._counted_s if name == OFFSETS else self._searched_s
                    for_s = time.monotonic() - answered_s
                    self.activity.note_no_answer(error.server, for_s=for_s)
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
            return f"{error.server} is gone. {self.remedies[error.server]}"
        return f"{error.server} does not answer. If it stays silent, run the first cell again."

    def snapshot(self) -> Snapshot:
        """Return the current counts without a request, so it may be called often."""
        is_running = self.is_running
        self._is_running(CONSUMER)  # records the error that ended it, if any
        is_counting, lanes = self._is_running(OFFSETS), self._latest.lanes
        return replace(
            self._latest,
            is_running=is_running,
            per_second=self.arrivals.per_second() if is_counting else 0.0,
            lanes=tuple(
                replace(each, per_second=arrived.per_second() if is_counting else 0.0)
                for each, arrived in ((lane, self._lanes[lane.partition]) for lane in lanes)
            ),
            readers=self._site.readers,
            views_per_second=self._site.views_per_second if self._is_running(CHARTS) else 0.0,
            searchable_ms=self._searchable_ms(),
            latency_ms=None if self.is_reading_past else self._index_reports[-1].latency_ms(0.5),
            num_past=self._num_past,
            past_s=self._past_s,
            kafka_age_s=self._age_s(self._counted_s),
            opensearch_age_s=self._age_s(self._searched_s),
            effect=self._effect_line if self._is_running(CHARTS) else "",
            trouble=next(filter(None, map(self._troubles.get, _WORKERS)), self._stall()),
        )

    def _searchable_ms(self) -> tuple[float, float] | None:
        median = self._click_to_searchable.quantile_ms(0.5)
        most = self._click_to_searchable.quantile_ms(0.99)
        return None if median is None or most is None else (median, most)

    def _age_s(self, answered_s: float) -> float:
        age_s = 0.0 if self._is_final else time.monotonic() - answered_s
        return age_s if age_s > _STALE_S else 0.0
