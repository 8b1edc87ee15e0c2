"""Charts show the numbers of their tables, readable from the back of a room."""

import json
import math
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go
import pytest

from clickstream.charts import theme
from clickstream.charts.ab_test import AbTest
from clickstream.charts.device_category import DeviceCategory, DeviceCategoryTable
from clickstream.charts.event_types import EventTypes
from clickstream.charts.search import Answer
from clickstream.charts.top_readers import TopReaders
from clickstream.charts.volume import ADDED, Volume
from clickstream.errors import ConfigError
from clickstream.events import CATEGORIES, DEVICE_TYPES, EVENT_TYPES, REACTIONS
from clickstream.simulation.scenarios import ADDS_EVENTS

SINCE = datetime(2026, 1, 5, 12, tzinfo=UTC)
ON_TOP = ("breaking-news", "bot", "comment-storm", "logout-wave")


def answer(*, empty: bool = False) -> Answer:
    """An answer in the form of `search.ask`, with distinct numbers."""
    pairs = [(device, category) for device in DEVICE_TYPES for category in CATEGORIES]
    grid = pd.DataFrame(pairs, columns=list(DeviceCategory.fields))
    grid["count"] = [0 if empty else 1_000 + 17 * i for i in range(len(grid))]
    times = pd.Series(
        [] if empty else [SINCE + timedelta(hours=i) for i in range(4)],
        dtype="datetime64[ms, UTC]",
    )
    frames = {
        EventTypes.name: pd.DataFrame(
            {"event_type": ["login", "page_view", "logout"], "count": [300, 5_000, 120]}
        ).iloc[: 0 if empty else 3],
        Volume.name: pd.DataFrame({"timestamp": times, "count": [5, 900, 40, 70][: len(times)]}),
        TopReaders.name: pd.DataFrame(
            {"user_id": ["reader-0042", "reader-0007"], "count": [77, 31], "scenario": ""}
        ).iloc[: 0 if empty else 2],
        ADDED: pd.DataFrame({"timestamp": times[:0], "scenario": [], "count": []}),
        DeviceCategory.name: grid,
        DeviceCategoryTable.name: grid.copy(),
        AbTest.name: pd.DataFrame({"variant": [], "event_type": [], "count": []}),
    }
    return Answer(
        frames=frames,
        total=0 if empty else 5_420,
        took_ms=1,
        count_error=0,
        since=SINCE,
        until=SINCE + timedelta(hours=4),
        bucket_s=3_600,
        scenarios=ADDS_EVENTS,
    )


def over_time(counts: list[int], *, bucket_s: int, since: datetime = SINCE) -> Answer:
    """The same answer, with these counts as volume, one per bucket."""
    times = [since + timedelta(seconds=bucket_s * i) for i in range(len(counts) + 1)]
    found = replace(answer(), since=times[0], until=times[-1], bucket_s=bucket_s)
    starts = pd.Series(times[:-1], dtype="datetime64[ms, UTC]")
    found.frames[Volume.name] = pd.DataFrame({"timestamp": starts, "count": counts})
    return found


def ranking(counts: list[int], *, count_error: int = 0) -> Answer:
    """The same answer, with one reader per count."""
    found = replace(answer(), count_error=count_error)
    users = [f"reader-{number:04d}" for number in range(len(counts))]
    found.frames[TopReaders.name] = pd.DataFrame(
        {"user_id": users, "count": counts, "scenario": ""}
    )
    return found


def played(**added: list[int]) -> Answer:
    """The same answer, with events added by scenarios (`_` for `-`) in each of four hours."""
    found = answer()
    times = found.frames[Volume.name]["timestamp"]
    parts = [
        pd.DataFrame({"timestamp": times, "scenario": name.replace("_", "-"), "count": counts})
        for name, counts in added.items()
    ]
    found.frames[ADDED] = pd.concat(parts)
    return found


def arms(**counts: list[int]) -> Answer:
    """The same answer, with an A/B test: views, likes and comments by arm."""
    found = answer()
    rows = [
        (arm, event_type, dict(zip(("page_view", "like", "comment"), of_arm, strict=False)))
        for arm, of_arm in counts.items()
        for event_type in EVENT_TYPES
    ]
    found.frames[AbTest.name] = pd.DataFrame(
        [(arm, event_type, given.get(event_type, 0)) for arm, event_type, given in rows],
        columns=["variant", "event_type", "count"],
    )
    return found


