"""The events of the past that a new crowd sends first."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import msgspec
import pytest

from clickstream import events, producer
from clickstream.demo.demo import Demo
from clickstream.events import format_timestamp
from clickstream.kafka import messages
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator
from clickstream.widgets.control_room import ControlRoom
from clickstream.widgets.live_pipeline import LivePipeline
from tests.support.by_id import stored, wait_until
from tests.widgets.conftest import threads

MINUTE = timedelta(minutes=1)


@pytest.fixture
def pipeline(made: Settings) -> Iterator[LivePipeline]:
    """An idle pipeline at the natural rate, with separate names."""
    pipeline = LivePipeline(Demo(made), catch_up_s=20.0)
    yield pipeline
    pipeline.close()
    assert threads() == []


def in_topic(settings: Settings) -> list[tuple[datetime, str]]:
    """Event time and type of all messages, in the order of time."""
    found = [events.decode(each.value() or b"") for each in messages.read_raw(settings.kafka)]
    return sorted((datetime.fromisoformat(each.timestamp), each.event_type) for each in found)


def retimed(event: events.Event, timestamp: str) -> events.Event:
    """The event at another time."""
    return msgspec.structs.replace(event, timestamp=timestamp)


def test_the_charts_are_full_soon_after_the_first_start(
    pipeline: LivePipeline, made: Settings
) -> None:
    """The last 20 minutes come first, and neither the rate nor the latency counts them."""
    rates, latencies, started = [], [], datetime.now(UTC)
    pipeline.start()
    ends_s = time.monotonic() + 6
    while time.monotonic() < ends_s:
        found = pipeline.snapshot()
        rates.append(found.per_second)
        latencies += [] if found.latency_ms is None else [found.latency_ms]
        time.sleep(0.05)
    wait_until(lambda: pipeline.snapshot().latency_ms is not None, 20)
    wait_until(lambda: "volume" in pipeline.charts, 20)
    time.sleep(2)  # one more search
    volume = pipeline.charts["volume"].data[0].y
    pipeline.stop()
    found, sent = pipeline.snapshot(), in_topic(made)

    assert found.num_past > 15_000, "20 minutes at 20 events per second, from an empty site on"
    assert 1_200 <= found.past_s < 1_230, "drawing the crowd takes a second or more"
    assert max(rates) < 100, "five times the rate of the slider"
    assert all(each < 5_000 for each in latencies)
    assert sum(1 for count in volume if count) >= 0.95 * len(volume)
    assert found.produced == found.in_kafka == found.indexed == stored(made)
    times = [at for at, _ in sent]
    assert started - 21 * MINUTE < times[0] < started - 18 * MINUTE
    assert times[-1] > started + timedelta(seconds=4), "and then it goes on live"
    gaps = [after - before for before, after in pairwise(times[len(times) // 2 :])]
    assert max(gaps) < timedelta(seconds=5), "no gap at the seam"
    halves = [
        [kind for at, kind in sent if begin * MINUTE < times[-1] - at < (begin + 5) * MINUTE]
        for begin in (0, 5)
    ]
    shares = [kinds.count("login") / len(kinds) for kinds in halves]
    assert abs(shares[0] - shares[1]) < 0.03, "the crowd is as usual"


def test_a_crowd_has_one_past(pipeline: LivePipeline, made: Settings) -> None:
    """Neither a start after a stop nor another room over fresh traffic sends a past again."""
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().lag == 0 < pipeline.snapshot().num_past, 30)
    pipeline.stop()
    before = pipeline.snapshot().produced
    pipeline.start()
    time.sleep(1)
    pipeline.stop()
    assert pipeline.snapshot().produced < before + 200
    assert pipeline.snapshot().past_s == 0, "this start sent none"

    other = LivePipeline(Demo(made), catch_up_s=20.0)
    try:
        other.start()
        wait_until(lambda: other.snapshot().produced > 5, 20)
        assert (other.snapshot().num_past, other.snapshot().past_s) == (0, 0)
        other.stop()
        other.reset()
        other.start()
        wait_until(lambda: other.snapshot().num_past > 15_000, 20)
        other.stop()
        assert other.snapshot().in_kafka == other.snapshot().indexed == stored(made)
    finally:
        other.close()


def test_the_past_begins_after_the_newest_document(made: Settings) -> None:
    """Documents of four minutes ago leave four minutes for the past, and the room says so.

    A crowd that was drawn ahead, and would begin earlier, is not used. A document in the future
    does not matter. The next start sends no past, and tells of none.
    """
    now_ms = int(time.time() * 1000)
    first = islice(Simulator(seed=1, start_ms=now_ms).events(), 2)
    newest, future = format_timestamp(now_ms - 240_000), "9999-12-31T23:59:59.999Z"
    producer.send(made.kafka, map(retimed, first, (newest, future)))
    Demo(made).consume()
    room = ControlRoom(Demo(made))
    try:
        room.pipeline.prepare()
        room.start()
        wait_until(lambda: "of the last 4 minutes were sent first" in room._status.value, 20)
        room.stop()
        room.start()
        wait_until(lambda: "Running" in room._status.value, 20)
        assert "sent first" not in room._status.value
        room.stop()
    finally:
        room.close()
    (oldest, _), (second, _), *_ = in_topic(made)
    assert oldest == datetime.fromisoformat(newest) <= second


def test_a_cell_waits_for_live_events_not_for_those_of_the_past(made: Settings) -> None:
    """The counts that notebook 06 prints after the start are those of live traffic."""
    room = ControlRoom(Demo(made))
    try:
        room.start()
        found = room.until(more=40)
        assert found.num_past > 15_000
        assert found.indexed > found.num_past
        assert found.lag < 1_000
        assert found.per_second > 5
    finally:
        room.close()


def test_a_stop_in_the_past_loses_nothing(made: Settings) -> None:
    """A stop while events of the past are sent keeps what was sent, and the next start goes on."""
    pipeline = LivePipeline(Demo(made), past_s=86_400, catch_up_s=60.0)
    try:
        pipeline.start()
        wait_until(lambda: pipeline.snapshot().num_past > 1_000, 20)
        pipeline.stop()
        found = pipeline.snapshot()
        assert found.produced == found.in_kafka == found.indexed == stored(made)
        before = found.produced
        pipeline.start()
        wait_until(lambda: pipeline.snapshot().latency_ms is not None, 30)
        wait_until(lambda: pipeline.snapshot().per_second > 2, 30)
        pipeline.stop()
        found = pipeline.snapshot()
        assert before < found.produced < before + 10_000, "the rest of the past is left out"
        assert found.produced == found.in_kafka == found.indexed == stored(made)
    finally:
        pipeline.close()


def test_a_crowd_that_was_drawn_ahead_acts_from_the_start_on(made: Settings) -> None:
    """It is used once; its past began when it was drawn, and is a little longer."""
    pipeline = LivePipeline(Demo(made), catch_up_s=20.0)
    try:
        pipeline.prepare()
        prepared = pipeline._prepared
        time.sleep(1)
        pipeline.start()
        assert pipeline._traffic is not None
        assert pipeline._traffic.crowd is prepared
        pipeline.prepare()
        assert pipeline._prepared is None, "a crowd is there"
        wait_until(lambda: pipeline.snapshot().latency_ms is not None, 30)
        assert 1_200 < pipeline.snapshot().past_s < 1_260
        pipeline.reset()
        pipeline.start()
        wait_until(lambda: pipeline.snapshot().num_past > 15_000, 30)
        assert pipeline._traffic.crowd is not prepared
    finally:
        pipeline.close()
