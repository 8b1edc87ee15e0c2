"""DataFrame → figure: one pure function a kind of chart, and one template for all.

Made for the back of a room: text of 18 pixels and more, dark on light, the whole chart in
560 pixels. Colours are Okabe and Ito's without the pale yellow, told apart by people who see
fewer colours, and never alone: labels stand beside, patterns and symbols lie on.

Source of the colours: Okabe and Ito 2008, "Color Universal Design".
"""

from __future__ import annotations

import os
from datetime import datetime, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go

from clickstream.specs import (
    DEVICE_CATEGORY,
    DEVICE_CATEGORY_TABLE,
    EVENT_TYPE,
    TOP_USERS,
    VOLUME,
    Spec,
)

INK: Final = "#1b1f24"
PAPER: Final = "#ffffff"
BLACK: Final = "#000000"
GRID: Final = "#d5dae0"
COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c")
"""On slices and lines; text on or beside them is `INK` or `PAPER`, whichever reads better."""
PATTERNS: Final = ("", "/", ".", "x", "-", "\\", "|")
SCALE: Final = ("#f2f6fa", "#c6dbec", "#8fbfdc", "#4a93c3", "#0b5a94")
"""Of the heatmap, light to dark."""
TEXT_PX: Final = 18
HEIGHT_PX: Final = 560

TEMPLATE: Final = go.layout.Template(
    layout={
        "font": {"family": "Helvetica, Arial, sans-serif", "size": TEXT_PX, "color": INK},
        "title": {"font": {"size": 24}, "x": 0, "xref": "container", "pad": {"l": 16}},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "height": HEIGHT_PX,
        "margin": {"l": 24, "r": 24, "t": 96, "b": 24},
        "colorway": COLOURS,
        "showlegend": False,
        "hoverlabel": {"font": {"size": TEXT_PX}},
        "xaxis": {"automargin": True, "gridcolor": GRID, "linecolor": INK, "ticks": "outside"},
        "yaxis": {"automargin": True, "gridcolor": GRID, "zeroline": False, "tickformat": ",d"},
    }
)


def draw(answer: Any, *, tz: tzinfo | str | None = None) -> dict[str, go.Figure]:
    """Draw every visualization of an answer (`queries.Answer`), by its name.

    Args:
        answer: has `frames`, `since` and `until`.
        tz: zone of the time axis; by default this machine's.
    """
    zone = _zone(tz)
    window = f"{_clock(answer.since, zone)} to {_clock(answer.until, zone)}, {_name(zone)}"
    frames = answer.frames
    return {
        EVENT_TYPE.name: pie(EVENT_TYPE, frames[EVENT_TYPE.name], window),
        VOLUME.name: line(VOLUME, frames[VOLUME.name], window, tz=zone),
        TOP_USERS.name: bar(TOP_USERS, frames[TOP_USERS.name], window),
        DEVICE_CATEGORY.name: heatmap(DEVICE_CATEGORY, frames[DEVICE_CATEGORY.name], window),
        DEVICE_CATEGORY_TABLE.name: table(
            DEVICE_CATEGORY_TABLE, frames[DEVICE_CATEGORY_TABLE.name], window
        ),
    }


def pie(spec: Spec, frame: pd.DataFrame, window: str = "") -> go.Figure:
    """Draw shares: columns `spec.fields[0]` and `count`, a slice a row."""
    total = int(frame["count"].sum())
    if total == 0:
        return _empty(spec, window)
    name = spec.fields[0]
    top = frame.loc[frame["count"].idxmax()]
    places = {value: place for place, value in enumerate(spec.values[0])}
    slots = [places.get(value, 0) % len(COLOURS) for value in frame[name]]
    title = f"{top[name]} is {top['count'] / total:.0%} of {total:,} events"
    figure = _figure(title, window)
    figure.add_pie(
        labels=[
            f"<b>{value}</b>   {count:,} · {count / total:.1%}"
            for value, count in zip(frame[name], frame["count"], strict=True)
        ],
        values=frame["count"],
        sort=False,
        direction="clockwise",
        hole=0.35,
        # Labels stand in the legend: beside slices as small as these they would overlap.
        textinfo="none",
        # The pattern is the second cue.
        marker={
            "colors": [COLOURS[slot] for slot in slots],
            "pattern": {
                "shape": [PATTERNS[slot] for slot in slots],
                "fgcolor": PAPER,
                "fillmode": "overlay",
            },
            "line": {"color": PAPER, "width": 2},
        },
        domain={"x": [0.0, 0.52]},
        hovertemplate="%{label}<extra></extra>",
    )
    figure.update_layout(
        showlegend=True,
        legend={"x": 0.58, "y": 0.5, "yanchor": "middle", "font": {"size": 20}},
    )
    return figure


