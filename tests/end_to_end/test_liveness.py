"""A running consumer reads its partitions, even after pauses and rebalances.

In each test OpenSearch refuses everything, so that the consumer pauses its partitions. Then the
group changes, and the same consumer, not a new one, must bring the lag to 0.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import confluent_kafka
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from clickstream.kafka import group_reader
from clickstream.kafka.offsets import STALLED_S, consumer_lag, waiting_s
from clickstream.settings import Settings
from tests.end_to_end.conftest import Start
from tests.support.by_id import lag, send, wait_until
from tests.support.delivery import (
    Running,
    another_member,
    assert_exactly_once,
    running,
    shares,
    through,
)
from tests.support.faults import FaultProxy, Refuse


class Room:
    """A consumer that pauses soon, because a proxy to OpenSearch refuses everything."""

    def __init__(self, made: Settings, proxy: FaultProxy, worker: Running) -> None:
        self.made, self.proxy, self.worker = made, proxy, worker
        self.sent: list[str] = []

    def send(self, num_events: int = 4_000) -> None:
        """Send events to all partitions."""
        self.sent += send(self.made, num_events, seed=3 + len(self.sent))

    def shares(self, *wanted: int) -> None:
        """Wait until the members of the group have these numbers of partitions."""
        wait_until(lambda: sorted(shares(self.made)) == list(wanted), 30)

    def reads_on(self) -> None:
        """Bring OpenSearch back, and check that the consumer reads its partitions to the end."""
        self.proxy.fault = None
        before = -1
        while (now := self.worker.report.messages) != before or not now:
            before = now
            time.sleep(1)

    def is_through(self) -> None:
        """Check that the same consumer brings the lag to 0, and that nothing is lost or doubled."""
        self.proxy.fault = None
        wait_until(lambda: lag(self.made) == 0, 45)
        self.worker.stop()
        assert_exactly_once(self.made, sorted(self.sent))


@pytest.fixture
def room(made: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Room]:
    """A consumer that has paused all three partitions."""
    paused: set[int] = set()

    class Watched(group_reader.Consumer):
        def pause(self, partitions: list[confluent_kafka.TopicPartition]) -> None:
            paused.update(each.partition for each in partitions)
            super().pause(partitions)

    monkeypatch.setattr(group_reader, "Consumer", Watched)
    with (
        FaultProxy(made.opensearch.url) as proxy,
        running(through(made, proxy), bulk_documents=100) as worker,
    ):
        found = Room(made, proxy, worker)
        found.shares(3)
        proxy.fault = Refuse(503)
        found.send()
        wait_until(lambda: paused == {0, 1, 2}, 30)
        yield found


def test_a_partition_that_a_member_took_and_gave_back_is_read_again(room: Room) -> None:
    """Another member joins during the pause and leaves after it; its partitions are read."""
    with another_member(room.made):
        room.shares(1, 2)
        room.reads_on()
        room.send()
    room.shares(3)

    room.is_through()


@pytest.mark.slow
def test_a_partition_of_a_member_that_was_killed_is_read_again(room: Room, start: Start) -> None:
    """Another member joins during the pause and is killed after it; its partitions are read."""
    other = start(through(room.made, room.proxy))
    room.shares(1, 2)
    os.kill(other.process.pid, signal.SIGSTOP)
    room.reads_on()
    other.kill()
    room.send()
    room.shares(3)

    room.is_through()


def test_partitions_that_are_added_while_all_is_paused_are_read(room: Room) -> None:
    """Three partitions that are added and assigned during the pause are read."""
    admin = AdminClient(room.made.kafka.client_config())
    (made,) = admin.create_partitions([NewPartitions(room.made.kafka.topic, 6)]).values()
    made.result()
    room.shares(6)
    room.send()

    room.is_through()


@pytest.mark.slow
def test_a_partition_taken_and_given_back_while_all_is_paused_is_read_again(room: Room) -> None:
    """A partition that is revoked and assigned again during the pause is read."""
    with another_member(room.made):
        room.shares(1, 2)
    room.shares(3)
    room.send()

    room.is_through()


@pytest.mark.slow
def test_a_consumer_that_waits_settles_nothing_of_what_it_handed_over(room: Room) -> None:
    """After a handover during the wait, two consumers report different partitions."""
    with running(through(room.made, room.proxy), bulk_documents=100) as other:
        room.shares(1, 2)
        room.proxy.fault = None
        room.send()
        wait_until(lambda: lag(room.made) == 0, 45)
        own, others = room.worker.report.settled.keys(), other.report.settled.keys()
        assert own | others == {0, 1, 2}
        assert own & others == set()
        assert room.worker.report.lag.keys() == own
    room.shares(3)

    room.is_through()


@pytest.mark.slow
def test_a_member_that_lost_its_session_reads_on(made: Settings, start: Start) -> None:
    """A member that lost its session, like a sleeping laptop, reads again."""
    with FaultProxy(made.opensearch.url) as proxy:
        sleeper = start(through(made, proxy), bulk_documents=100)
        wait_until(lambda: shares(made) == [3], 30)
        proxy.fault = Refuse(503)
        sent = send(made, 4_000)
        time.sleep(3)  # it pauses after a second of no room, which nobody sees from outside
        os.kill(sleeper.process.pid, signal.SIGSTOP)
        with another_member(made):
            wait_until(lambda: shares(made) == [3], 30)
            proxy.fault = None
            os.kill(sleeper.process.pid, signal.SIGCONT)
            wait_until(lambda: sorted(shares(made)) == [1, 2], 30)
            sleeper.wait_until_settled(100)
        sent += send(made, 4_000, seed=9)
        wait_until(lambda: lag(made) == 0, 45)
        sleeper.stop()

    assert_exactly_once(made, sorted(sent))


@pytest.mark.slow
def test_status_names_a_partition_that_its_owner_does_not_read(made: Settings) -> None:
    """`status` names the partition if a member owns it, and not if nobody does."""
    send(made, 300)
    namespace = made.kafka.topic.removeprefix("clickstream-events-")

    def status() -> str:
        return subprocess.run(
            [sys.executable, "-m", "clickstream", "status"],
            env={**os.environ, "CLICKSTREAM_NAMESPACE": namespace},
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout

    def named(text: str) -> dict[int, int]:
        found = re.findall(r"partition (\d) is not read: ([\d,]+) messages wait", text)
        return {int(i): int(n.replace(",", "")) for i, n in found}

    wait_until(lambda: min(waiting_s(made.kafka).values()) > STALLED_S, 60)
    assert named(status()) == {}
    with another_member(made):
        wait_until(lambda: shares(made) == [3], 30)
        # A partition without an owner for a moment, as in a rebalance, is not named.
        wait_until(lambda: named(status()) == consumer_lag(made.kafka), 60)

    assert sum(consumer_lag(made.kafka).values()) == 300
