"""Faults during live traffic: OpenSearch stopped, the consumer killed, invalid messages.

Nothing here blocks a cell: the readers, the lag samples, and the stop and start of OpenSearch run
in background workers. The consumer is a separate process (`clickstream consume`), so that it can
be killed. A new `Chaos`, as when a cell is run again, ends everything an earlier one started.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import ExitStack
from random import Random

import plotly.graph_objects as go

from clickstream import producer, tls
from clickstream.charts.timeseries import Timeline
from clickstream.demo.audit import Audit, audit, end_offsets
from clickstream.demo.demo import Demo
from clickstream.errors import ClickstreamError, ServerError
from clickstream.kafka import dead_letters, offsets, topics
from clickstream.kafka.dead_letters import DeadLetter
from clickstream.reports import ProduceReport
from clickstream.servers import local, processes
from clickstream.servers.nodes import last_log_lines
from clickstream.settings import OpenSearchSettings
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.traffic import Traffic
from clickstream.widgets import faults, workers
from clickstream.widgets.faults import CONSUMER
from clickstream.widgets.live_pipeline import PRODUCER
from clickstream.widgets.outage_proxy import OutageProxy

_SAMPLE_EVERY_S = 0.5
_LOOK_EVERY_S = 0.1
_WATCH_S = 3.0
_PATIENCE_S = 16.0
"""Patience with a consumer that reads nothing; Kafka needs 6 s to detect a killed one."""

_LAG = "lag"
_TAKE_DOWN = "take-down"
_BRING_UP = "bring-up"
_UNTIL_STOPPED = (PRODUCER, _LAG)
"""The producer has the same name as in a live pipeline, so that only one of them runs readers."""
_UNTIL_DONE = (_TAKE_DOWN, _BRING_UP)
"""Workers that end by themselves; the start of a server cannot be cut short."""


class _LocalServer:
    """The local OpenSearch, taken down and brought up like an `OutageProxy`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def take_down(self) -> None:
        local.stop("opensearch")

    def bring_up(self) -> None:
        local.start("opensearch")

    @property
    def is_up(self) -> bool:
        return any(each.name == "opensearch" and each.state == "up" for each in local.status())


def _proxy_to(settings: OpenSearchSettings) -> OutageProxy:
    trust = tls.for_opensearch(settings) if settings.url.startswith("https:") else None
    _proxies.append(OutageProxy(settings.url, context=trust))
    return _proxies[-1]


