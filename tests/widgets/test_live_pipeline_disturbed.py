"""The live pipeline while a server is down or hangs."""

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import pytest

from clickstream.demo.demo import Demo
from clickstream.errors import ServerError
from clickstream.settings import Settings
from clickstream.widgets.live_pipeline import LivePipeline, Snapshot
from tests.support.by_id import lag, stored, wait_until
from tests.support.delivery import another_member
from tests.support.outages import taken_down
from tests.widgets.conftest import threads


def all_is_counted(found: Snapshot) -> bool:
    """Whether every message counts as waiting or as indexed."""
    return found.lag >= found.in_kafka - found.indexed


def marks(pipeline: LivePipeline) -> list[str]:
    """The names of the marks, in the order of time; each has a line on the volume chart."""
    found = [what for _, what in pipeline.activity.marks.since(datetime.min.replace(tzinfo=UTC))]
    assert len(pipeline.charts["volume"].layout.shapes) == len(found)
    return found


def test_trouble_is_a_line_and_what_can_goes_on(pipeline: LivePipeline, made: Settings) -> None:
    """While OpenSearch is down, the lag grows and a line says why; both end after it is back."""
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 100, 20)
    with taken_down("opensearch"):
        gone = "OpenSearch is gone. Run the first cell again."
        wait_until(lambda: pipeline.snapshot().trouble == gone, 20)
        wait_until(lambda: pipeline.snapshot().lag > 400, 20)
        wait_until(lambda: pipeline.snapshot().opensearch_age_s > 3, 20)
        assert pipeline.snapshot().kafka_age_s == 0
        assert pipeline.snapshot().is_running
    wait_until(lambda: pipeline.snapshot().lag < 200 and not pipeline.snapshot().trouble, 60)
    wait_until(lambda: pipeline.snapshot().opensearch_age_s == 0, 10)
    pipeline.stop()
    assert marks(pipeline) == ["Start", "OpenSearch gone", "OpenSearch back", "Stop"]
    assert lag(made) == 0


@pytest.mark.slow
def test_kafka_away_is_a_line_and_all_goes_on_when_it_is_back(
    pipeline: LivePipeline, made: Settings
) -> None:
    """While Kafka is down, events wait in the producer; no acknowledged event is lost."""
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 100 and len(pipeline.newest) == 8, 20)
    with taken_down("kafka"):
        gone = "Kafka is gone. Run the first cell again."
        wait_until(lambda: pipeline.snapshot().trouble == gone, 10)  # twice what it should take
        wait_until(lambda: pipeline.snapshot().kafka_age_s > 3, 10)
        wait_until(lambda: not any(each.per_second for each in pipeline.snapshot().lanes), 2)
        before, newest = pipeline.snapshot().produced, pipeline.newest
        assert len(newest) == 8, "they stay"

    def is_back() -> bool:
        found = pipeline.snapshot()
        # What Kafka hands out once more does not make the lag look smaller than it is.
        assert all_is_counted(found)
        assert found.in_kafka >= found.indexed + found.repeats + found.dead_letters
        return not found.trouble and found.produced > before + 500 and found.lag < 100

    ends_s = time.monotonic() + 60
    while not is_back():
        assert time.monotonic() < ends_s, (before, pipeline.snapshot(), threads())
        time.sleep(0.05)
    wait_until(lambda: pipeline.newest != newest, 10)
    pipeline.stop()
    found = pipeline.snapshot()
    assert (found.lag, found.repeats, found.kafka_age_s) == (0, 0, 0)
    assert marks(pipeline) == ["Start", "Kafka gone", "Kafka back", "Stop"]
    assert found.in_kafka == found.indexed == stored(made) >= found.produced