def sizes(value: Any, key: str = "") -> list[float]:
    """Every font size in a figure."""
    if isinstance(value, dict):
        return [size for name, part in value.items() for size in sizes(part, f"{key}.{name}")]
    if isinstance(value, list):
        return [size for part in value for size in sizes(part, key)]
    return [value] if key.endswith("font.size") else []


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    """The five permanent charts, as JSON for plotly.js."""
    drawn = answer().figures(tz="UTC")
    return {name: json.loads(figure.to_json()) for name, figure in drawn.items()}


def test_each_figure_holds_its_table_s_numbers(figures: dict[str, Any]) -> None:
    """Slices, points, bars and cells show the counts in order."""
    drawn = answer().figures(tz="UTC")
    frames = answer().frames

    assert list(drawn["event-types"].data[0]["values"]) == [300, 5_000, 120]
    assert list(drawn["volume"].data[0].y) == [5, 900, 40, 70]
    assert list(drawn["top-users"].data[0].x) == [77, 31]
    assert list(drawn["top-users"].data[0].y) == ["reader-0042", "reader-0007"]
    grid = frames["device-category"].set_index(list(DeviceCategory.fields))["count"]
    heatmap = drawn["device-category"].data[0]
    for row, category in enumerate(heatmap.y):
        for column, device in enumerate(heatmap.x):
            assert heatmap.customdata[row][column] == grid[device, category]
            share = grid[device, category] / max(1, grid[:, category].sum())
            assert heatmap.z[row][column] == pytest.approx(share), "the colour"
    # The shade that the text's ink is chosen for is the one that is drawn.
    assert (heatmap.zmin, heatmap.zmax) == (0, heatmap.z.max())
    written = {each.text for each in drawn["device-category"].layout.annotations}
    assert written == {f"<b>{count:,}</b>" for count in grid}
    cells = drawn["device-category-table"].data[0].cells["values"]
    assert f"<b>{grid.sum():,}</b>" in cells[-1]
    assert f"<span>{grid['mobile', 'tech']:,}</span>" in cells[1 + DEVICE_TYPES.index("mobile")]


def test_titles_say_what_is_seen(figures: dict[str, Any]) -> None:
    """Titles state the result, not the plotted fields."""
    titles = {name: figure["layout"]["title"]["text"] for name, figure in figures.items()}
    assert "page_view is 92% of 5,420 events" in titles["event-types"]
    assert "1,015 events, at most 900 in 1 hour (Mon 13:00)" in titles["volume"]
    assert "reader-0042 leads with 77 events" in titles["top-users"]
    assert "Most reading: entertainment on tablet" in titles["device-category"]
    assert all("Mon 05 Jan 12:00 to Mon 05 Jan 16:00, UTC" in title for title in titles.values())


def test_a_long_title_is_wrapped_and_has_room() -> None:
    """A title or subtitle too long for a narrow chart takes lines, for which the chart has room."""
    short, long = theme.figure("Short", "data"), theme.figure("word " * 20, "of many words " * 20)
    title = long.layout.title.text

    assert short.layout.margin.t is None
    assert max(map(len, re.sub(r"</?(b|span[^>]*)>", "", title).split("<br>"))) <= 76
    assert theme.top_px(long) - theme.top_px(short) >= 24 * (title.count("<br>") - 1) > 0


@pytest.mark.parametrize("empty", [False, True])
def test_text_is_readable_from_the_back_of_a_room(empty: bool) -> None:
    """Text is at least 18 pixels, and a chart fits into a 720-pixel screen with JupyterLab."""
    busiest = answer(empty=True) if empty else ranking(list(range(120, 100, -1)))
    if not empty:
        busiest.frames[ADDED] = played(bot=[0, 5, 5, 0]).frames[ADDED]
        busiest.frames[AbTest.name] = arms(A=[100, 5], B=[100, 7]).frames[AbTest.name]
    figures = busiest.figures(tz="UTC")
    for figure in figures.values():
        found = sizes(json.loads(figure.to_json()))
        assert min(found, default=theme.TEXT_PX) >= 18
        assert figure.layout.template.layout.font.size >= 18
        assert (figure.layout.height or theme.HEIGHT_PX) <= 570
    if not empty:
        drawn = figures[TopReaders.name]
        assert len(drawn.data[0].y) == 20
        # A line each, and plotly must not shrink the numbers to the bars.
        bottom_px = theme.TEMPLATE.layout.margin.b
        assert (drawn.layout.height - theme.top_px(drawn) - bottom_px) / 20 >= 1.2 * 18
        assert drawn.data[0].constraintext == "none"


