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
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import plotly.graph_objects as go

from clickstream import charts, consumer, producer, state, topics, workers
from clickstream.arrivals import Arrivals
from clickstream.demo import Demo
from clickstream.depth import Depth, DepthGauge
from clickstream.errors import ClickstreamError, ConfigError
from clickstream.metrics import IndexReport
from clickstream.queries import Answer
from clickstream.reactions import Mood
from clickstream.scenarios import SCENARIOS
from clickstream.simulator import Simulator
from clickstream.specs import VOLUME, VOLUME_SCENARIOS
from clickstream.stage import Stage

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
_WORKERS = ("traffic", "indexer", "gauge", "charts")


@dataclass(frozen=True)
class Reading:
    """How much is where, at one moment."""

    is_running: bool = False
    produced: int = 0
    """Acknowledged by Kafka since `start`, over all its runs."""
    per_second: float = 0.0
    """Messages that arrived in Kafka, over the latest second."""
    in_kafka: int = 0
    lag: int = 0
    indexed: int = 0
    """Documents in the index."""
    dead_letters: int = 0
    latency_ms: float | None = None
    """From Kafka's timestamp to OpenSearch's answer, the median; None before the first."""
    trouble: str = ""
    """What went wrong, and what to do, in a line; empty where all is well."""

    def __str__(self) -> str:
        return (
            f"{self.produced:,} produced, {self.in_kafka:,} in Kafka, lag {self.lag:,}, "
            f"{self.indexed:,} indexed, {self.dead_letters:,} dead letters, "
            f"{self.per_second:,.0f} events a second"
        )

    def _repr_html_(self) -> str:
        return f"<b>{self}</b>"


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
        _end(*_WORKERS)
        self._demo = demo
        self._pace = producer.Pace(events_per_second, rng=Random())
        self._reactions = 1.0
        self._begin_anew()
        self.look()

    def _begin_anew(self) -> None:
        self._stage: Stage | None = None
        self._produced = self._documents = self._counted = self._settled = 0
        self.others = 0
        """Consumers of the group that were at work elsewhere at the latest start."""
        self._sent: producer.ProduceReport | None = None
        self._report: IndexReport | None = None
        self._depth = Depth(0, 0, 0)
        self.arrivals = Arrivals(GAUGE_S)
        self._troubles: dict[str, str] = {}
        self.charts: dict[str, go.Figure] = {}
        """Of the latest answer, by the name of the visualization."""

    def look(self) -> None:
        """Look once at everything, what was stored this moment included.

        Raises:
            ClickstreamError: a server did not answer.
        """
        gauge = DepthGauge(self._demo.settings.kafka)
        try:
            self._take(gauge.read())
        finally:
            gauge.close()
        self._documents, self._report = self._demo.documents(), None
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
            return  # `_produce` does it for a new crowd
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

    def _is_at_work(self, name: str) -> bool:
        try:
            return workers.is_running(name)
        except ClickstreamError as error:
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
            self._documents = self._demo.documents()
            self._settled, self._report = self._depth.messages - self._depth.lag, None
            workers.start("indexer", self._index)
        if not self._is_at_work("traffic"):
            workers.start("traffic", self._produce)
        for name, watch in (("gauge", self._watch_kafka), ("charts", self._watch_index)):
            if not self._is_at_work(name):
                workers.start(name, watch)

    def _produce(self, stop: threading.Event) -> None:
        if self._stage is None:
            now_ms = int(time.time() * 1000)
            self._stage = Stage(Simulator(seed=now_ms, start_ms=now_ms, live_from_ms=now_ms))
        self.reactions = self._reactions
        try:
            self._sent = producer.produce(
                self._demo.settings.kafka,
                self._stage,
                pace=self._pace,
                stop=stop,
                on_second=lambda report: setattr(self, "_sent", report),
            )
        finally:
            sent, self._sent = self._sent, None
            self._produced += 0 if sent is None else sent.delivered

    def _index(self, stop: threading.Event) -> None:
        consumer.index_topic(
            self._demo.settings, stop=stop, on_bulk=lambda report: setattr(self, "_report", report)
        )

    def stop(self) -> None:
        """End the readers, let the consumer catch up for a second, and end everything.

        Raises:
            ClickstreamError: a server did not answer to the last look; all has ended.
        """
        self._halt("traffic")
        ends_s = time.monotonic() + _CATCH_UP_S
        while self._is_at_work("indexer") and self._depth.lag and time.monotonic() < ends_s:
            time.sleep(0.05)
        self._halt("indexer", "gauge", "charts")
        self.look()

    def _halt(self, *names: str) -> None:
        for name in names:
            self._is_at_work(name)  # so that what ended it is told
            _end(name)

    def reset(self) -> str:
        """Stop, and make topic, dead letters and index new and empty; say what was deleted.

        Raises:
            ServerError: a server did not answer; then nothing was deleted.
        """
        _end(*_WORKERS)
        said = self._demo.reset(yes=True)
        self._begin_anew()
        self.look()
        return said

    def close(self) -> None:
        """End everything at once."""
        _end(*_WORKERS)

    def toggle(self, name: str) -> None:
        """Let a scenario play, or end it where it does; where nobody acts, nothing happens."""
        if self._stage is None:
            return
        if name in self._stage.running:
            self._stage.stop(name)
        else:
            self._stage.start(SCENARIOS[name]())

    @property
    def playing(self) -> tuple[str, ...]:
        """The names of the scenarios that play."""
        return () if self._stage is None else self._stage.running

    def _watch_kafka(self, stop: threading.Event) -> None:
        def watch() -> None:
            gauge = DepthGauge(self._demo.settings.kafka)
            try:
                for _ in ticks(GAUGE_S, stop):
                    self._take(gauge.read())
                    self._troubles.pop("gauge", None)
                    self._mind_the_laptop()
            finally:
                gauge.close()

        self._again_and_again("gauge", watch, stop)

    def _take(self, depth: Depth) -> None:
        report = self._report
        if report is not None:
            if depth.messages < self._depth.messages:  # somebody else made the topic new
                self._settled = depth.messages - depth.lag - report.messages
            # What is settled and not yet committed does not wait any more.
            settled = max(depth.messages - depth.lag, self._settled + report.messages)
            depth = replace(depth, lag=max(0, depth.messages - settled))
        self._depth = depth
        self.arrivals.note(depth.messages)

    def _indexed(self) -> int:
        report = self._report
        return self._documents + (0 if report is None else report.stored)

    def _mind_the_laptop(self) -> None:
        if self._demo.settings.target != "local" or not self.is_running:
            return
        free = shutil.disk_usage(state.folder()).free
        if self._depth.messages > MOST_MESSAGES or free < LEAST_FREE:
            _end("traffic")
            self._troubles["traffic"] = (
                f"readers stopped at {self._depth.messages:,} messages, {free / 1e9:.1f} GB of "
                "disk free: enough for a laptop; press Reset to begin anew"
            )

    def _watch_index(self, stop: threading.Event) -> None:
        def watch() -> None:
            for _ in ticks(CHARTS_S, stop):
                self._ask()
                self._mind_the_others()
                self._troubles.pop("charts", None)

        self._again_and_again("charts", watch, stop)

    def _mind_the_others(self) -> None:
        """Count anew where other consumers index, too, or somebody emptied the index."""
        counted = self._demo.documents(refresh=False)
        if counted > self._indexed() or counted < self._counted:
            self._documents += counted - self._indexed()
        self._counted = counted

    def _ask(self) -> None:
        now = datetime.now(UTC)
        answer = self._demo.ask(since=now - WINDOW, until=now, bucket_s=_BUCKET_S)
        self.charts = charts.draw(_whole(answer, now))

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
        sent, report = self._sent, self._report
        is_running = self.is_running
        self._is_at_work("indexer")  # so that what ended it is told
        return Reading(
            is_running=is_running,
            produced=self._produced + (0 if sent is None else sent.delivered),
            per_second=self.arrivals.per_second(),
            in_kafka=self._depth.messages,
            lag=self._depth.lag,
            indexed=self._indexed(),
            dead_letters=self._depth.dead_letters,
            latency_ms=None if report is None else report.latency_ms(0.5),
            trouble=next(iter(list(self._troubles.values())), ""),
        )


def _whole(answer: Answer, now: datetime) -> Answer:
    """Leave out of the volume what is not whole yet: it would look like a fall."""
    last = now - timedelta(seconds=_BUCKET_S + _SEEN_AFTER_S)
    frames = dict(answer.frames)
    for name in (VOLUME.name, VOLUME_SCENARIOS):
        frames[name] = frames[name][frames[name]["timestamp"] <= last].reset_index(drop=True)
    return replace(answer, frames=frames)


def ticks(every_s: float, stop: threading.Event) -> Iterator[float]:
    """Tick at an even pace, however long what is done at each takes, until told to stop."""
    next_s = time.monotonic()
    while not stop.is_set():
        yield next_s
        next_s = max(next_s + every_s, time.monotonic())
        stop.wait(next_s - time.monotonic())


def _end(*names: str) -> None:
    for name in names:
        with suppress(ClickstreamError):  # whatever had ended it: it is over
            workers.stop(name)
