"""Charts: the numbers of their table, readable from the back of a room."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from clickstream import charts, look
from clickstream.errors import ConfigError
from clickstream.events import CATEGORIES, DEVICE_TYPES
from clickstream.specs import DEVICE_CATEGORY, DEVICE_CATEGORY_TABLE, EVENT_TYPE, TOP_USERS, VOLUME

SINCE = datetime(2026, 1, 5, 12, tzinfo=UTC)


def answer(*, empty: bool = False) -> Any:
    """Frames in the shape that `queries.ask` gives, with numbers that can be told apart."""
    pairs = [(device, category) for device in DEVICE_TYPES for category in CATEGORIES]
    grid = pd.DataFrame(pairs, columns=list(DEVICE_CATEGORY.fields))
    grid["count"] = [0 if empty else 1_000 + 17 * i for i in range(len(grid))]
    times = pd.Series(
        [] if empty else [SINCE + timedelta(hours=i) for i in range(4)],
        dtype="datetime64[ms, UTC]",
    )
    frames = {
        EVENT_TYPE.name: pd.DataFrame(
            {"event_type": ["login", "page_view", "logout"], "count": [300, 5_000, 120]}
        ).iloc[: 0 if empty else 3],
        VOLUME.name: pd.DataFrame({"timestamp": times, "count": [5, 900, 40, 70][: len(times)]}),
        TOP_USERS.name: pd.DataFrame(
            {"user_id": ["reader-0042", "reader-0007"], "count": [77, 31]}
        ).iloc[: 0 if empty else 2],
        DEVICE_CATEGORY.name: grid,
        DEVICE_CATEGORY_TABLE.name: grid.copy(),
    }
    return SimpleNamespace(
        frames=frames,
        since=SINCE,
        until=SINCE + timedelta(hours=4),
        bucket_s=3_600,
        count_error=0,
    )


def over_time(counts: list[int], *, bucket_s: int, since: datetime = SINCE) -> Any:
    """The same answer with a volume of these counts, a bucket each."""
    found = answer()
    times = [since + timedelta(seconds=bucket_s * i) for i in range(len(counts) + 1)]
    found.since, found.until, found.bucket_s = times[0], times[-1], bucket_s
    starts = pd.Series(times[:-1], dtype="datetime64[ms, UTC]")
    found.frames[VOLUME.name] = pd.DataFrame({"timestamp": starts, "count": counts})
    return found


def ranking(counts: list[int], *, count_error: int = 0) -> Any:
    """The same answer with a bar of each of these counts."""
    found = answer()
    found.count_error = count_error
    users = [f"reader-{number:04d}" for number in range(len(counts))]
    found.frames[TOP_USERS.name] = pd.DataFrame({"user_id": users, "count": counts})
    return found


def sizes(value: Any, key: str = "") -> list[float]:
    """Every font size anywhere in a figure."""
    if isinstance(value, dict):
        return [size for name, part in value.items() for size in sizes(part, f"{key}.{name}")]
    if isinstance(value, list):
        return [size for part in value for size in sizes(part, key)]
    return [value] if key.endswith("font.size") else []


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """All five, as the JSON that plotly.js gets."""
    drawn = charts.draw(answer(), tz="UTC")
    return {name: json.loads(figure.to_json()) for name, figure in drawn.items()}


def test_each_figure_holds_its_table_s_numbers(figures: dict[str, Any]) -> None:
    """Slices, points, bars and cells are the counts, in their order."""
    drawn = charts.draw(answer(), tz="UTC")
    frames = answer().frames

    assert list(drawn["event-types"].data[0]["values"]) == [300, 5_000, 120]
    assert list(drawn["volume"].data[0].y) == [5, 900, 40, 70]
    assert list(drawn["top-users"].data[0].x) == [77, 31]
    assert list(drawn["top-users"].data[0].y) == ["reader-0042", "reader-0007"]
    grid = frames["device-category"].set_index(list(DEVICE_CATEGORY.fields))["count"]
    heatmap = drawn["device-category"].data[0]
    for row, device in enumerate(heatmap.y):
        for column, category in enumerate(heatmap.x):
            assert heatmap.z[row][column] == grid[device, category]
    # The shade that the text's ink is chosen for is the one that is drawn.
    assert (heatmap.zmin, heatmap.zmax) == (0, grid.max())
    written = {each.text for each in drawn["device-category"].layout.annotations}
    assert written == {f"<b>{count:,}</b>" for count in grid}
    cells = drawn["device-category-table"].data[0].cells["values"]
    assert f"<b>{grid.sum():,}</b>" in cells[-1]
    assert f"<span>{grid['mobile', 'tech']:,}</span>" in cells[1 + CATEGORIES.index("tech")]


def test_titles_say_what_is_seen(figures: dict[str, Any]) -> None:
    """Not what is plotted."""
    titles = {name: figure["layout"]["title"]["text"] for name, figure in figures.items()}
    assert "page_view is 92% of 5,420 events" in titles["event-types"]
    assert "1,015 events, at most 900 in 1 hour (Mon 13:00)" in titles["volume"]
    assert "reader-0042 leads with 77 events" in titles["top-users"]
    assert "Most reading: entertainment on tablet" in titles["device-category"]
    assert all("Mon 05 Jan 12:00 to Mon 05 Jan 16:00, UTC" in title for title in titles.values())


@pytest.mark.parametrize("empty", [False, True])
def test_text_is_readable_from_the_back_of_a_room(empty: bool) -> None:
    """18 pixels and more everywhere, and the whole chart within JupyterLab's share of 720."""
    busiest = answer(empty=True) if empty else ranking(list(range(120, 100, -1)))
    figures = charts.draw(busiest, tz="UTC")
    for figure in figures.values():
        found = sizes(json.loads(figure.to_json()))
        assert min(found, default=look.TEXT_PX) >= 18
        assert figure.layout.template.layout.font.size >= 18
        assert (figure.layout.height or look.HEIGHT_PX) <= 570
    if not empty:
        drawn = figures[TOP_USERS.name]
        margin = look.TEMPLATE.layout.margin
        assert len(drawn.data[0].y) == 20
        # A line each, and plotly must not shrink the numbers to the bars.
        assert (drawn.layout.height - margin.t - margin.b) / 20 >= 1.2 * 18
        assert drawn.data[0].constraintext == "none"


