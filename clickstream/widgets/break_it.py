"""Faults under the control room's live traffic, and a count by id after each recovery.

Three workers run only while they are needed. `outage` stops OpenSearch, and starts it again when it
is told to or ends. `added-consumer` has a consumer process, and stops it when it ends. `recovery`
waits from the first fault until the readers stop: whenever all is well again, it counts. The module
does not depend on widgets: a view calls the methods, and shows what the properties say.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Final

from clickstream.demo.audit import Audit, audit
from clickstream.demo.demo import Demo
from clickstream.errors import ClickstreamError, ConfigError
from clickstream.kafka.admin import Admin
from clickstream.reports import consumer_of
from clickstream.servers import local, processes
from clickstream.widgets import faults, workers
from clickstream.widgets.faults import CONSUMER
from clickstream.widgets.live_pipeline import LivePipeline

BEFORE: Final = timedelta(seconds=60)
"""A count begins so long before the first fault."""

_RECOVERY, _ADDED, _OUTAGE = _WORKERS = ("recovery", "added-consumer", "outage")
_LOOK_EVERY_S: Final = 0.2
_FEW: Final = 10
"""A lag of so many messages, or of a second of traffic, is small."""
_DOUBLE_CLICK_S: Final = 1.0
_PATIENCE_S: Final = 10.0
"""Patience with consumers that commit nothing while their messages are counted."""
_ANSWER_S: Final = 8.0
_FIRST_ANSWER_S: Final = 5.0
_MOST_COUNTED: Final = 500_000
"""More messages would take too long, and too much memory."""


@dataclass(frozen=True)
class Count:
    """A count by id: it is going on, has failed, or is done."""

    since: datetime
    until: datetime
    found: Audit | None = None
    problem: str = ""
    """Why nothing was found."""

    @property
    def is_going_on(self) -> bool:
        """Whether it has no outcome yet."""
        return self.found is None and not self.problem

    @property
    def span(self) -> str:
        """The time that it covers, by this machine's clock."""
        since, until = (f"{at.astimezone():%H:%M:%S}" for at in (self.since, self.until))
        return f"{since} to {until}"


