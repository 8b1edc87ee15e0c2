"""Charts: the numbers of their table, readable from the back of a room."""

import json
from datetime import UTC, datetime, timedelta
from itertools import combinations
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from clickstream import charts
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
    return SimpleNamespace(frames=frames, since=SINCE, until=SINCE + timedelta(hours=4))


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
    assert "1,015 events; most, 900 in 1 hour, at Mon 13:00" in titles["volume"]
    assert "reader-0042 leads with 77 events" in titles["top-users"]
    assert "Most reading: entertainment on tablet" in titles["device-category"]
    assert all("Mon 05 Jan 12:00 to Mon 05 Jan 16:00, UTC" in title for title in titles.values())


@pytest.mark.parametrize("empty", [False, True])
def test_text_is_readable_from_the_back_of_a_room(empty: bool) -> None:
    """18 pixels and more everywhere, and the whole chart within 720."""
    for figure in charts.draw(answer(empty=empty), tz="UTC").values():
        found = sizes(json.loads(figure.to_json()))
        assert min(found, default=charts.TEXT_PX) >= 18
        assert figure.layout.template.layout.font.size >= 18
        assert (figure.layout.height or charts.HEIGHT_PX) <= 640


def test_text_has_contrast_wherever_it_stands() -> None:
    """4.5 to 1 and more, on paper and on every shade of the heatmap."""
    assert charts.contrast((27, 31, 36), (255, 255, 255)) > 15
    assert charts.contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    for percent in range(101):
        colour = charts.shade(percent / 100)
        ink = charts.ink_on(colour)
        rgb = tuple(int(ink[i : i + 2], 16) for i in (1, 3, 5))
        assert charts.contrast(rgb, colour) >= 4.5, percent  # type: ignore[arg-type]


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
    seen = [deficient(colour, kind) for colour in charts.COLOURS]
    for one, other in combinations(seen, 2):
        assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 0.04


def test_the_time_axis_is_in_the_presenter_s_zone_and_says_so() -> None:
    """Noon UTC is one o'clock in Berlin in winter."""
    figure = charts.draw(answer(), tz="Europe/Berlin")["volume"]
    assert str(figure.data[0].x[0]).startswith("2026-01-05T13:00")
    assert figure.layout.xaxis.title.text == "time (Europe/Berlin)"
    assert "at Mon 14:00" in figure.layout.title.text

    zone = ZoneInfo("Asia/Kolkata")
    half_past = charts.draw(answer(), tz=zone)["volume"]
    assert str(half_past.data[0].x[0]).startswith("2026-01-05T17:30")


def test_an_empty_answer_gives_friendly_charts() -> None:
    """Each says that nothing is there yet and what to do."""
    for figure in charts.draw(answer(empty=True), tz="UTC").values():
        assert "nothing yet" in figure.layout.title.text
        assert "Produce some" in figure.layout.annotations[0].text
        assert len(figure.data) == 0