def test_text_has_contrast_wherever_it_stands() -> None:
    """4.5 to 1 and more, on paper and on every shade of the heatmap."""
    assert look.contrast((27, 31, 36), (255, 255, 255)) > 15
    assert look.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    for percent in range(101):
        colour = look.shade(percent / 100)
        ink = look.ink_on(colour)
        rgb = tuple(int(ink[i : i + 2], 16) for i in (1, 3, 5))
        assert look.contrast(rgb, colour) >= 4.5, percent  # type: ignore[arg-type]


def test_slices_have_a_second_cue() -> None:
    """No two slices share colour or pattern, so a print in grey still tells them apart."""
    marker = charts.draw(answer(), tz="UTC")["event-types"].data[0].marker
    assert len(set(marker.colors)) == len(marker.colors)
    assert len(set(marker.pattern.shape)) == len(marker.pattern.shape)


def deficient(colour: str, kind: str) -> tuple[float, ...]:
    """A colour as people without red or green cones see it, linear.

    Source: Viénot, Brettel and Mollon 1999, matrices for linear sRGB.
    """
    linear = [(int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
    matrix = {
        "protan": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
        "deutan": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
    }[kind]
    return tuple(sum(m * c for m, c in zip(row, linear, strict=True)) for row in matrix)


@pytest.mark.parametrize("kind", ["protan", "deutan"])
def test_colours_differ_for_people_who_see_fewer(kind: str) -> None:
    """Every two colours of the wheel stay apart."""
    seen = [deficient(colour, kind) for colour in look.COLOURS]
    for one, other in combinations(seen, 2):
        assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 0.04


def test_the_time_axis_is_in_the_presenter_s_zone_and_says_so() -> None:
    """Noon UTC is one o'clock in Berlin in winter."""
    figure = charts.draw(answer(), tz="Europe/Berlin")["volume"]
    assert str(figure.data[0].x[0]).startswith("2026-01-05T13:00")
    assert figure.layout.xaxis.title.text == "time (Europe/Berlin, UTC+01:00)"
    assert "(Mon 14:00)" in figure.layout.title.text

    zone = ZoneInfo("Asia/Kolkata")
    half_past = charts.draw(answer(), tz=zone)["volume"]
    assert str(half_past.data[0].x[0]).startswith("2026-01-05T17:30")


def test_no_hour_comes_twice_when_the_clocks_go_back() -> None:
    """One chart has one offset, that of the window's end, and says which."""
    night = datetime(2026, 10, 24, 22, tzinfo=UTC)
    figure = charts.draw(over_time([5] * 6, bucket_s=3_600, since=night), tz="Europe/Berlin")[
        "volume"
    ]
    before = charts.draw(over_time([5] * 2, bucket_s=3_600, since=night), tz="Europe/Berlin")[
        "volume"
    ]
    hours = [pd.Timestamp(x) for x in figure.data[0].x]

    assert {after - hour for hour, after in pairwise(hours)} == {timedelta(hours=1)}
    assert figure.layout.xaxis.title.text == "time (Europe/Berlin, UTC+01:00)"
    assert "Sat 24 Oct 23:00 to Sun 25 Oct 05:00" in figure.layout.title.text
    assert before.layout.xaxis.title.text == "time (Europe/Berlin, UTC+02:00)"
    assert "Sun 25 Oct 00:00 to Sun 25 Oct 02:00" in before.layout.title.text


@pytest.fixture
def clock_zone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The `TZ` of this process, until the test is over."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.parametrize(
    ("clock_zone", "name"),
    [
        ("Asia/Tokyo", "Asia/Tokyo, UTC+09:00"),
        (":Asia/Tokyo", "Asia/Tokyo, UTC+09:00"),
        ("Etc/UTC", "UTC"),
        ("UTC0", "UTC"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "UTC+01:00"),
        ("<-03>3", "UTC-03:00"),
    ],
    indirect=["clock_zone"],
)
def test_the_time_axis_is_in_this_machine_s_zone_however_it_is_written(
    clock_zone: str, name: str
) -> None:
    """A rule without a name in the database still has an offset."""
    figure = charts.draw(answer())["volume"]
    assert figure.layout.xaxis.title.text == f"time ({name})"


@pytest.mark.parametrize("clock_zone", [":/etc/localtime"], indirect=True)
def test_a_zone_given_as_a_file_is_this_machine_s(clock_zone: str) -> None:
    """As some desktops set it."""
    figure = charts.draw(answer())["volume"]
    offset = SINCE.astimezone().utcoffset() or timedelta(0)
    assert pd.Timestamp(figure.data[0].x[0]) == pd.Timestamp(SINCE.replace(tzinfo=None)) + offset


def test_an_unknown_zone_is_told_by_name() -> None:
    """In one line."""
    with pytest.raises(ConfigError, match="no time zone 'Berlin'"):
        charts.draw(answer(), tz="Berlin")


@pytest.mark.parametrize(
    ("buckets", "bucket_s", "format"),
    [
        (50, 10, "%H:%M:%S"),
        (60, 10, "%H:%M"),
        (72, 300, "%H:%M"),
        (96, 900, "%H:%M"),
        (96, 1_800, "%H:%M\n%a %d"),
    ],
)
def test_ticks_are_few_and_say_no_more_than_the_window_needs(
    buckets: int, bucket_s: int, format: str
) -> None:
    """Level, seconds under ten minutes, and the day on a line of its own over a day."""
    drawn = charts.draw(over_time([9] * buckets, bucket_s=bucket_s), tz="UTC")["volume"]
    axis = drawn.layout.xaxis

    assert (axis.tickangle, axis.tickformat) == (0, format)
    assert axis.nticks <= 9  # of 75 px each, where the chart is 960 px wide


@pytest.mark.parametrize(("most", "step"), [(1, 1), (2, 1), (5, 1), (6, None), (900, None)])
def test_counts_have_whole_ticks(most: int, step: int | None) -> None:
    """One by one while they are few; from six on plotly's five steps are whole by themselves."""
    axis = charts.draw(over_time([0, most, 1], bucket_s=60), tz="UTC")["volume"].layout.yaxis

    assert axis.dtick == step
    assert axis.nticks == 6
    assert axis.range[0] == 0
    assert axis.range[1] > most


def test_one_event_is_one() -> None:
    """No title speaks of `1 events`."""
    one = ranking([1], count_error=1)
    one.frames |= over_time([1], bucket_s=3_600).frames | {
        TOP_USERS.name: one.frames[TOP_USERS.name],
        EVENT_TYPE.name: pd.DataFrame({"event_type": ["login"], "count": [1]}),
    }
    for name in (DEVICE_CATEGORY.name, DEVICE_CATEGORY_TABLE.name):
        one.frames[name]["count"] = [1] + [0] * 14
    for figure in charts.draw(one, tz="UTC").values():
        written = figure.to_json()
        assert "1 event" in written
        assert "1 events" not in written


def test_a_bucket_that_is_alone_has_the_width_that_was_asked_for() -> None:
    """The axis shows all of it."""
    figure = charts.draw(over_time([7], bucket_s=3_600), tz="UTC")["volume"]
    start, end = map(pd.Timestamp, figure.layout.xaxis.range)

    assert "7 events, at most 7 in 1 hour" in figure.layout.title.text
    assert figure.layout.yaxis.title.text == "events in 1 hour"
    assert end - start == timedelta(hours=1)


def test_counts_that_may_be_short_say_by_how_much() -> None:
    """Below the title of the bars; exact ones say nothing."""
    short = charts.draw(ranking([9, 7], count_error=1_234), tz="UTC")["top-users"]
    exact = charts.draw(ranking([9, 7]), tz="UTC")["top-users"]

    assert "a count may miss up to 1,234 events; Mon 05 Jan" in short.layout.title.text
    assert "miss" not in exact.layout.title.text


def test_an_empty_answer_gives_friendly_charts() -> None:
    """Each says that nothing is there yet and what to do."""
    for figure in charts.draw(answer(empty=True), tz="UTC").values():
        assert "nothing yet" in figure.layout.title.text
        assert "Produce some" in figure.layout.annotations[0].text
        assert len(figure.data) == 0