class Chaos:
    """Breaks and repairs one demo; a new one ends everything an earlier one started.

    It never stops the OpenSearch of a hosted target, but only a proxy to it.

    Args:
        demo: provides the topic and the index.
    """

    def __init__(self, demo: Demo) -> None:
        end_all()
        self._settings = demo.settings
        opensearch = demo.settings.opensearch
        self._opensearch: OutageProxy | _LocalServer = (
            _proxy_to(opensearch) if demo.settings.is_hosted else _LocalServer(opensearch.url)
        )
        self._is_down = self._has_consumer = self._has_killed = False
        self._timeline = Timeline()
        self._start = end_offsets(self._settings)
        workers.start(_LAG, self._timeline.record(self._lag, _SAMPLE_EVERY_S))

    def _lag(self) -> int | None:
        try:
            return sum(offsets.consumer_lag(self._settings.kafka).values())
        except ClickstreamError:
            return None  # Kafka does not answer; the line pauses

    def start_traffic(self, events_per_second: float = 100.0) -> str:
        """Start the readers in the background; a second call changes the rate.

        Raises:
            ConfigError: the rate is out of range.
        """
        pace = Pace(events_per_second, rng=Random())
        source = PacedEvents(Traffic(live_now()), pace)
        kafka = self._settings.kafka
        workers.start(PRODUCER, lambda stop: producer.produce(kafka, source, stop=stop))
        return f"readers produce {events_per_second:g} events per second, in the background"

    def start_consumer(self) -> str:
        """Start `clickstream consume` in a separate process; it replaces a running one.

        Raises:
            ServerError: Kafka did not answer.
        """
        kafka = self._settings.kafka
        processes.stop(CONSUMER)
        # Kafka counts a killed consumer as a member for a few more seconds.
        others = 0 if self._has_killed else topics.consumers(kafka)
        pid = faults.start_consumer(self._settings, opensearch_url=self._opensearch.url)
        self._has_consumer = True
        self._timeline.mark("consumer started")
        started = f"`clickstream consume` runs as process {pid}"
        if not others:
            return started
        return (
            f"{started}; {others} more in group {kafka.group_id} (a control room, another "
            "terminal) will take over after a kill: stop the other consumers first"
        )

    def kill_consumer(self) -> str:
        """Send SIGKILL: the consumer cannot finish, commit or leave its group."""
        self._has_consumer = False
        pid = processes.kill(CONSUMER)
        if pid is None:
            return "no consumer is running"
        self._has_killed = True
        self._timeline.mark("consumer killed")
        return f"process {pid} was killed while it was working"

    def take_down(self) -> str:
        """Stop OpenSearch, in the background."""
        if workers.is_running(_TAKE_DOWN):
            return "OpenSearch is already being stopped"
        self._is_down = True
        self._timeline.mark("OpenSearch down")
        workers.start(_TAKE_DOWN, lambda stop: self._opensearch.take_down())
        if self._settings.is_hosted:
            doing = "the connection to OpenSearch is being cut; the kit never stops a hosted server"
        else:
            doing = "OpenSearch is being stopped"
        return f"{doing}; readers and Kafka continue"

    def bring_up(self) -> str:
        """Start OpenSearch again, in the background; it takes about ten seconds."""
        if workers.is_running(_BRING_UP):
            return "OpenSearch is already being started"
        self._is_down = False

        def up(stop: threading.Event) -> None:
            self._opensearch.bring_up()
            self._timeline.mark("OpenSearch up")

        workers.start(_BRING_UP, up)
        return "OpenSearch is being started"

    def until_up(self, *, most_s: float = 15.0) -> str:
        """Wait until OpenSearch is up again, for `most_s` at most, and say so.

        Raises:
            ClickstreamError: why it does not start.
        """
        deadline_s = time.monotonic() + most_s
        with workers.interruptible("waiting for OpenSearch"):
            while workers.is_running(_BRING_UP):
                if time.monotonic() > deadline_s:
                    return "not yet; run this cell again"
                time.sleep(_LOOK_EVERY_S)
        if not self._opensearch.is_up:
            return "OpenSearch is down: call bring_up() to start it"
        return "OpenSearch answers"

    def send_invalid_events(self) -> ProduceReport:
        """Send one invalid message of each kind; see `simulation.invalid_events`."""
        self._timeline.mark("invalid events sent")
        return faults.send_invalid_events(self._settings.kafka)

    def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters of messages since this object was created, in order.

        Raises:
            ConfigError, ServerError: as `dead_letters.read`.
        """
        kafka = self._settings.kafka
        return [
            letter
            for letter in dead_letters.read(kafka)
            if (source := letter.source) is not None
            and source.topic == kafka.topic
            and source.offset >= self._start.get(source.partition, 0)
        ]

    def watch(
        self, *, above: float = -1, below: float = math.inf, most_s: float = 15.0
    ) -> go.Figure:
        """Wait three seconds and until the lag is within bounds, then draw the lag.

        Args:
            above: the lag must be more than this.
            below: the lag must be less than this.
            most_s: the longest wait, because a cell must end.

        Raises:
            ClickstreamError: the error that ended readers, consumer or OpenSearch's start; once.
            Interrupted: the notebook's stop button; background work continues.
        """
        started_s = time.monotonic()
        with workers.interruptible("watching the lag"):
            while (watched_s := time.monotonic() - started_s) < most_s:
                self._raise_what_ended()
                lag = self._timeline.lag
                if watched_s > _WATCH_S and lag is not None and above < lag < below:
                    break
                time.sleep(_LOOK_EVERY_S)
        return self._timeline.figure()

    def audit(self, *, patience_s: float = _PATIENCE_S) -> Audit:
        """Account by id for every message since this object was created.

        It waits for a starting OpenSearch, and until the consumer has caught up.

        Args:
            patience_s: how long to wait for a consumer that reads nothing.

        Raises:
            ServerError: a server did not answer or start, or the consumer ended or read nothing
                for `patience_s`.
            Interrupted: the notebook's stop button.
        """
        with workers.interruptible("counting by id"):
            while workers.is_running(_BRING_UP):
                time.sleep(_LOOK_EVERY_S)
            self._raise_what_ended()
            return audit(self._settings, self._start, patience_s=patience_s)

    def _raise_what_ended(self) -> None:
        """Raise the error that ended a worker or the consumer, once."""
        for name in (*_UNTIL_STOPPED, *_UNTIL_DONE):
            workers.is_running(name)
        if self._has_consumer and processes.running(CONSUMER) is None:
            self._has_consumer = False
            msg = f"the consumer exited: {last_log_lines(processes.log_path(CONSUMER))}"
            raise ServerError(msg, "start_consumer() starts another")

    def close(self) -> None:
        """Start OpenSearch if it is down, and end readers, samples and consumer.

        Raises:
            ClickstreamError: OpenSearch does not start, or an error had ended the readers.
        """
        if self._is_down:
            self._opensearch.bring_up()
            self._is_down = False
        self._has_consumer = False
        end_all()


_proxies: list[OutageProxy] = []


def end_all() -> None:
    """End readers, samples, consumer and proxies, including those of an earlier `Chaos`.

    Raises:
        ClickstreamError: an error had ended one of them; raised after all have ended.
    """
    names = (*_UNTIL_STOPPED, *(_UNTIL_DONE if _proxies else ()))
    with ExitStack() as ends:  # the last one first, and each of them even if another one fails
        while _proxies:
            ends.callback(_proxies.pop().close)
        ends.callback(processes.stop, CONSUMER)
        for name in names:
            ends.callback(workers.stop, name)