@pytest.mark.slow
def test_an_opensearch_that_hangs_is_told_within_seconds(
    pipeline: LivePipeline, made: Settings, frozen: Callable[[str], AbstractContextManager[None]]
) -> None:
    """A hanging OpenSearch is reported soon; afterwards everything continues without loss."""
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 100, 20)
    with frozen("opensearch"):
        wait_until(lambda: "OpenSearch has not answered for" in pipeline.snapshot().trouble, 10)
    wait_until(lambda: not pipeline.snapshot().trouble and pipeline.snapshot().lag < 100, 20)
    pipeline.stop()
    found = pipeline.snapshot()
    assert found.trouble == ""
    assert found.produced == found.in_kafka == found.indexed == stored(made)


@pytest.mark.slow
def test_a_hanging_opensearch_holds_up_no_stop(
    made: Settings, frozen: Callable[[str], AbstractContextManager[None]]
) -> None:
    """Stop gives up before a worker counts as lost; the next start continues without loss."""
    pipeline = LivePipeline(Demo(made), past_s=0)
    try:
        pipeline.start()
        wait_until(lambda: pipeline.snapshot().indexed > 20, 30)
        with frozen("opensearch"):
            wait_until(lambda: "OpenSearch has not answered for" in pipeline.snapshot().trouble, 10)
            began_s = time.monotonic()
            with pytest.raises(ServerError, match="OpenSearch did not answer"):
                pipeline.stop()
            assert time.monotonic() - began_s < 40
            assert threads() == []
        pipeline.start()
        wait_until(lambda: pipeline.snapshot().lag == 0 < pipeline.snapshot().indexed, 30)
        pipeline.stop()
        found = pipeline.snapshot()
        assert found.produced == found.in_kafka == found.indexed == stored(made)
    finally:
        pipeline.close()


@pytest.mark.slow
def test_a_stop_without_kafka_tells_what_was_not_acknowledged(
    pipeline: LivePipeline, made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unacknowledged events are reported by number; after Kafka is back, the counts agree."""
    monkeypatch.setattr("clickstream.producer._FLUSH_S", 1.0)
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 100, 20)
    with taken_down("kafka"):
        wait_until(lambda: "Kafka" in pipeline.snapshot().trouble, 10)
        wait_until(lambda: pipeline._runs[-1].sent - pipeline._runs[-1].delivered > 300, 20)
        with pytest.raises(ServerError, match="Kafka did not answer") as stopped:
            pipeline.stop()
        assert pipeline.explain(stopped.value) == "Kafka is gone. Run the first cell again."
        wait_until(lambda: pipeline.snapshot().kafka_age_s > 3, 10)
        lost = re.search(
            r"([\d,]+) of [\d,]+ events were not acknowledged", pipeline.snapshot().trouble
        )
        assert lost is not None, pipeline.snapshot()
        assert int(lost[1].replace(",", "")) > 200
        assert threads() == []
    pipeline.start()
    # The earlier consumer could not leave its group; six seconds later its partitions are free.
    wait_until(lambda: pipeline.snapshot().produced > 500 and pipeline.snapshot().lag < 100, 40)
    pipeline.stop()
    found = pipeline.snapshot()
    assert found.produced <= found.in_kafka == found.indexed == stored(made)
    assert (found.lag, found.trouble) == (0, "")


def test_the_room_names_a_partition_that_its_owner_does_not_read(
    pipeline: LivePipeline, made: Settings, frozen: Callable[[str], AbstractContextManager[None]]
) -> None:
    """A stalled partition is reported after 10 s with its lag, unless OpenSearch is down."""
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 100, 30)
    with another_member(made):
        wait_until(lambda: "messages wait although" in pipeline.snapshot().trouble, 60)
        found = pipeline.snapshot().trouble
        with frozen("opensearch"):
            wait_until(lambda: "OpenSearch has not answered" in pipeline.snapshot().trouble, 30)
    wait_until(lambda: not pipeline.snapshot().trouble and pipeline.snapshot().lag < 1_000, 60)

    assert re.fullmatch(
        r"messages wait although their consumer is alive: [\d,]+ in partition \d; its committed "
        r"offset has not moved for 10 s; press Stop, then Start",
        found,
    )
