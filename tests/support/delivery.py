"""Shared code of delivery tests with faults: a consumer in a thread, and its checks."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import confluent_kafka

from clickstream import consumer
from clickstream.kafka.admin import Admin
from clickstream.kafka.group_reader import PROPERTIES
from clickstream.reports import IndexReport
from clickstream.servers import local
from clickstream.servers.nodes import Name
from clickstream.settings import Settings
from tests.support.by_id import documents, lag, wait_until
from tests.support.faults import FaultProxy


def assert_exactly_once(made: Settings, sent: list[str]) -> None:
    """Check that nothing is lost, doubled, overwritten or unread."""
    assert documents(made) == [(event_id, 1) for event_id in sent]
    assert lag(made) == 0


def through(made: Settings, proxy: FaultProxy) -> Settings:
    """The same settings, with the proxy in front of OpenSearch."""
    return replace(made, opensearch=replace(made.opensearch, url=proxy.url))


class Running:
    """A consumer in a thread of this process, with its report."""

    def __init__(self, made: Settings, **options: object) -> None:
        self.report = IndexReport()
        self.error: Exception | None = None
        self.progress_s: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(made, options))
        self._thread.start()

    def _run(self, made: Settings, options: dict[str, object]) -> None:
        try:
            consumer.index_topic(made, stop=self._stop, on_bulk=self._note, **options)  # type: ignore[arg-type]
        except Exception as error:
            self.error = error

    def _note(self, report: IndexReport) -> None:
        self.report = report
        self.progress_s.append(time.monotonic())

    def settled(self, messages: int, timeout_s: float = 60) -> None:
        """Wait until this many messages are settled."""
        wait_until(lambda: self.error is not None or self.report.messages >= messages, timeout_s)
        assert self.error is None

    def stop(self) -> IndexReport:
        """Stop it, and return its report."""
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.report


@contextmanager
def running(made: Settings, **options: object) -> Iterator[Running]:
    """Run a consumer during the block, and always stop it."""
    worker = Running(made, **options)
    try:
        yield worker
    finally:
        worker._stop.set()
        worker._thread.join(30)


def caught_up(made: Settings, timeout_s: float = 60) -> None:
    """Wait for a lag of 0."""
    wait_until(lambda: lag(made) == 0, timeout_s)


def kill_server(name: Name) -> None:
    """Send SIGKILL to a server of the test's pair."""
    (pid,) = [server.pid for server in local.status() if server.name == name]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in [server.pid for server in local.status()], 20)


def shares(made: Settings) -> list[int]:
    """The number of partitions of each member of the group."""
    group_id = made.kafka.group_id
    found = Admin(made.kafka).ask(
        f"describing group {group_id!r}",
        lambda client: client.describe_consumer_groups([group_id]),
    )
    return [len(each.assignment.topic_partitions) for each in found[group_id].members]


@contextmanager
def another_member(made: Settings) -> Iterator[None]:
    """Run a plain consumer of the same group during the block; it commits nothing."""
    has_left = threading.Event()
    config = made.kafka.client_config() | PROPERTIES
    config |= {"group.id": made.kafka.group_id, "enable.auto.commit": False}
    bare = confluent_kafka.Consumer(config)
    bare.subscribe([made.kafka.topic])

    def read() -> None:
        while not has_left.is_set():
            bare.consume(100, timeout=0.1)
        bare.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        has_left.set()
        thread.join(30)
