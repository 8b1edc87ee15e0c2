"""The chart of the lag over time, with marks for actions."""

import threading
import time

from clickstream.charts.timeseries import Timeline


def test_the_line_ends_with_the_latest_sample_and_names_what_was_done() -> None:
    """The title states the lag; marks are at their times and do not overlap."""
    timeline = Timeline()
    for lag in (0, 5, 1_234):
        timeline.sample(lag)
    for what in ("OpenSearch down", "consumer killed"):
        timeline.mark(what)
    figure = timeline.figure()

    assert "The lag is 1,234 messages" in figure.layout.title.text
    assert list(figure.data[0].y) == [0, 5, 1_234]
    assert [each.text for each in figure.layout.annotations] == [
        "OpenSearch down",
        "consumer killed",
    ]
    assert len({each.ay for each in figure.layout.annotations}) == 2
    assert timeline.lag == 1_234


def test_the_room_above_the_line_is_that_of_its_marks() -> None:
    """Marks of one moment have a row each above the plot; without one, nothing is left free."""
    timeline = Timeline()
    timeline.sample(5)
    tops = [timeline.figure().layout.margin.t]
    for _ in range(4):
        timeline.mark("consumer killed")
        tops.append(timeline.figure().layout.margin.t)

    assert tops == sorted(set(tops))


def test_a_lag_that_is_over_is_told_as_over() -> None:
    """After an outage the title states the highest lag."""
    timeline = Timeline()
    timeline.sample(0)
    assert "The lag is 0" in timeline.figure().layout.title.text
    for lag in (4_900, 3):
        timeline.sample(lag)
    assert "The lag rose to 4,900, and is 3 now" in timeline.figure().layout.title.text


def test_without_a_sample_there_is_a_chart_that_says_so() -> None:
    """Without a sample the chart says so."""
    timeline = Timeline()

    assert "No measurement yet" in timeline.figure().layout.title.text
    assert timeline.lag is None


def test_recording_leaves_out_what_cannot_be_measured_and_ends_when_told() -> None:
    """Failed samples are ignored, and recording ends on a stop."""
    timeline, answers = Timeline(), iter([7, None, 9])
    stop = threading.Event()

    def look() -> int | None:
        found = next(answers, None)
        if found == 9:
            stop.set()
        return found

    started_s = time.monotonic()
    timeline.record(look, 0.01)(stop)

    assert time.monotonic() - started_s < 5
    assert list(timeline.figure().data[0].y) == [7, 9]