def line(
    spec: Spec, frame: pd.DataFrame, window: str = "", *, tz: tzinfo | str | None = None
) -> go.Figure:
    """Draw counts over time: columns `timestamp` (aware) and `count`, a point a bucket."""
    if int(frame["count"].sum()) == 0:
        return _empty(spec, window)
    zone = _zone(tz)
    times = frame["timestamp"].dt.tz_convert(zone)
    peak = frame["count"].idxmax()
    width = _width(frame["timestamp"])
    title = (
        f"{int(frame['count'].sum()):,} events; most, {frame['count'][peak]:,} in {width}, at "
        f"{times[peak]:%a %H:%M}"
    )
    figure = _figure(title, window)
    figure.add_scatter(
        # Naive local times: plotly draws aware ones in UTC.
        x=times.dt.tz_localize(None),
        y=frame["count"],
        mode="lines+markers" if len(frame) <= 60 else "lines",
        line={"color": COLOURS[0], "width": 4},
        marker={"size": 9},
        fill="tozeroy",
        fillcolor="rgba(0, 114, 178, 0.15)",
        hovertemplate="%{x|%a %d %b %H:%M:%S}: %{y:,} events<extra></extra>",
    )
    figure.update_xaxes(title=f"time ({_name(zone)})", nticks=8)
    figure.update_yaxes(title=f"events in {width}", rangemode="tozero")
    return figure


def bar(spec: Spec, frame: pd.DataFrame, window: str = "") -> go.Figure:
    """Draw a ranking: columns `spec.fields[0]` and `count`, a bar a row, most on top."""
    if frame.empty:
        return _empty(spec, window)
    name = spec.fields[0]
    first, last = frame.iloc[0], frame.iloc[-1]
    title = f"{first[name]} leads with {first['count']:,} events"
    if len(frame) > 1:
        title += f"; number {len(frame)} has {last['count']:,}"
    figure = _figure(title, window)
    figure.add_bar(
        x=frame["count"],
        y=frame[name],
        orientation="h",
        text=[f"{count:,}" for count in frame["count"]],
        textposition="outside",
        textfont={"size": TEXT_PX, "color": INK},
        cliponaxis=False,
        marker={"color": COLOURS[0]},
        hovertemplate="%{y}: %{x:,} events<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", type="category", dtick=1, ticksuffix="  ")
    figure.update_xaxes(
        title="events", range=[0, float(frame["count"].max()) * 1.12], tickformat=",d"
    )
    # 26 pixels a bar keep labels of 18 apart; up to 16 bars fit the usual height.
    figure.update_layout(height=max(HEIGHT_PX, 150 + 26 * len(frame)))
    return figure


def heatmap(spec: Spec, frame: pd.DataFrame, window: str = "") -> go.Figure:
    """Draw a grid: columns `spec.fields` and `count`, a cell a row, the count in it."""
    if int(frame["count"].sum()) == 0:
        return _empty(spec, window)
    rows, columns = spec.fields
    grid = _pivot(spec, frame)
    top = frame.loc[frame["count"].idxmax()]
    title = f"Most reading: {top[columns]} on {top[rows]}, {top['count']:,} events"
    figure = _figure(title, window)
    most = int(grid.to_numpy().max())
    figure.add_heatmap(
        z=grid.to_numpy(),
        x=list(grid.columns),
        y=list(grid.index),
        colorscale=list(SCALE),
        # Both ends: plotly takes no notice of one alone, and the text's ink follows the shade.
        zmin=0,
        zmax=most,
        showscale=False,
        xgap=4,
        ygap=4,
        hovertemplate="%{y}, %{x}: %{z:,} events<extra></extra>",
    )
    for row in grid.index:
        for column in grid.columns:
            count = int(grid.loc[row, column])
            figure.add_annotation(
                x=column,
                y=row,
                text=f"<b>{count:,}</b>",
                showarrow=False,
                font={"size": 22, "color": ink_on(shade(count / most))},
            )
    figure.update_xaxes(side="bottom", showgrid=False, ticks="", title=columns)
    named = {"text": rows, "standoff": 20}
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="", title=named)
    return figure


