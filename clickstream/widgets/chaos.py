"""What a presenter breaks on purpose, in the middle of live traffic, and mends again.

Nothing here blocks a cell: traffic, the watch on the lag and the servers' coming and going
are threads of this kernel; the consumer is a process of its own (`clickstream consume`), so
that it can be killed. Made anew, as by a first cell that is run again, it replaces them all.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random

import plotly.graph_objects as go

from clickstream import producer, tls
from clickstream.charts.timeseries import Timeline
from clickstream.demo.audit import Audit, audit, since
from clickstream.demo.verbs import Demo
from clickstream.errors import ClickstreamError, Interrupted, ServerError
from clickstream.kafka import topics
from clickstream.servers import local, processes
from clickstream.servers.nodes import last_words
from clickstream.simulation import invalid_events
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Stage
from clickstream.widgets import workers
from clickstream.widgets.outage_proxy import OutageProxy

CONSUMER = "consumer"
"""Its name in the state folder: found again by another kernel, ended by `clickstream down`."""

_SAMPLE_EVERY_S = 0.5
_LOOK_EVERY_S = 0.1
_WATCH_S = 3.0
_PATIENCE_S = 16.0
"""For a consumer that reads nothing: the seat of a killed one is its successor's after six."""
_ENDLESS = ("traffic", "watch")
"""Workers that go on until they are stopped."""
_PASSING = ("take-down", "bring-up")
"""Workers that come to an end by themselves; a server's start cannot be hurried."""


