"""Readers, Kafka and OpenSearch at work in the background, and what can be read off them.

Four named threads, from `start` to `stop`: `traffic` produces, `indexer` consumes, `gauge`
asks Kafka four times a second, `charts` asks OpenSearch once a second. Nothing here knows of
a widget; whoever shows it calls `read` and looks at `charts`, which is replaced whole.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Final

import plotly.graph_objects as go

from clickstream import consumer, producer
from clickstream.charts import draw
from clickstream.charts.arrivals import Arrivals
from clickstream.charts.search import Answer
from clickstream.charts.specs import VOLUME, VOLUME_SCENARIOS
from clickstream.demo.verbs import Demo
from clickstream.errors import ClickstreamError, ConfigError
from clickstream.kafka import topics
from clickstream.kafka.offsets import STALLED_S, Depth, DepthGauge, Standstill
from clickstream.reports import IndexReport, ProduceReport
from clickstream.servers import processes
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.reactions import Mood
from clickstream.simulation.scenarios import SCENARIOS
from clickstream.simulation.traffic import Traffic
from clickstream.widgets import workers
from clickstream.widgets.reading import Reading

logger = logging.getLogger(__name__)

DEFAULT_RATE: Final = 20.0
MOST_MESSAGES: Final = 5_000_000
LEAST_FREE: Final = 2_000_000_000
"""What the local servers are meant for, and bytes of disk that stay free."""
GAUGE_S: Final = 0.25
CHARTS_S: Final = 1.0
WINDOW: Final = timedelta(minutes=5)
"""What the charts show."""

_BUCKET_S = 2
_SEEN_AFTER_S = 1.5
"""So long after it is stored a document is found at the latest: a refresh, and a half more."""
_CATCH_UP_S = 1.0
_AFTER_TROUBLE_S = 1.0
_PATIENCE_S = 4.0
"""With a server, while it is watched: an audience sees what stands still."""
_WORKERS = ("traffic", "indexer", "gauge", "charts")


class Flow:
    """All that runs for one demo; made once more, it replaces all that an earlier one started.

    At rest it has no thread. Where the local servers hold as much as a laptop should, the
    readers are stopped, and the reading says so.

    Args:
        demo: whose topic and index.
        events_per_second: what readers make at the start; set it to change it at once.

    Raises:
        ClickstreamError: a server did not answer to the first look.
    """

    def __init__(self, demo: Demo, *, events_per_second: float = DEFAULT_RATE) -> None:
        workers.end(*_WORKERS)
        self._demo = demo
        self._pace = Pace(events_per_second, rng=Random())
        self._reactions = 1.0
        self._lock = threading.Lock()
        self._begin_anew()
        self.look()

    def _begin_anew(self) -> None:
        self._stage: Traffic | None = None
        self._produced = self._documents = 0
        self._seen = Reading()
        """What the gauge saw last; the rest of a reading is added when it is asked for."""
        self.others = 0
        """Consumers of the group that were at work elsewhere at the latest start."""
        self._sent = ProduceReport(self._demo.settings.kafka.topic)
        """Of the latest readers; what it counts comes on top of those produced before them."""
        self._report = IndexReport()
        """Of the consumer at work; what it stored comes on top of the documents counted."""
        self._stalled: dict[int, int] = {}
        """Messages that wait in partitions whose owner does not read them."""
        self.arrivals = Arrivals(GAUGE_S)
        self._troubles: dict[str, str] = {}
        self.charts: dict[str, go.Figure] = {}
        """Of the latest answer, by the name of the visualization."""
        self._answered_s = self._moved_s = time.monotonic()

    def look(self) -> None:
        """Look once at everything, what was stored this moment included.

        Raises:
            ClickstreamError: a server did not answer.
        """
        name = self._demo.settings.opensearch.index
        self._documents, self._report = self._demo.documents(), IndexReport(index=name)
        gauge = DepthGauge(self._demo.settings.kafka)
        try:
            self._look(gauge)
        finally:
            gauge.close()
        self._ask()

    @property
    def events_per_second(self) -> float:
        """The rate asked for."""
        return self._pace.events_per_second

    @events_per_second.setter
    def events_per_second(self, rate: float) -> None:
        self._pace.events_per_second = rate

    @property
    def reactions(self) -> float:
        """How often readers like, comment and share, 1 being as always; setting it acts at once."""
        return self._reactions

    @reactions.setter
    def reactions(self, times: float) -> None:
        self._reactions = times
        if self._stage is None:
            return  # `start` does it for a new crowd
        if times == 1:
            self._stage.stop(Mood.name)
        else:
            self._stage.start(Mood(times=times))

    @property
    def speed(self) -> float:
        """How much faster than by nature the crowd acts."""
        crowd = None if self._stage is None else self._stage.crowd
        return self.events_per_second / (DEFAULT_RATE if crowd is None else crowd.natural_rate)

    @property
    def is_running(self) -> bool:
        """Whether readers act."""
        return self._is_at_work("traffic")

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing of it runs."""
        return not any([self._is_at_work(name) for name in _WORKERS])

    def _is_at_work(self, name: str) -> bool:
        try:
            return workers.is_running(name)
        except Exception as error:  # whatever ended it is told
            self._troubles[name] = f"{error}; press Start to go on"
            return False

    def start(self) -> None:
        """Let readers act and the consumer index; what is at work already goes on.

        Raises:
            ClickstreamError: a server did not answer.
        """
        self._troubles.clear()
        if not self._is_at_work("indexer"):
            self.others = topics.consumers(self._demo.settings.kafka)
            before = self._seen.in_kafka
            self.look()
            if self._seen.in_kafka < before:  # somebody else made all new
                self._take_over_sent()
                self._produced = 0
            self._moved_s = time.monotonic()
            workers.start("indexer", self._index)
        if not self._is_at_work("traffic"):
            if self._stage is None:
                self._stage = Traffic(live_now())
                self.reactions = self._reactions
            workers.start("traffic", partial(self._produce, self._stage))
        for name, watch in (("gauge", self._watch_kafka), ("charts", self._watch_index)):
            if not self._is_at_work(name):
                workers.start(name, watch)

    def _produce(self, stage: Traffic, stop: threading.Event) -> None:
        self._take_over_sent()
        settings, report = self._demo.settings.kafka, self._sent
        producer.produce(settings, PacedEvents(stage, self._pace), stop=stop, report=report)

    def _take_over_sent(self) -> None:
        with self._lock:
            self._produced += self._sent.delivered
            self._sent = ProduceReport(self._demo.settings.kafka.topic)

    def _index(self, stop: threading.Event) -> None:
        consumer.index_topic(self._demo.settings, stop=stop, report=self._report)

    def stop(self) -> None:
        """End the readers, let the consumer catch up for a second, and end everything.

        Events that Kafka did not acknowledge in time are told as trouble, with their number.

        Raises:
            ClickstreamError: a server did not answer to the last look; all has ended.
        """
        self._halt("traffic", "gauge")
        if "gauge" not in self._troubles:  # without Kafka there is nothing to wait for
            with (
                suppress(ClickstreamError),
                closing(DepthGauge(self._demo.settings.kafka)) as gauge,
            ):
                ends_s = time.monotonic() + _CATCH_UP_S
                self._look(gauge)  # the gauge's own latest may be of before the last message
                while self._seen.lag and self._is_at_work("indexer") and time.monotonic() < ends_s:
                    time.sleep(0.05)
                    self._look(gauge)
        self._halt("indexer", "charts")
        for name in ("gauge", "charts"):  # nobody watches any more; the last look tells
            self._troubles.pop(name, None)
        self.look()

    def _halt(self, *names: str) -> None:
        for name in names:
            try:
                workers.stop(name)
            except Exception as error:  # whatever ended it, or came of its end, is told
                self._troubles[name] = str(error)

    def reset(self) -> str:
        """Stop, and make topic, dead letters and index new and empty; say what was deleted.

        Raises:
            ServerError: a server did not answer, or somebody else is reading; then nothing was
                deleted.
        """
        workers.end(*_WORKERS)
        try:
            said = self._demo.reset(yes=True)
        except ClickstreamError:
            self.look()
            raise
        self._begin_anew()
        self.look()
        return said

    def close(self) -> None:
        """End everything at once."""
        workers.end(*_WORKERS)

    def toggle(self, name: str) -> bool:
        """Let a scenario play, or end it where it does; say whether it plays now.

        Where nobody acts, nothing happens.
        """
        if self._stage is None:
            return False
        if name in self._stage.running:
            self._stage.stop(name)
            return False
        self._stage.start(SCENARIOS[name]())
        return True

    @property
    def playing(self) -> tuple[str, ...]:
        """The names of the scenarios that play."""
        return () if self._stage is None else self._stage.running

    def _watch_kafka(self, stop: threading.Event) -> None:
        def watch() -> None:
            gauge = DepthGauge(replace(self._demo.settings.kafka, timeout_s=_PATIENCE_S))
            try:
                standstill = Standstill(gauge)
                for _ in workers.ticks(GAUGE_S, stop):
                    self._stalled = standstill.note(self._look(gauge))
                    self._troubles.pop("gauge", None)
                    self._mind_the_laptop()
            finally:
                gauge.close()

        self._again_and_again("gauge", watch, stop)

    def _look(self, gauge: DepthGauge) -> Depth:
        with self._lock:
            produced = self._produced + self._sent.delivered
        # By offsets, not by counts: what Kafka hands out a second time, as after an outage, is
        # settled once. All of it before Kafka is asked, so that it never holds fewer.
        settled = dict(self._report.settled)
        indexed = self._documents + self._report.stored
        depth = gauge.read()
        if indexed != self._seen.indexed or depth.lag(settled) == 0:
            self._moved_s = time.monotonic()
        self._seen = Reading(
            produced=produced,
            in_kafka=depth.messages,
            lag=depth.lag(settled),
            indexed=indexed,
            dead_letters=depth.dead_letters,
        )
        self.arrivals.note(depth.messages)
        return depth

    def _mind_the_laptop(self) -> None:
        if self._demo.settings.target != "local" or not self.is_running:
            return
        free = shutil.disk_usage(processes.folder()).free
        if self._seen.in_kafka > MOST_MESSAGES or free < LEAST_FREE:
            self._troubles["traffic"] = (
                f"readers stopped at {self._seen.in_kafka:,} messages, {free / 1e9:.1f} GB of "
                "disk free: enough for a laptop; press Reset to begin anew"
            )
            workers.end("traffic")

    def _watch_index(self, stop: threading.Event) -> None:
        def watch() -> None:
            for _ in workers.ticks(CHARTS_S, stop):
                self._ask()
                self._mind_the_others()
                self._troubles.pop("charts", None)

        self._again_and_again("charts", watch, stop)

    def _mind_the_others(self) -> None:
        """Count what came into the index without us, or left it.

        By another consumer, by a bulk of ours whose answer was lost, by whoever emptied it.
        """
        report = self._report
        least = report.stored
        counted = self._demo.documents()
        # In this order: what settles in between is in both, not in neither.
        most = report.in_flight + report.stored
        self._documents = min(max(self._documents, counted - most), counted - least)

    def _ask(self) -> None:
        now = datetime.now(UTC)
        answer = self._demo.ask(since=now - WINDOW, until=now, bucket_s=_BUCKET_S)
        self.charts = draw.draw(_whole(answer, now))
        self._answered_s = time.monotonic()

    def _standstill(self) -> str:
        """Tell of what stands still though nothing has failed."""
        # A search is given as long as a bulk may take.
        waited_s = time.monotonic() - self._answered_s
        if waited_s > _PATIENCE_S and self._is_at_work("charts"):
            return (
                f"OpenSearch has not answered for {waited_s:.0f} s; the charts show its last answer"
            )
        if self._stalled and self._is_at_work("gauge"):
            waiting = ", ".join(f"{n:,} in partition {i}" for i, n in sorted(self._stalled.items()))
            return (
                f"messages wait though their consumer is alive: {waiting}; its committed offset "
                f"has not moved for {STALLED_S:.0f} s; press Stop, then Start"
            )
        # A consumer that could not leave its seat in the group waits 6 s for another.
        waited_s = time.monotonic() - self._moved_s
        if waited_s > 2 * _PATIENCE_S and self._is_at_work("indexer"):
            return f"nothing was indexed for {waited_s:.0f} s; what is in Kafka waits there"
        return ""

    def _again_and_again(self, name: str, work: Callable[[], None], stop: threading.Event) -> None:
        """Do it until told to stop; what goes wrong is told, and tried again."""
        while not stop.is_set():
            try:
                work()
            except Exception as error:  # whatever it is, the rest goes on, and it is told
                logger.warning("watching failed name=%s error=%r", name, error)
                # Topic or index is gone, or another than it should be.
                remedy = "; Reset makes all new" if isinstance(error, ConfigError) else ""
                self._troubles[name] = f"{error}{remedy}"
                stop.wait(_AFTER_TROUBLE_S)

    def read(self) -> Reading:
        """Say how much is where; asks nobody, so it may be called often."""
        is_running = self.is_running
        self._is_at_work("indexer")  # so that what ended it is told
        return replace(
            self._seen,
            is_running=is_running,
            per_second=self.arrivals.per_second() if self._is_at_work("gauge") else 0.0,
            latency_ms=self._report.latency_ms(0.5),
            trouble=next(filter(None, map(self._troubles.get, _WORKERS)), self._standstill()),
        )


def _whole(answer: Answer, now: datetime) -> Answer:
    """Leave out of the volume what is not whole yet: it would look like a fall."""
    last = now - timedelta(seconds=_BUCKET_S + _SEEN_AFTER_S)
    frames = dict(answer.frames)
    for name in (VOLUME.name, VOLUME_SCENARIOS):
        frames[name] = frames[name][frames[name]["timestamp"] <= last].reset_index(drop=True)
    return replace(answer, frames=frames)