def test_text_has_contrast_wherever_it_stands() -> None:
    """Text has a contrast of at least 4.5 on paper and on every shade of the heatmap."""
    assert theme.contrast((27, 31, 36), (255, 255, 255)) > 15
    assert theme.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    for percent in range(101):
        colour = theme.shade(percent / 100)
        ink = theme.ink_on(colour)
        rgb = tuple(int(ink[i : i + 2], 16) for i in (1, 3, 5))
        assert theme.contrast(rgb, colour) >= 4.5, percent  # type: ignore[arg-type]


def test_slices_have_a_second_cue() -> None:
    """Slices differ in colour and in pattern, so they also differ in a grey print."""
    marker = answer().figures(tz="UTC")["event-types"].data[0].marker
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


def on_dark(colour: str) -> str:
    """A colour as a dark page shows it.

    Source: the CSS functions invert(1) and hue-rotate(180deg), Filter Effects Module Level 1.
    """
    red, green, blue = (1 - int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    grey = 2 * (0.213 * red + 0.715 * green + 0.072 * blue)
    turned = (min(1.0, max(0.0, grey - part)) for part in (red, green, blue))
    return "#" + "".join(f"{round(255 * part):02x}" for part in turned)


@pytest.mark.parametrize("kind", ["protan", "deutan"])
@pytest.mark.parametrize("look", [str, on_dark])
@pytest.mark.parametrize("colours", [theme.COLOURS, theme.SCENARIO_COLOURS, theme.ARM_COLOURS])
def test_colours_differ_for_people_who_see_fewer(
    colours: tuple[str, ...], look: Callable[[str], str], kind: str
) -> None:
    """The colours of a list stay distinct for people with colour blindness, in both themes."""
    seen = [
        [max(0.0, part) ** (1 / 2.2) for part in deficient(look(colour), kind)]
        for colour in colours
    ]
    assert min(math.dist(one, other) for one, other in combinations(seen, 2)) > 0.12


def test_colours_have_contrast_on_both_themes() -> None:
    """Every colour has a contrast of 3 on white and on a dark page, and text has 7."""
    for colour in (*theme.COLOURS, *theme.SCENARIO_COLOURS, *theme.ARM_COLOURS):
        assert theme.contrast(theme._rgb(colour), (255, 255, 255)) >= 3
        assert theme.contrast(theme._rgb(on_dark(colour)), (17, 17, 17)) >= 3
    assert theme.contrast(theme._rgb(on_dark(theme.INK)), (17, 17, 17)) >= 7


def test_the_time_axis_is_in_the_presenter_s_zone_and_says_so() -> None:
    """The axis shows times in the presenter's zone and names it."""
    figure = answer().figures(tz="Europe/Berlin")["volume"]
    assert str(figure.data[0].x[0]).startswith("2026-01-05T13:00")
    assert figure.layout.xaxis.title.text == "time (Europe/Berlin, UTC+01:00)"
    assert "(Mon 14:00)" in figure.layout.title.text

    zone = ZoneInfo("Asia/Kolkata")
    half_past = answer().figures(tz=zone)["volume"]
    assert str(half_past.data[0].x[0]).startswith("2026-01-05T17:30")


def test_no_hour_comes_twice_when_the_clocks_go_back() -> None:
    """A chart uses one offset, that of the window's end, and names it."""
    night = datetime(2026, 10, 24, 22, tzinfo=UTC)
    figure = over_time([5] * 6, bucket_s=3_600, since=night).figures(tz="Europe/Berlin")["volume"]
    before = over_time([5] * 2, bucket_s=3_600, since=night).figures(tz="Europe/Berlin")["volume"]
    hours = [pd.Timestamp(x) for x in figure.data[0].x]

    assert {after - hour for hour, after in pairwise(hours)} == {timedelta(hours=1)}
    assert figure.layout.xaxis.title.text == "time (Europe/Berlin, UTC+01:00)"
    assert "Sat 24 Oct 23:00 to Sun 25 Oct 05:00" in figure.layout.title.text
    assert before.layout.xaxis.title.text == "time (Europe/Berlin, UTC+02:00)"
    assert "Sun 25 Oct 00:00 to Sun 25 Oct 02:00" in before.layout.title.text


@pytest.fixture
def clock_zone(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """Set `TZ` for one test."""
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
    """A time zone without a name still has an offset."""
    figure = answer().figures()["volume"]
    assert figure.layout.xaxis.title.text == f"time ({name})"


@pytest.mark.parametrize("clock_zone", [":/etc/localtime"], indirect=True)
def test_a_zone_given_as_a_file_is_this_machine_s(clock_zone: str) -> None:
    """A zone given as a file path is that of this machine."""
    figure = answer().figures()["volume"]
    offset = SINCE.astimezone().utcoffset() or timedelta(0)
    assert pd.Timestamp(figure.data[0].x[0]) == pd.Timestamp(SINCE.replace(tzinfo=None)) + offset


def test_an_unknown_zone_is_told_by_name() -> None:
    """An unknown zone is a one-line error with its name."""
    with pytest.raises(ConfigError, match="unknown time zone 'Berlin'"):
        answer().figures(tz="Berlin")


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
    """Time labels are horizontal, with seconds or days depending on the window."""
    drawn = over_time([9] * buckets, bucket_s=bucket_s).figures(tz="UTC")["volume"]
    axis = drawn.layout.xaxis

    assert (axis.tickangle, axis.tickformat) == (0, format)
    assert axis.nticks <= 9  # of 75 px each, where the chart is 960 px wide


@pytest.mark.parametrize(("most", "step"), [(1, 1), (2, 1), (5, 1), (6, None), (900, None)])
def test_counts_have_whole_ticks(most: int, step: int | None) -> None:
    """Count axes have only whole numbers."""
    axis = over_time([0, most, 1], bucket_s=60).figures(tz="UTC")["volume"].layout.yaxis

    assert axis.dtick == step
    assert axis.nticks == 6
    assert axis.range[0] == 0
    assert axis.range[1] > most


def test_one_event_is_one() -> None:
    """Titles use the singular for one event."""
    ranked, one = ranking([1]), replace(over_time([1], bucket_s=3_600), count_error=1)
    one.frames[TopReaders.name] = ranked.frames[TopReaders.name]
    one.frames[EventTypes.name] = pd.DataFrame({"event_type": ["login"], "count": [1]})
    for name in (DeviceCategory.name, DeviceCategoryTable.name):
        one.frames[name]["count"] = [1] + [0] * 14
    for figure in one.figures(tz="UTC").values():
        written = figure.to_json()
        assert "1 event" in written
        assert "1 events" not in written


def test_a_bucket_that_is_alone_has_the_width_that_was_asked_for() -> None:
    """The axis shows a single bucket at its full width."""
    figure = over_time([7], bucket_s=3_600).figures(tz="UTC")["volume"]
    start, end = map(pd.Timestamp, figure.layout.xaxis.range)

    assert "7 events, at most 7 in 1 hour" in figure.layout.title.text
    assert figure.layout.yaxis.title.text == "events in 1 hour"
    assert end - start == timedelta(hours=1)


def test_counts_that_may_be_short_say_by_how_much() -> None:
    """Inexact counts name the maximum error; exact counts do not."""
    short = ranking([9, 7], count_error=1_234).figures(tz="UTC")["top-users"]
    exact = ranking([9, 7]).figures(tz="UTC")["top-users"]

    assert "a count may miss up to 1,234 events; Mon 05 Jan" in short.layout.title.text
    assert "miss" not in exact.layout.title.text


def test_an_empty_answer_gives_friendly_charts() -> None:
    """Empty charts say so, and name no control that a page or a room may lack."""
    for figure in answer(empty=True).figures(tz="UTC").values():
        assert "nothing yet" in figure.layout.title.text
        assert figure.layout.annotations[0].text == "No events in this window."
        assert len(figure.data) == 0


def test_without_a_scenario_volume_is_one_line() -> None:
    """Without a scenario, volume has one line and no legend."""
    figure = answer().figures(tz="UTC")["volume"]

    assert len(figure.data) == 1
    assert figure.data[0].stackgroup is None
    assert figure.layout.showlegend is None
    assert theme.top_px(figure) == theme.TEMPLATE.layout.margin.t


def test_what_a_scenario_adds_lies_on_top_and_is_named() -> None:
    """The parts add up to all events, and the title names the scenario."""
    added = {"breaking_news": [0, 700, 10, 0], "logout_wave": [0, 0, 20, 0]}
    drawn = played(**added).figures(tz="UTC")
    figure = drawn["volume"]

    assert [trace.name for trace in figure.data] == [
        "normal traffic",
        "breaking-news",
        "logout-wave",
    ]
    assert [list(trace.y) for trace in figure.data] == [[5, 200, 10, 70], *added.values()]
    assert {trace.stackgroup for trace in figure.data} == {"all"}
    assert figure.layout.showlegend
    assert figure.layout.yaxis.range[1] > 900
    assert "1,015 events, 730 of them by 2 scenarios" in figure.layout.title.text
    alone = played(bot=[0, 1, 2, 0]).figures(tz="UTC")["volume"]
    assert "1,015 events, 3 of them by bot" in alone.layout.title.text
    for name in ("event-types", "top-users", "device-category", "device-category-table"):
        assert "with 2 scenarios; Mon 05 Jan" in drawn[name].layout.title.text


def test_a_scenario_keeps_its_colour_whatever_plays_beside_it() -> None:
    """Each scenario has a fixed colour and pattern; unknown ones come last."""
    five = {name.replace("-", "_"): [1, 1, 1, 1] for name in (*ON_TOP, "flood")}
    together = played(**five).figures(tz="UTC")["volume"].data[1:]
    alone = played(logout_wave=[1, 1, 1, 1]).figures(tz="UTC")["volume"].data[1]

    assert [each.name for each in together] == [*ON_TOP, "flood"]
    assert alone.fillpattern == together[ON_TOP.index("logout-wave")].fillpattern


def busy() -> Answer:
    """Everything at once: long names, all event types and scenarios, and an A/B test."""
    four = {name.replace("-", "_"): [5, 700, 20, 30] for name in (*ON_TOP, "flood")}
    found = replace(played(**four), count_error=1_234)
    found.frames[EventTypes.name] = pd.DataFrame({"event_type": EVENT_TYPES, "count": 100})
    found.frames[AbTest.name] = arms(A=[9_000, 420, 90], B=[9_000, 420, 270]).frames[AbTest.name]
    names = ["bot", "", "comment-storm", *ON_TOP, "flood", "", ""]
    found.frames[TopReaders.name] = pd.DataFrame(
        {
            "user_id": [f"reader-tpa5s4c-{1_000 + place}" for place in range(len(names))],
            "count": [12_345 - 1_000 * place for place in range(len(names))],
            "scenario": names,
        }
    )
    return found


def looks(figure: go.Figure) -> Iterator[tuple[str, tuple[str, str]]]:
    """The colour and pattern of everything that a figure names."""
    for trace in figure.data:
        if trace.type == "pie":
            names = [re.sub(r"</?b>", "", label).split()[0] for label in trace.labels]
            yield from zip(
                names,
                zip(trace.marker.colors, trace.marker.pattern.shape, strict=True),
                strict=True,
            )
        elif trace.type == "bar":
            yield trace.name, (trace.marker.color, trace.marker.pattern.shape)
        elif trace.type == "scatter":
            pattern = trace.fillpattern
            color = pattern.bgcolor or trace.line.color
            yield trace.name, (color, pattern.shape or "")


def test_no_two_things_look_alike() -> None:
    """A colour and pattern means one thing, and a thing looks the same in every chart."""
    named: dict[str, set[tuple[str, str]]] = {}
    for figure in busy().figures(tz="UTC").values():
        for name, look in looks(figure):
            named.setdefault(name, set()).add(look)
    seen = [look for each in named.values() for look in each]

    assert set(named) == {*EVENT_TYPES, *ON_TOP, "flood", "normal traffic", "arm A", "arm B"}
    assert all(len(each) == 1 for each in named.values()), named
    assert len(set(seen)) == len(seen)
    assert not set(theme.SCENARIO_COLOURS) & set(theme.COLOURS)


def test_a_bar_that_a_scenario_made_is_set_off_and_named() -> None:
    """A reader that a scenario added has its colour from `volume`, which a legend names."""
    found = ranking([361, 12, 11])
    found.frames[TopReaders.name].loc[0, ["user_id", "scenario"]] = ["reader-bot", "bot"]
    drawn = found.figures(tz="UTC")["top-users"]
    crowd, bot = drawn.data
    plain = ranking([361, 12, 11]).figures(tz="UTC")["top-users"]
    beside = played(bot=[0, 1, 1, 0]).figures(tz="UTC")["volume"].data[1]

    assert "reader-bot leads with 361 events" in drawn.layout.title.text
    assert (crowd.name, bot.name) == ("normal traffic", "bot")
    assert (list(crowd.text), list(bot.text)) == (["12", "11"], ["361"])
    assert bot.marker.color == beside.fillpattern.bgcolor != crowd.marker.color
    assert list(drawn.layout.yaxis.categoryarray) == ["reader-bot", *crowd.y]
    assert drawn.layout.showlegend
    assert not plain.layout.showlegend
    assert plain.data[0].marker.color == theme.COLOURS[0]


def test_without_an_ab_test_there_is_no_chart_of_one() -> None:
    """The A/B chart exists only with a test, and is the last of six."""
    names = list(answer().figures(tz="UTC"))

    assert len(names) == 5
    assert list(arms(A=[10, 1], B=[10, 1]).figures(tz="UTC")) == [*names, "ab-test"]


def test_reactions_are_counted_by_page_view_and_arm() -> None:
    """Reactions are shown per view and arm; the title names the clearest difference."""
    figure = arms(A=[10_000, 470, 200], B=[20_000, 1_220, 430]).figures(tz="UTC")["ab-test"]
    arm_a, arm_b = figure.data

    assert "B has 6.1 likes per 100 views, A 4.7<" in figure.layout.title.text
    assert "views: A 10,000, B 20,000; Mon 05 Jan 12:00" in figure.layout.title.text
    assert tuple(arm_a.x) == REACTIONS
    assert list(arm_a.y) == [4.7, 2.0, 0]
    assert list(arm_b.y) == [6.1, 2.15, 0]
    assert list(arm_b.text) == ["6.1", "2.1", "0.0"]
    assert list(arm_b.customdata) == [1_220, 430, 0]
    assert "in 20,000 views" in arm_b.hovertemplate
    assert arm_a.marker.color != arm_b.marker.color
    assert arm_a.marker.pattern.shape != arm_b.marker.pattern.shape


@pytest.mark.parametrize(
    ("counts", "title"),
    [
        ({"A": [100, 4], "B": [100, 7]}, "B has 7.0 likes per 100 views, A 4.0: may be chance"),
        ({"A": [100, 0], "B": [100, 0]}, "A has 0.0 likes per 100 views, B 0.0: may be chance"),
        ({"A": [9_000, 400], "B": [9_000, 200]}, "A has 4.4 likes per 100 views, B 2.2<"),
        ({"A": [9_000, 400, 90], "B": [9_000, 420, 270]}, "B has 3.0 comments per 100 views, A 1"),
        ({"A": [1, 1], "B": [0, 3]}, "A has 100.0 likes per 100 views<"),
        (
            {"A": [9_000, 9], "B": [9_000, 90], "C": [9_000, 900]},
            "C has 10.0 likes per 100 views, A",
        ),
        ({"A": [0, 1], "B": [0, 0]}, "What the arms of the A/B test do: nothing yet"),
    ],
    ids=str,
)
def test_a_difference_that_may_be_chance_is_called_so(
    counts: dict[str, list[int]], title: str
) -> None:
    """Few views may be chance, and an arm without views has no rate."""
    figure = arms(**counts).figures(tz="UTC")["ab-test"]
    assert title in figure.layout.title.text


def test_values_that_the_model_does_not_have_are_shown_after_those_it_has() -> None:
    """Unknown values come last, with a separate colour and pattern, and in the totals."""
    found = answer()
    found.frames[EventTypes.name] = pd.DataFrame(
        {"event_type": [*EVENT_TYPES, "clap", "vote"], "count": 10}
    )
    grid = found.frames[DeviceCategory.name]
    grid.loc[len(grid)] = ["watch", "weather", 7_000]
    found.frames[DeviceCategoryTable.name] = grid
    figures = found.figures(tz="UTC")
    marker, heatmap = figures["event-types"].data[0].marker, figures["device-category"].data[0]
    looks = list(zip(marker.colors, marker.pattern.shape, strict=True))

    assert len(set(looks)) == len(looks) == len(EVENT_TYPES) + 2
    assert "Most reading: weather on watch" in figures["device-category"].layout.title.text
    assert (tuple(heatmap.x), tuple(heatmap.y)) == (
        (*DEVICE_TYPES, "watch"),
        (*CATEGORIES, "weather"),
    )
    assert heatmap.customdata[-1][-1] == 7_000
    assert heatmap.z[-1][-1] == heatmap.zmax == 1, "all of the weather is read on a watch"
    cells = figures["device-category-table"].data[0].cells["values"]
    assert cells[-1][-1] == f"<b>{grid['count'].sum():,}</b>"


def test_many_sections_stand_below_each_other() -> None:
    """Sections are rows, so that names and numbers of many fit."""
    found = answer()
    sections = [f"section-{letter}" for letter in "abcde"]
    pairs = [(device, name) for device in DEVICE_TYPES for name in (*CATEGORIES, *sections)]
    grid = pd.DataFrame(pairs, columns=list(DeviceCategory.fields))
    grid["count"] = range(len(grid))
    for name in (DeviceCategory.name, DeviceCategoryTable.name):
        found.frames[name] = grid
    figures = found.figures(tz="UTC")
    figure, table = figures[DeviceCategory.name], figures[DeviceCategoryTable.name]

    assert tuple(figure.data[0].y) == (*CATEGORIES, *sections)
    assert tuple(figure.data[0].x) == DEVICE_TYPES
    assert figure.layout.yaxis.title.text == "article_category"
    assert figure.layout.xaxis.title.text == "device_type"
    assert len(table.data[0].header["values"]) == 1 + len(DEVICE_TYPES) + 1
    assert len(table.data[0].cells["values"][0]) == len(CATEGORIES) + len(sections) + 1
    assert table.layout.height <= 570
    assert table.data[0].columnwidth[0] >= len("entertainment")
    assert table.data[0].cells.font.size >= 18


def test_a_small_pie_names_shares_and_keeps_the_counts_for_who_points_at_it() -> None:
    """A small pie moves its counts into the hover text; the original does not change."""
    found = answer()
    found.frames[EventTypes.name] = pd.DataFrame(
        {"event_type": ["login", "page_view"], "count": [1_000, 3_000]}
    )
    whole = found.figures()[EventTypes.name]
    (small,) = theme.compact(whole).data
    (large,) = whole.data
    assert list(large.labels) == [
        "<b>login</b>   1,000 · 25.0%",
        "<b>page_view</b>   3,000 · 75.0%",
    ]
    assert list(small.labels) == ["<b>login</b> 25.0%", "<b>page_view</b> 75.0%"]
    assert list(small.customdata) == list(large.labels)


def test_a_small_heatmap_writes_large_numbers_in_thousands() -> None:
    """A small heatmap shortens numbers above 999; the hover text has the full number."""
    counts = [999, 1_025, 14_268, 999_499, 999_500]
    found = answer()
    found.frames[DeviceCategory.name] = pd.DataFrame(
        {"device_type": "mobile", "article_category": list(CATEGORIES), "count": counts}
    )
    small = theme.compact(found.figures()[DeviceCategory.name])
    said = {each.text for each in small.layout.annotations}
    assert small.layout.title.text == "<b>Most reading: entertainment on mobile</b>"
    assert said >= {f"<b>{each}</b>" for each in ("999", "1.0k", "14k", "999k", "1.0M")}
    assert set(counts) <= {int(count) for row in small.data[0].customdata for count in row}


def test_values_from_outside_are_text() -> None:
    """Tags, control characters and long values become plain text of at most 24 characters."""
    hostile = '<a href="#">&\u202e' + "x" * 30_000
    found = arms(**{hostile: [100, 9, 5], "B": [100, 5, 3]})
    found.frames[ADDED] = played(**{hostile: [1, 2, 3, 4]}).frames[ADDED]
    found.frames[TopReaders.name] = pd.DataFrame(
        {"user_id": [hostile, "reader-1"], "count": [9, 5], "scenario": [hostile, ""]}
    )
    for name, figure in found.figures().items():
        drawn = json.dumps(json.loads(figure.to_json()), ensure_ascii=False)
        assert "<a" not in drawn
        assert "\u202e" not in drawn
        assert "x" * 24 not in drawn
        if name in (Volume.name, TopReaders.name, AbTest.name):
            assert "&lt;a href=" in drawn
            assert "&amp;" in drawn
