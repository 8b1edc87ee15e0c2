"""Marks on charts over time: their names neither overlap nor leave the chart."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from random import Random
from typing import Any

import pytest

from clickstream.charts import theme
from clickstream.charts.marks import Mark, Marks
from clickstream.charts.volume import Volume
from tests.charts.test_charts import SINCE, answer, over_time, played

NAMES = ("Start", "Stop", "1,000/s", "Breaking news", "Breaking news ends", "OpenSearch back")


def moment(seconds: float) -> datetime:
    """A time after the start of the window."""
    return SINCE + timedelta(seconds=seconds)


def drawn(marks: list[Mark]) -> Any:
    """The volume chart of five minutes with these marks."""
    return over_time([20] * 151, bucket_s=2).figures(tz="UTC", marks=marks)[Volume.name]


def spans(figure: Any) -> Iterator[tuple[float, float, float]]:
    """The name of each mark: begin and end, in seconds, if a character has 5.1; and its height."""
    for each in figure.layout.annotations:
        end = (each.x.replace(tzinfo=UTC) - SINCE).total_seconds()
        yield end - 5.1 * (len(each.text) + 2), end, -each.ay


@pytest.mark.parametrize("seed", range(20))
def test_names_never_overlap_and_no_line_crosses_one(seed: int) -> None:
    """Marks at random times have a line each; names that are shown have room, in two rows."""
    rng = Random(seed)
    times = sorted(rng.uniform(1, 300) for _ in range(rng.randrange(2, 30)))
    figure = drawn([Mark(moment(at), rng.choice(NAMES)) for at in times])
    found = list(spans(figure))

    assert len(figure.layout.shapes) == len(times)
    assert len(found) <= len(times)
    assert len({height for _, _, height in found}) <= 2
    assert min(begin for begin, _, _ in found) >= -0.01, "cut at the left"
    for (begin, end, height), (other_begin, other_end, other_height) in combinations(found, 2):
        if height == other_height:
            assert min(end, other_end) - max(begin, other_begin) < 0.01
        elif height > other_height:
            assert not other_begin < end < other_end
        else:
            assert not begin < other_end < end


def test_the_newest_names_are_shown() -> None:
    """Where not all names have room, the latest have; older marks keep their lines."""
    figure = drawn([Mark(moment(200 + number), f"{number}00/s") for number in range(10)])

    assert [each.text for each in figure.layout.annotations] == ["800/s", "900/s"]
    assert len(figure.layout.shapes) == 10


def test_marks_outside_the_window_are_not_drawn_and_the_last_one_is_at_once() -> None:
    """A mark in the last bucket is at the end of the axis; those around the window are left out."""
    marks = [Mark(moment(at), f"at {at}") for at in (-1, 150, 301.5, 303)]
    figure = drawn(marks)

    assert [each.text for each in figure.layout.annotations] == ["at 150", "at 301.5"]
    assert figure.layout.annotations[1].x.replace(tzinfo=UTC) == moment(300)
    assert drawn(marks[:1]) == drawn([]), "a chart without marks is as before"


def test_title_and_legend_stay_above_the_names() -> None:
    """Names have room of their own, in a large chart below its legend and in a small one."""
    hours = [Mark(SINCE + timedelta(hours=2), "Start"), Mark(SINCE + timedelta(hours=2.1), "Stop")]
    found = played(bot=[0, 5, 5, 0])
    without, with_marks = (
        found.figures(tz="UTC", marks=marks)[Volume.name] for marks in ([], hours)
    )
    lift_px = with_marks.layout.margin.t - without.layout.margin.t
    legend = with_marks.layout.legend
    below_legend_px = with_marks.layout.margin.t - (1 - legend.y) * theme.HEIGHT_PX

    assert max(-each.ay for each in with_marks.layout.annotations) < lift_px <= below_legend_px
    assert (legend.yref, legend.yanchor) == ("container", "bottom")
    small = theme.compact(with_marks)
    highest_px = max(-each.ay for each in small.layout.annotations)
    assert highest_px < small.layout.margin.t < lift_px
    assert theme.compact(without).layout.margin.t < highest_px


def test_marks_are_those_of_the_answers_time_zone() -> None:
    """A mark is beside the events of its moment, in any time zone."""
    figures = replace(answer()).figures(
        tz="Asia/Tokyo", marks=[Mark(SINCE + timedelta(hours=2), "Start")]
    )
    figure = figures[Volume.name]

    assert figure.layout.annotations[0].x == figure.data[0].x[2]


def test_any_thread_may_add_marks_and_the_latest_are_kept() -> None:
    """Marks of several threads come in the order of time, and old ones are dropped."""
    marks, now = Marks(), datetime.now(UTC)

    def add(first: int) -> None:
        for number in range(first, 4_000, 4):
            marks.add(now + timedelta(seconds=number), str(number))

    threads = [threading.Thread(target=add, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [int(what) for _, what in marks.since(now)]

    assert found == sorted(found)
    assert 100 < len(found) < 1_000
    assert [what for _, what in marks.since(now + timedelta(seconds=3_998))] == ["3999"]