class Backstage:
    """The levers of one demo. Where OpenSearch is not ours to stop, a proxy before it is.

    Made once more, as by a cell that is run again, it replaces all that an earlier one started.

    Args:
        demo: whose topic and index.
    """

    def __init__(self, demo: Demo) -> None:
        _end_all()
        self._settings = demo.settings
        self._url = self._settings.opensearch.url
        self._down: Callable[[], object] = partial(local.stop, "opensearch")
        self._up: Callable[[], object] = partial(local.start, "opensearch")
        self._is_up: Callable[[], bool] = _opensearch_answers
        self._stopped = "OpenSearch is being stopped"
        if self._settings.target != "local":
            is_tls = self._url.startswith("https:")
            trust = tls.context_of(demo.settings.opensearch) if is_tls else None
            proxy = OutageProxy(self._url, context=trust)
            _proxies.append(proxy)
            self._url, self._down, self._up = proxy.url, proxy.take_down, proxy.bring_up
            self._is_up = lambda: proxy.is_up
            self._stopped = "the way to OpenSearch is being cut, for it is not ours to stop"
        self._is_down = self._has_consumer = self._has_killed = False
        self._timeline = Timeline()
        self._start = since(self._settings)
        workers.start("watch", self._timeline.record(self._lag, _SAMPLE_EVERY_S))

    def _lag(self) -> int | None:
        try:
            return sum(topics.consumer_lag(self._settings.kafka).values())
        except ClickstreamError:
            return None  # Kafka is away for a moment: the line stands still meanwhile

    def start_traffic(self, events_per_second: float = 100.0) -> str:
        """Let readers act from now on, in the background; called again, at the new rate.

        Raises:
            ConfigError: the rate is out of range.
        """
        now_ms = int(time.time() * 1000)
        pace = producer.Pace(events_per_second, rng=Random(now_ms))
        stage = Stage(Simulator(seed=now_ms, start_ms=now_ms, live_from_ms=now_ms))
        kafka = self._settings.kafka
        workers.start("traffic", lambda stop: producer.produce(kafka, stage, pace=pace, stop=stop))
        return f"readers make {events_per_second:g} events a second, in the background"

    def start_consumer(self) -> str:
        """Start `clickstream consume` in a process of its own; one that runs is replaced.

        Raises:
            ServerError: Kafka did not answer.
        """
        kafka, index = self._settings.kafka, self._settings.opensearch.index
        processes.stop(CONSUMER)
        # The seat of one that was killed is taken for a while yet.
        others = 0 if self._has_killed else topics.consumers(kafka)
        child = processes.spawn(
            CONSUMER,
            [
                *(sys.executable, "-m", "clickstream", "--target", self._settings.target),
                *("consume", "--group", kafka.group_id),
                *("--topic", kafka.topic, "--index", index, "--opensearch", self._url),
            ],
            processes.folder(),
        )
        self._has_consumer = True
        self._timeline.mark("consumer started")
        said = f"`clickstream consume` runs as process {child.pid}"
        if others:
            said += (
                f"; {others} more at work in group {kafka.group_id} (a control room, another "
                "terminal) will take over what is killed here: stop it first"
            )
        return said

    def kill_consumer(self) -> str:
        """Kill -9: it gets no chance to finish, to commit or to say good-bye."""
        self._has_consumer = False
        pid = processes.kill(CONSUMER)
        if pid is None:
            return "no consumer is running"
        self._has_killed = True
        self._timeline.mark("consumer killed")
        return f"process {pid} is gone, in the middle of its work"

    def take_down(self) -> str:
        """Stop OpenSearch, in the background."""
        if workers.is_running("take-down"):
            return "OpenSearch is on its way down"
        self._is_down = True
        self._timeline.mark("OpenSearch down")
        workers.start("take-down", lambda stop: self._down())
        return f"{self._stopped}; readers and Kafka go on"

    def bring_up(self) -> str:
        """Start OpenSearch again, in the background; it takes some ten seconds."""
        if workers.is_running("bring-up"):
            return "OpenSearch is on its way up"
        self._is_down = False

        def up(stop: threading.Event) -> None:
            self._up()
            self._timeline.mark("OpenSearch up")

        workers.start("bring-up", up)
        return "OpenSearch is being started"

    def until_up(self, *, most_s: float = 15.0) -> str:
        """Wait until OpenSearch is up again, for `most_s` at most, and say so.

        Raises:
            ClickstreamError: why it does not start.
        """
        deadline_s = time.monotonic() + most_s
        with _interruptible("waiting for OpenSearch"):
            while workers.is_running("bring-up"):
                if time.monotonic() > deadline_s:
                    return "not yet; run this cell again"
                time.sleep(_LOOK_EVERY_S)
        if not self._is_up():
            return "OpenSearch is down, and nobody starts it: bring_up() does"
        return "OpenSearch answers"

    def send_poison(self) -> producer.ProduceReport:
        """Send one message of every kind that can never be a document; see `poison.KINDS`."""
        now_ms = int(time.time() * 1000)
        crowd = Simulator(seed=now_ms, start_ms=now_ms, live_from_ms=now_ms)
        event = next(crowd.events())
        messages = [(value, event.user_id, None) for value in invalid_events.of_every_kind(event)]
        self._timeline.mark("poison sent")
        return producer.send_raw(self._settings.kafka, messages)

    def watch(
        self, *, above: float = -1, below: float = math.inf, most_s: float = 15.0
    ) -> go.Figure:
        """Wait for three seconds, and until the lag is there, and draw how it went.

        Args:
            above: wait until more messages than this wait.
            below: wait until fewer than this do.
            most_s: a cell must end.

        Raises:
            ClickstreamError: what ended traffic or consumer, or OpenSearch's start, told once.
            Interrupted: by the notebook's stop button; what runs goes on.
        """
        started_s = time.monotonic()
        with _interruptible("watching the lag"):
            while (watched_s := time.monotonic() - started_s) < most_s:
                self._tell_what_ended()
                lag = self._timeline.lag
                if watched_s > _WATCH_S and lag is not None and above < lag < below:
                    break
                time.sleep(_LOOK_EVERY_S)
        return self._timeline.figure()

    def audit(self) -> Audit:
        """Account by id for every message since this was made.

        Waits for an OpenSearch that is on its way up, and until the consumer has caught up.

        Raises:
            ServerError: a server did not answer or start, or the consumer ended or read nothing
                for 16 s.
            Interrupted: by the notebook's stop button.
        """
        with _interruptible("counting by id"):
            while workers.is_running("bring-up"):
                time.sleep(_LOOK_EVERY_S)
            self._tell_what_ended()
            return audit(self._settings, self._start, patience_s=_PATIENCE_S)

    def _tell_what_ended(self) -> None:
        """Raise once what ended by itself, and why."""
        for name in (*_ENDLESS, *_PASSING):
            workers.is_running(name)
        if self._has_consumer and processes.running(CONSUMER) is None:
            self._has_consumer = False
            msg = (
                f"the consumer ended by itself: {last_words(processes.log_path(CONSUMER))}; "
                "start_consumer() starts another"
            )
            raise ServerError(msg)

    def close(self) -> None:
        """Bring OpenSearch up where it is down, and end traffic, watch and consumer.

        Raises:
            ClickstreamError: OpenSearch does not start, or what had ended the traffic.
        """
        if self._is_down:
            self._up()
            self._is_down = False
        self._has_consumer = False
        _end_all()


def _opensearch_answers() -> bool:
    return any(each.name == "opensearch" and each.state == "up" for each in local.status())


@contextmanager
def _interruptible(doing: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        msg = f"stopped {doing}; what runs in the background goes on; run the cell again"
        raise Interrupted(msg) from error


_proxies: list[OutageProxy] = []


def _end_all() -> None:
    failures: list[ClickstreamError] = []
    for name in (*_ENDLESS, *(_PASSING if _proxies else ())):
        try:
            workers.stop(name)
        except ClickstreamError as error:
            failures.append(error)
    processes.stop(CONSUMER)
    while _proxies:
        _proxies.pop().close()
    if failures:
        raise failures[0]
