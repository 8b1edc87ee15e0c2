"""Offsets and lag of a consumer group, read from a real broker without joining it."""

import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice

import psutil
import pytest

from clickstream import consumer, producer
from clickstream.errors import ConfigError, ServerError
from clickstream.kafka import messages, offsets, topics
from clickstream.kafka.admin import Admin
from clickstream.kafka.offsets import CatchUpGoal, GroupOffsets, lag
from clickstream.reports import this_consumer
from clickstream.settings import KafkaSettings, Settings
from clickstream.simulation.simulator import Simulator
from tests.support.by_id import MONDAY_MS, send, send_raw, wait_until


def total(lags: dict[int, int]) -> int:
    """The lag of all partitions."""
    return sum(lags.values())


@pytest.mark.parametrize(
    ("first", "end", "committed", "waiting"),
    [
        (0, 10, 4, 6),
        (0, 10, 10, 0),
        (0, 10, None, 10),
        (3, 10, None, 7),
        (6, 10, 4, 4),
        (0, 5, 9, 0),
    ],
)
def test_lag_is_what_the_group_can_still_read(
    first: int, end: int, committed: int | None, waiting: int
) -> None:
    """The lag ignores deleted messages, is never negative, and is everything without an offset."""
    assert lag(first, end, committed) == waiting


def test_lag_of_a_group_that_never_read_is_everything(made: Settings) -> None:
    """A partition without a committed offset counts from its beginning."""
    producer.send(made.kafka, islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), 600))

    assert sum(offsets.consumer_lag(made.kafka).values()) == 600
    assert all(each.committed_offset is None for each in offsets.partitions(made.kafka))


def test_a_missing_topic_is_told_with_those_that_exist(made: Settings) -> None:
    """The error for a missing topic lists the others and the command that creates it."""
    nowhere = made.in_namespace("nowhere").kafka

    with pytest.raises(ConfigError, match=rf"no topic .*existing topics: .*{made.kafka.topic}"):
        offsets.partitions(nowhere)


def test_a_broker_that_is_not_there_is_one_line() -> None:
    """An unreachable broker is a one-line error with address and remedy."""
    nobody = KafkaSettings("127.0.0.1:9", timeout_s=1.0)

    with pytest.raises(ServerError, match=r"did not answer on 127\.0\.0\.1:9 within 1 s"):
        offsets.consumer_lag(nobody)


def test_offsets_at_a_time_are_found_without_reading(made: Settings) -> None:
    """A time before all messages, between two, and after the last one."""
    admin, topic = Admin(made.kafka), made.kafka.topic
    began = datetime.now(UTC)
    send(made, 60, seed=1)
    between = max(each.timestamp for each in messages.read(made.kafka)) + timedelta(milliseconds=1)
    middle = admin.end_offsets(topic, range(3))
    wait_until(lambda: datetime.now(UTC) > between, 5)
    send(made, 60, seed=2)

    assert admin.offsets_at(topic, began - timedelta(hours=1)) == dict.fromkeys(range(3), 0)
    assert admin.offsets_at(topic, between) == middle
    later = datetime.now(UTC) + timedelta(hours=1)
    assert admin.offsets_at(topic, later) == admin.end_offsets(topic, range(3))


def test_a_group_can_begin_with_the_newest(made: Settings) -> None:
    """A group starts with about `most` newest messages, spread evenly over partitions."""
    producer.send(made.kafka, islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), 3_000))
    offsets.start_at_newest(made.kafka, 600)

    assert offsets.consumer_lag(made.kafka) == {0: 200, 1: 200, 2: 200}
    offsets.start_at_newest(made.kafka, 1_000_000)
    assert sum(offsets.consumer_lag(made.kafka).values()) == 3_000


def test_a_kept_connection_sees_messages_lag_and_a_topic_made_anew(made: Settings) -> None:
    """It keeps its connections, and old offsets hide no message of a recreated topic."""
    with closing(GroupOffsets(made.kafka)) as group:
        assert group.read().messages == 0
        send(made, 500)
        found = group.read()
        assert (found.messages, total(found.lags({})), found.dead_letters) == (500, 500, 0)
        assert total(found.lags({0: 10, 1: 10, 2: 10})) == 500 - 10 * 3
        send_raw(made, b"{ not json")
        consumer.index_topic(made, until_caught_up=True)
        found = group.read()
        assert (total(found.lags({})), found.dead_letters, found.repeated_letters) == (0, 1, 0)
        assert [each.stored for each in found.members] == [500]
        topics.delete_topics(made.kafka)
        topics.ensure_topics(made.kafka)
        wait_until(lambda: group.read().messages == 0, 10)
        assert group.read().dead_letters == 0
        # As a consumer does that has not heard of it yet.
        group.set_committed(dict.fromkeys(range(3), 10_000))
        send(made, 50)

        assert total(group.read().lags({})) == sum(offsets.consumer_lag(made.kafka).values()) == 50


def test_caught_up_is_what_lay_there_when_it_was_asked_first(made: Settings) -> None:
    """Messages that arrive later do not count; the answer stays after `close`."""
    send(made, 300)
    with closing(GroupOffsets(made.kafka)) as group, closing(CatchUpGoal(made.kafka)) as goal:
        assert not goal.is_reached
        ends = {each.partition: each.end_offset for each in offsets.partitions(made.kafka)}
        send(made, 100)
        group.set_committed({i: end - (i == 0) for i, end in ends.items()})
        time.sleep(0.2)
        assert not goal.check(is_idle=True)
        group.set_committed(ends)
        time.sleep(0.2)
        assert goal.check(is_idle=True)
        assert sum(offsets.consumer_lag(made.kafka).values()) == 100
    assert goal.check(is_idle=True)


def connections(settings: KafkaSettings) -> set[int]:
    """Local ports of this process's connections to Kafka."""
    port = int(settings.bootstrap_servers.rpartition(":")[2])
    found = psutil.Process().net_connections("tcp")
    return {each.laddr.port for each in found if each.raddr and each.raddr.port == port}


def test_an_idle_consumer_asks_again_on_the_connections_it_has(made: Settings) -> None:
    """An idle consumer asks ten times per second on the same connections, and closes them."""
    send(made, 10)
    others = connections(made.kafka)
    with closing(CatchUpGoal(made.kafka)) as goal:
        before = connections(made.kafka) - others
        for _ in range(3):
            time.sleep(0.11)
            assert not goal.check(is_idle=True)
        assert before
        assert before <= connections(made.kafka)
        assert len(connections(made.kafka) - others) <= len(before) + 1


def test_the_owner_of_each_partition_is_named(made: Settings) -> None:
    """While a consumer runs it owns every partition, under machine and process; then nobody."""
    send(made, 10)
    stop = threading.Event()
    reading = threading.Thread(target=consumer.index_topic, args=(made,), kwargs={"stop": stop})
    with closing(GroupOffsets(made.kafka)) as group:
        assert group.owners() == {}
        reading.start()
        try:
            wait_until(lambda: len(group.owners()) == 3, 20)
            assert set(group.owners().values()) == {this_consumer()}
        finally:
            stop.set()
            reading.join()
        wait_until(lambda: group.owners() == {}, 20)