class BreakIt:
    """The faults of one room on a local target, and their latest count.

    Args:
        demo: names the topic and the index; a click waits for its Kafka.
        pipeline: its traffic is disturbed; without traffic nothing is broken.
        on_end: called when OpenSearch is back, and after a count.
    """

    def __init__(self, demo: Demo, pipeline: LivePipeline, on_end: Callable[[], None]) -> None:
        self._settings, self._pipeline, self._on_end = demo.settings, pipeline, on_end
        self._lock = threading.Lock()
        self._is_wanted = threading.Event()
        """Set if OpenSearch is to be started."""
        self._clear()

    def _clear(self) -> None:
        self.problem = ""
        """Why the latest click did nothing; empty if it did."""
        self.poison = ""
        """One line about the invalid messages; empty before the first."""
        self.count: Count | None = None
        """The latest one; None before the first."""
        self._first_fault: datetime | None = None
        """The first one that no count covers yet."""
        self._num_faults = 0
        self._opensearch = self._consumer = ""
        self._opensearch_s: float | None = None
        """Since when OpenSearch is being stopped, is down, or is being started; otherwise None."""
        self._pid = 0
        """The added consumer; 0 without one."""
        self._added_s = self._killed_s = self._poison_s = 0.0
        self._dead = ""
        """The client id of the killed consumer."""
        self._orphans: list[int] = []
        """Its partitions, as long as Kafka has not given them to others."""

    def do(self, action: Callable[[], None]) -> None:
        """Do what a click asks for; an error becomes `problem`."""
        self.problem = ""
        try:
            action()
        except Exception as error:  # whatever it is, it is shown, and the next click works
            self.problem = self._pipeline.explain(error)

    def stop_opensearch(self) -> None:
        """Stop OpenSearch in the background; nothing happens during an outage.

        Raises:
            ConfigError: there is no traffic.
            ServerError: Kafka did not answer.
        """
        self._owners("stop OpenSearch")
        if not self.is_outage:
            self._is_wanted.clear()
            self._say("OpenSearch is being stopped")
            workers.start(_OUTAGE, self._have_outage)
            self._note_fault()

    def start_opensearch(self) -> None:
        """Start OpenSearch in the background."""
        self._is_wanted.set()
        if not self.is_outage:
            self._say("OpenSearch is being started")
            workers.start(_OUTAGE, self._have_outage)

    def _have_outage(self, stop: threading.Event) -> None:
        began_s = time.monotonic()
        try:
            if not self._is_wanted.is_set():
                self._pipeline.remedies["OpenSearch"] = "To start it: ⋯, Break it."
                local.stop("opensearch")
                self._say("OpenSearch is down, Kafka keeps the messages")
                while not (stop.is_set() or self.is_opensearch_up):
                    if self._is_wanted.wait(_LOOK_EVERY_S):
                        break
            self._say("OpenSearch is being started")
            local.start("opensearch")
            self._wait_for_answer(stop)
            self._opensearch = f"OpenSearch is back after {_age(began_s)}"
        except Exception as error:  # whatever it is, it is shown
            self._opensearch = self._pipeline.explain(error)
        finally:
            self._opensearch_s = None
        if not stop.is_set():
            self._on_end()

    def _wait_for_answer(self, stop: threading.Event) -> None:
        """Wait until the room's next search is answered: the index may follow the server."""
        ends_s = time.monotonic() + _FIRST_ANSWER_S
        while self._pipeline.snapshot().trouble and time.monotonic() < ends_s:
            if not self._pipeline.is_running or stop.wait(_LOOK_EVERY_S):
                return

    def _say(self, text: str) -> None:
        self._opensearch, self._opensearch_s = text, time.monotonic()

    @property
    def is_opensearch_up(self) -> bool:
        """Whether its process runs; it may be starting."""
        return processes.running("opensearch") is not None

    @property
    def is_outage(self) -> bool:
        """Whether OpenSearch is being stopped, was stopped here, or is being started."""
        return self._opensearch_s is not None

    @property
    def starting(self) -> str:
        """That line while OpenSearch is being started: its answers are no trouble."""
        return self.opensearch if self.is_outage and self._is_wanted.is_set() else ""

    @property
    def opensearch(self) -> str:
        """One line about OpenSearch; empty before the first outage."""
        text, since_s = self._opensearch, self._opensearch_s
        return text if since_s is None else f"{text}, {_age(since_s)}"

    def add_consumer(self) -> None:
        """Start a consumer process in the room's group; nothing happens if there is one.

        Raises:
            ConfigError, ServerError: as `stop_opensearch`.
        """
        self._owners("add a consumer")
        if not self.has_consumer:
            pid = self._pid = faults.start_consumer(self._settings)
            self._added_s = time.monotonic()
            workers.start(_ADDED, partial(self._keep_consumer, pid))
            self._pipeline.activity.note_action("consumer added")

    def _keep_consumer(self, pid: int, stop: threading.Event) -> None:
        self._consumer = f"process {pid} has ended"
        while self._pid == pid == _running_consumer():
            if stop.wait(_LOOK_EVERY_S) and self._pid == pid:  # another one may have replaced it
                processes.stop(CONSUMER)
        if self._pid == pid:
            self._pid = 0

    def kill_consumer(self) -> None:
        """Send SIGKILL to the added consumer: it can neither commit nor leave its group.

        Raises:
            ConfigError, ServerError: as `stop_opensearch`.
        """
        owners = self._owners("kill the consumer")
        pid, self._pid = self._pid, 0
        if pid and _running_consumer() == pid:
            self._dead, self._killed_s = consumer_of(pid), time.monotonic()
            self._orphans = sorted(i for i, owner in owners.items() if owner == self._dead)
            self._consumer = f"process {pid} was killed before it got a partition"
            processes.kill(CONSUMER)
            self._pipeline.activity.note_action("consumer killed")
            self._note_fault()

    def end_consumer(self) -> bool:
        """End the added consumer as an interrupt does, and say whether there was one."""
        had_one = self.has_consumer
        workers.end(_ADDED)
        return had_one

    @property
    def has_consumer(self) -> bool:
        """Whether the added consumer runs."""
        return self._pid > 0

    @property
    def consumer(self) -> str:
        """One line about the added consumer; empty before the first."""
        if orphans := self._orphans:
            verb = "waits" if len(orphans) == 1 else "wait"
            return f"{_named(orphans)} {verb} for a new owner, {_age(self._killed_s)}"
        if not (pid := self._pid):
            return self._consumer
        lanes = self._pipeline.snapshot().lanes
        if own := [lane.partition for lane in lanes if lane.owner == consumer_of(pid)]:
            return f"process {pid} reads {_named(own)}"
        return f"process {pid} is joining the group, {_age(self._added_s)}"

    def send_poison(self) -> None:
        """Send one invalid message of each kind; a double click sends them once.

        Raises:
            ConfigError, ServerError: as `stop_opensearch`.
            DeliveryError: Kafka did not accept them.
        """
        self._owners("send poison")
        if time.monotonic() - self._poison_s > _DOUBLE_CLICK_S:
            report = faults.send_invalid_events(self._settings.kafka)
            self._poison_s = time.monotonic()
            self.poison = f"{report.delivered} invalid messages sent at {datetime.now():%H:%M:%S}"
            self._pipeline.activity.note_action("poison sent")
            self._note_fault()

    def _owners(self, doing: str) -> dict[int, str]:
        """Return the client id of each partition's owner, and so check that all can recover."""
        if not self._pipeline.is_running:
            msg = f"{doing}: nobody is on the site"
            raise ConfigError(msg, "press Start first")
        return self._admin.owners(self._settings.kafka.topic, self._settings.kafka.group_id)

    @cached_property
    def _admin(self) -> Admin:
        return Admin(self._settings.kafka)

    def _note_fault(self) -> None:
        with self._lock:
            self._first_fault = self._first_fault or datetime.now(UTC)
            self._num_faults += 1
        self.watch()

    def watch(self) -> None:
        """Wait for the recovery from faults that no count covers yet, in the background."""
        if self._first_fault and not workers.is_running(_RECOVERY):
            workers.start(_RECOVERY, self._recover)

    def _recover(self, stop: threading.Event) -> None:
        for _ in workers.ticks(_LOOK_EVERY_S, stop):
            if not self._pipeline.is_running:
                return
            with suppress(ClickstreamError):  # the room says that Kafka is away
                self._look_for_owners()
            if self._first_fault and self._is_well():
                self._count(self._first_fault - BEFORE)
                if not stop.is_set():
                    self._on_end()

    def _look_for_owners(self) -> None:
        if orphans := self._orphans:
            kafka, dead = self._settings.kafka, self._dead
            owners = self._admin.owners(kafka.topic, kafka.group_id)
            left = [i for i in orphans if owners.get(i, dead) == dead]
            if not left:
                self._consumer = f"{_named(orphans)}: a new owner after {_age(self._killed_s)}"
            self._orphans = left

    def _is_well(self) -> bool:
        now = self._pipeline.snapshot()
        is_broken = self._orphans or self.is_outage or not self.is_opensearch_up
        return not is_broken and not now.kafka_age_s and now.lag <= max(_FEW, now.per_second)

    def _count(self, since: datetime) -> None:
        num_faults = self._num_faults
        count = self.count = Count(since, datetime.now(UTC))
        try:
            found = self._audit(since)
            self.count = replace(count, found=found)
        except Exception as error:  # whatever it is, it is shown
            self.count = replace(count, problem=self._pipeline.explain(error))
        with self._lock:
            if self._num_faults == num_faults:
                self._first_fault = None

    def _audit(self, since: datetime) -> Audit:
        settings = self._settings
        start = self._admin.offsets_at(settings.kafka.topic, since)
        ends = self._admin.end_offsets(settings.kafka.topic, start)
        if (messages := sum(ends.values()) - sum(start.values())) > _MOST_COUNTED:
            msg = f"{messages:,} messages are more than {_MOST_COUNTED:,}"
            raise ConfigError(msg, "break it at a lower rate, or start it sooner")
        asking = replace(settings.opensearch, timeout_s=_ANSWER_S)
        return audit(replace(settings, opensearch=asking), start, patience_s=_PATIENCE_S)

    @property
    def counted(self) -> str:
        """One line about the count; empty before the first fault."""
        count = self.count
        if count is not None and count.is_going_on:
            return f"counting by id, from {count.since.astimezone():%H:%M:%S} on …"
        if self._first_fault:
            return "the count by id follows when all is well again"
        if count is None:
            return ""
        return f"{count.span}: {count.found or f'not counted: {count.problem}'}"

    def forget(self) -> None:
        """End and repair everything, and forget the count.

        Raises:
            ServerError: as `end_all`.
        """
        end_all()
        self._clear()


def end_all() -> None:
    """End the count and the added consumer, and start OpenSearch if it was stopped here.

    Raises:
        ServerError: OpenSearch does not start.
    """
    is_outage = workers.is_running(_OUTAGE)
    workers.end(*_WORKERS)
    if is_outage:
        local.start("opensearch")  # on a slow machine, waits for the start that has begun


def _running_consumer() -> int:
    process = processes.running(CONSUMER)
    return 0 if process is None else process.pid


def _named(partitions: Iterable[int]) -> str:
    numbers = [*map(str, partitions)]
    return f"partition{'s' * (len(numbers) != 1)} {', '.join(numbers)}"


def _age(since_s: float) -> str:
    return f"{time.monotonic() - since_s:,.0f} s"
