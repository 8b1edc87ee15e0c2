"""Faults from the control room under live traffic, on real servers, and the counts after them."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from clickstream.demo.demo import Demo
from clickstream.kafka import offsets, topics
from clickstream.reports import consumer_of, this_consumer
from clickstream.servers import local, processes
from clickstream.settings import Settings
from clickstream.widgets import break_it
from clickstream.widgets.break_it import BEFORE, BreakIt, Count
from clickstream.widgets.control_room import ControlRoom
from clickstream.widgets.faults import CONSUMER
from clickstream.widgets.live_pipeline import LivePipeline
from tests.support.by_id import lag, wait_until
from tests.support.outages import taken_down
from tests.widgets.conftest import find_button, threads


@pytest.fixture
def broken(pipeline: LivePipeline, made: Settings) -> Iterator[BreakIt]:
    """The faults of a pipeline that runs; everything is ended and repaired afterwards."""
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 100, 30)
    impatient = replace(made, kafka=replace(made.kafka, timeout_s=4.0))
    broken = BreakIt(Demo(impatient), pipeline, lambda: None)
    yield broken
    break_it.end_all()
    local.start("opensearch")


def marks(pipeline: LivePipeline, about: str) -> list[str]:
    """The names of the marks with a word, in the order of time."""
    found = pipeline.activity.marks.since(datetime.min.replace(tzinfo=UTC))
    return [mark.what for mark in found if about in mark.what]


def counted(broken: BreakIt) -> Count:
    """Wait for the count that covers every fault; nothing is lost or doubled in it."""
    wait_until(lambda: broken._first_fault is None, 90)
    count = broken.count
    assert count is not None
    assert count.problem == ""
    assert count.found is not None
    assert (count.found.lost, count.found.doubled) == ([], [])
    return count


@pytest.mark.timeout(240)
def test_opensearch_stops_and_starts_and_all_is_counted(
    pipeline: LivePipeline, broken: BreakIt
) -> None:
    """An outage blocks nothing; afterwards the count begins a minute before it, and says so."""
    before, clicked = pipeline.snapshot().in_kafka, datetime.now(UTC)
    for _ in range(2):
        broken.do(broken.stop_opensearch)
    assert broken.problem == ""
    assert broken.counted == "the count by id follows when all is well again"
    wait_until(lambda: not broken.is_opensearch_up, 30)
    wait_until(lambda: "OpenSearch is down, Kafka keeps" in broken.opensearch, 10)
    wait_until(lambda: "To start it: ⋯, Break it" in pipeline.snapshot().trouble, 20)
    wait_until(lambda: pipeline.snapshot().lag > 400, 20)
    assert broken.count is None
    for _ in range(2):
        broken.do(broken.start_opensearch)
    wait_until(lambda: "OpenSearch is being started" in broken.opensearch, 10)
    count = counted(broken)

    assert re.fullmatch(r"OpenSearch is back after \d+ s", broken.opensearch)
    assert timedelta(0) <= count.since + BEFORE - clicked < timedelta(seconds=10)
    assert count.found is not None
    assert count.found.messages > before + 400
    assert broken.counted == f"{count.span}: {count.found}"
    told = ["OpenSearch gone", "OpenSearch back"]
    wait_until(lambda: marks(pipeline, "OpenSearch") == told, 20)


@pytest.mark.timeout(240)
def test_an_added_consumer_is_killed_and_its_partitions_are_taken_over(
    pipeline: LivePipeline, broken: BreakIt
) -> None:
    """The process owns partitions, and is killed alone; the wait for new owners is told."""
    for _ in range(2):
        broken.do(broken.add_consumer)
    process = processes.running(CONSUMER)
    assert process is not None
    assert broken.problem == ""
    wait_until(lambda: re.search(r"reads partition", broken.consumer) is not None, 60)
    owners = {lane.owner for lane in pipeline.snapshot().lanes}
    assert owners == {this_consumer(), consumer_of(process.pid)}
    for _ in range(2):
        broken.do(broken.kill_consumer)
    assert re.fullmatch(r"partitions? [\d, ]+ waits? for a new owner, \d+ s", broken.consumer)
    assert not process.is_running()
    assert not broken.has_consumer
    counted(broken)

    assert re.fullmatch(r"partitions? [\d, ]+: a new owner after \d+ s", broken.consumer)
    wait_until(lambda: {each.owner for each in pipeline.snapshot().lanes} == {this_consumer()}, 10)
    assert marks(pipeline, "consumer") == ["consumer added", "consumer killed"]


def test_poison_is_counted_as_dead_letters(
    pipeline: LivePipeline, broken: BreakIt, made: Settings
) -> None:
    """A double click sends one invalid message of each kind; each is a dead letter in the count."""
    for _ in range(2):
        broken.do(broken.send_poison)
    assert re.fullmatch(r"8 invalid messages sent at [\d:]{8}", broken.poison)
    count = counted(broken)

    assert count.found is not None
    assert count.found.dead_lettered == 8
    assert offsets.count(made.kafka, made.kafka.dead_letter_topic) == 8


@pytest.mark.slow
def test_a_click_that_can_do_nothing_says_why(pipeline: LivePipeline, broken: BreakIt) -> None:
    """Without Kafka, and without traffic, nothing is broken, and one line says what to do."""
    clicks = broken.stop_opensearch, broken.add_consumer, broken.kill_consumer, broken.send_poison
    with taken_down("kafka"):
        for click in clicks:
            broken.do(click)
            assert broken.problem == "Kafka is gone. Run the first cell again."
    wait_until(lambda: not pipeline.snapshot().kafka_age_s, 60)
    pipeline.stop()
    for click in clicks:
        broken.do(click)
        assert broken.problem.endswith("nobody is on the site; press Start first")
    assert broken.is_opensearch_up
    assert processes.running(CONSUMER) is None
    assert broken.counted == ""


@pytest.fixture
def room(made: Settings) -> Iterator[ControlRoom]:
    """A room that begins without a past, because the index has events of now."""
    demo = Demo(made)
    demo.produce(20, events_per_second=200)
    demo.consume()
    room = ControlRoom(demo)
    yield room
    room.close()
    local.start("opensearch")
    wait_until(lambda: threads() == [], 5)


def break_all(room: ControlRoom) -> None:
    """Add a consumer and stop OpenSearch, each by a double click."""
    room.start()
    for press in ("Break it", *["Add a consumer"] * 2, *["Stop OpenSearch"] * 2):
        find_button(room, press).click()
    wait_until(lambda: processes.running("opensearch") is None, 30)
    assert processes.running(CONSUMER) is not None


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_stop_ends_the_added_consumer_and_a_new_room_repairs_the_rest(room: ControlRoom) -> None:
    """Stop says that it ends the consumer; a cell that is run again starts OpenSearch, too."""
    settings = room._demo.settings
    room.start()
    find_button(room, "Add a consumer").click()
    wait_until(lambda: topics.consumers(settings.kafka) == 2, 60)
    assert room.stop().startswith("Stopped, and the added consumer with it. ")
    assert processes.running(CONSUMER) is None
    assert lag(settings) == 0
    break_all(room)
    room = ControlRoom(Demo(settings))

    assert {each.state for each in local.status()} == {"up"}
    assert processes.running(CONSUMER) is None


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_reset_repairs_everything_first(room: ControlRoom) -> None:
    """Reset ends the consumer and starts OpenSearch, empties both, and forgets the count."""
    break_all(room)
    find_button(room, "Reset").click()
    wait_until(lambda: not room._is_busy, 120)

    assert "are empty" in room._result.text
    assert {each.state for each in local.status()} == {"up"}
    assert processes.running(CONSUMER) is None
    assert room._broken.counted == ""
