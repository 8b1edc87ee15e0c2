"""The record of what happened in a control room, and its marks."""

from datetime import UTC, datetime, timedelta

import pytest

from clickstream.demo.demo import Demo
from clickstream.settings import Settings
from clickstream.widgets.activity_log import ActivityLog
from clickstream.widgets.live_pipeline import LivePipeline
from tests.support.by_id import wait_until

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Watched:
    """An activity log that is told something about four times per second, at a clock of its own."""

    def __init__(self) -> None:
        self.now = NOON
        self.activity = ActivityLog(20, now=lambda: self.now)
        self.running: tuple[str, ...] = ()
        self.rate, self.is_in_past = 20.0, False

    def wait(self, seconds: float) -> None:
        """Tell it the same for some seconds."""
        for _ in range(round(4 * seconds)):
            self.note()
            self.now += timedelta(seconds=0.25)

    def note(self) -> None:
        """Tell it how things are."""
        self.activity.note(running=self.running, rate=self.rate, is_in_past=self.is_in_past)

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Seconds and names of all marks."""
        found = self.activity.marks.since(NOON - timedelta(days=1))
        return [((at - NOON).total_seconds(), what) for at, what in found]


@pytest.fixture
def watched() -> Watched:
    """The activity log of readers that started at noon."""
    watched = Watched()
    watched.activity.start(20)
    watched.wait(5)
    return watched


def test_scenarios_have_a_mark_at_each_end(watched: Watched) -> None:
    """A scenario begins and ends once, however often it is told; the slider is no scenario."""
    watched.running = ("bot", "engagement")
    watched.wait(5)
    watched.running = ("bot", "comment-storm")
    watched.wait(5)
    watched.running = ()
    watched.wait(5)
    watched.running = ("bot",)
    watched.wait(1)

    assert watched.marks == [
        *((0, "Start"), (5, "Bot"), (10, "Comment storm"), (15, "Bot ends")),
        *((15, "Comment storm ends"), (20, "Bot")),
    ]
    play = watched.activity.latest_play(over_s=30)
    assert play is not None
    assert (play.scenario, play.began, play.ended) == ("bot", NOON + timedelta(seconds=20), None)


def test_a_moved_slider_is_one_mark_with_the_rate_where_it_stopped(watched: Watched) -> None:
    """Rates that the slider passes are none; nor is one that it comes back to at once."""
    for rate in (50, 100, 200, 1_000):
        watched.rate = rate
        watched.wait(0.25)
    watched.wait(5)
    watched.rate = 2_000
    watched.wait(0.5)
    watched.rate = 1_000
    watched.wait(5)

    assert watched.marks == [(0, "Start"), (5.75, "1,000/s")]


def test_a_stop_is_one_mark_and_ends_all(watched: Watched) -> None:
    """A stop ends the scenarios without marks of their own; until the next start nothing counts."""
    watched.running = ("bot",)
    watched.wait(5)
    watched.activity.stop()
    watched.wait(1)
    watched.running, watched.rate = (), 500
    watched.wait(4)
    watched.activity.start(500)
    watched.wait(5)

    assert watched.marks == [(0, "Start"), (5, "Bot"), (10, "Stop"), (15, "Start")]
    assert watched.activity.latest_play(over_s=30) is not None
    watched.wait(20)
    assert watched.activity.latest_play(over_s=30) is None


@pytest.mark.parametrize(("rate", "expected"), [(20, []), (1_000, [(7, "live, 1,000/s")])])
def test_the_seam_to_live_traffic_is_a_mark_at_another_rate(
    rate: float, expected: list[tuple[float, str]]
) -> None:
    """Events of the past come at the natural rate, so the volume has a step at their end."""
    watched = Watched()
    watched.activity.start(rate, is_in_past=True)
    watched.rate, watched.is_in_past = rate, True
    watched.wait(7)
    watched.is_in_past = False
    watched.wait(5)

    assert watched.marks == [(0, "Start"), *expected]


def test_a_server_that_is_gone_has_a_mark_where_it_answered_last(watched: Watched) -> None:
    """It is gone since its last answer, and back with the next one."""
    for _ in range(3):
        watched.activity.note_no_answer("Kafka", for_s=2)
        watched.wait(5)
    watched.activity.note_answer("OpenSearch")
    for _ in range(3):
        watched.activity.note_answer("Kafka")

    assert watched.marks == [(0, "Start"), (3, "Kafka gone"), (20, "Kafka back")]


def test_what_was_done_is_on_the_volume_chart_until_a_reset(
    pipeline: LivePipeline, made: Settings
) -> None:
    """Start, rate, scenario and Stop are marks of this room; Reset clears them."""

    def lines() -> int:
        return len(pipeline.charts["volume"].layout.shapes)

    def names() -> list[str]:
        return [each.text for each in pipeline.charts["volume"].layout.annotations]

    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 50 and names() == ["Start"], 30)
    pipeline.toggle("bot")
    wait_until(lambda: names() == ["Start", "Bot"], 30)
    pipeline.events_per_second = 100
    wait_until(lambda: lines() == 3, 30)
    assert names() == ["Bot", "100/s"], "two rows: the newest names"
    pipeline.toggle("bot")
    pipeline.stop()
    assert names() == ["Bot ends", "Stop"]
    assert lines() == 5
    other = LivePipeline(Demo(made), past_s=0)
    assert not other.charts["volume"].layout.shapes, "marks are of one room"
    other.close()

    pipeline.reset()
    assert lines() == 0
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 50, 30)
    pipeline.stop()
    assert names() == ["Start", "Stop"]