def table(spec: Spec, frame: pd.DataFrame, window: str = "") -> go.Figure:
    """Write the same grid in numbers, with the totals of rows and columns."""
    if int(frame["count"].sum()) == 0:
        return _empty(spec, window)
    grid = _pivot(spec, frame)
    grid["total"] = grid.sum(axis=1)
    grid.loc["total"] = grid.sum(axis=0)
    names = [f"<b>{name}</b>" for name in grid.index]
    # A tag around every text: plotly sets tagged and plain ones at different heights.
    columns = [
        [
            f"<b>{count:,}</b>" if "total" in (row, column) else f"<span>{count:,}</span>"
            for row, count in grid[column].items()
        ]
        for column in grid.columns
    ]
    total = int(frame["count"].sum())
    figure = _figure(f"{total:,} events about an article, by device and section", window)
    stripes = [PAPER if row % 2 else SCALE[0] for row in range(len(grid))]
    figure.add_table(
        header={
            "values": ["", *(f"<b>{name}</b>" for name in grid.columns)],
            "align": ["left", *["right"] * len(grid.columns)],
            "fill": {"color": SCALE[4]},
            "font": {"color": PAPER, "size": TEXT_PX},
            "height": 44,
        },
        cells={
            "values": [names, *columns],
            "align": ["left", *["right"] * len(grid.columns)],
            "fill": {"color": [stripes]},
            "font": {"color": INK, "size": 20},
            "height": 44,
        },
    )
    figure.update_layout(height=150 + 46 * (len(grid) + 1))
    return figure


def shade(share: float) -> tuple[int, int, int]:
    """Give the heatmap's colour for a share of the highest count, as red, green, blue."""
    steps = [tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5)) for colour in SCALE]
    place = share * (len(steps) - 1)
    low = min(int(place), len(steps) - 2)
    part = place - low
    red, green, blue = (
        round(a + (b - a) * part) for a, b in zip(steps[low], steps[low + 1], strict=True)
    )
    return red, green, blue


def ink_on(colour: tuple[int, int, int]) -> str:
    """Choose black or white text, whichever has more contrast: 4.58 at least, on any colour."""
    dark, light = (contrast(_rgb(text), colour) for text in (BLACK, PAPER))
    return BLACK if dark >= light else PAPER


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """Work out the contrast of two colours, 1 to 21.

    Source: WCAG 2.2, definitions of contrast ratio and relative luminance.
    """
    lower, higher = sorted((_luminance(one), _luminance(other)))
    return (higher + 0.05) / (lower + 0.05)


def _luminance(colour: tuple[int, int, int]) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _figure(title: str, window: str) -> go.Figure:
    text = f"<b>{title}</b>"
    if window:
        text += f'<br><span style="font-size:{TEXT_PX}px">{window}</span>'
    return go.Figure(layout={"template": TEMPLATE, "title": {"text": text}})


def _empty(spec: Spec, window: str) -> go.Figure:
    figure = _figure(f"{spec.title}: nothing yet", window)
    figure.add_annotation(
        text="No events fit this question. Produce some, or widen the window.",
        xref="paper",
        yref="paper",
        x=0.5,
        y=0.5,
        showarrow=False,
        font={"size": 22},
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def _pivot(spec: Spec, frame: pd.DataFrame) -> pd.DataFrame:
    rows, columns = spec.fields
    grid = frame.pivot_table(index=rows, columns=columns, values="count", aggfunc="sum")
    order = [list(values) for values in spec.values]
    return grid.reindex(index=order[0], columns=order[1]).fillna(0).astype("int64")


def _width(times: pd.Series[Any]) -> str:
    if len(times) < 2:
        return "one bucket"
    seconds = int((times.iloc[1] - times.iloc[0]).total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds % length == 0:
            count = seconds // length
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} second{'s' if seconds > 1 else ''}"


def _zone(tz: tzinfo | str | None) -> tzinfo:
    if isinstance(tz, str):
        return ZoneInfo(tz)
    if tz is not None:
        return tz
    if name := os.environ.get("TZ"):
        return ZoneInfo(name.removeprefix(":"))
    link = os.path.realpath("/etc/localtime")
    if "zoneinfo/" in link:
        return ZoneInfo(link.split("zoneinfo/")[1])
    local = datetime.now().astimezone().tzinfo
    assert local is not None  # astimezone always sets one
    return local


def _name(zone: tzinfo) -> str:
    return str(zone).removeprefix("Etc/")


def _clock(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%a %d %b %H:%M}"
