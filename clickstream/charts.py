"""DataFrame → figure: one pure function a kind of chart, in the look of `look.py`."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go

from clickstream import look
from clickstream.errors import ConfigError
from clickstream.specs import (
    DEVICE_CATEGORY,
    DEVICE_CATEGORY_TABLE,
    EVENT_TYPE,
    TOP_USERS,
    VOLUME,
    Spec,
)


def draw(answer: Any, *, tz: tzinfo | str | None = None) -> dict[str, go.Figure]:
    """Draw every visualization of an answer (`queries.Answer`), by its name.

    Args:
        answer: has `frames`, `since`, `until`, `bucket_s` and `count_error`.
        tz: zone of the times; by default this machine's. Its offset at the end of the window
            holds for all of it, so that no hour comes twice when the clocks go back.

    Raises:
        ConfigError: no such zone.
    """
    zone = _fixed(tz, answer.until)
    clock = "%a %d %b " + _clock(with_seconds=answer.until - answer.since < timedelta(minutes=10))
    since, until = (f"{at.astimezone(zone):{clock}}" for at in (answer.since, answer.until))
    window = f"{since} to {until}, {zone}"
    frames = answer.frames
    return {
        EVENT_TYPE.name: pie(EVENT_TYPE, frames[EVENT_TYPE.name], window),
        VOLUME.name: line(VOLUME, frames[VOLUME.name], window, bucket_s=answer.bucket_s, zone=zone),
        TOP_USERS.name: bar(
            TOP_USERS, frames[TOP_USERS.name], window, count_error=answer.count_error
        ),
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
    slots = [places.get(value, 0) for value in frame[name]]
    title = f"{top[name]} is {top['count'] / total:.0%} of {_events(total)}"
    figure = look.figure(title, window)
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
            "colors": [look.colour(slot) for slot in slots],
            "pattern": {
                # A colour that comes again has another pattern.
                "shape": [
                    look.PATTERNS[(slot + slot // len(look.COLOURS)) % len(look.PATTERNS)]
                    for slot in slots
                ],
                "fgcolor": look.PAPER,
                "fillmode": "overlay",
            },
            "line": {"color": look.PAPER, "width": 2},
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
    spec: Spec, frame: pd.DataFrame, window: str = "", *, bucket_s: int, zone: timezone = UTC
) -> go.Figure:
    """Draw counts over time: columns `timestamp` (aware) and `count`, a point a bucket."""
    total = int(frame["count"].sum())
    if total == 0:
        return _empty(spec, window)
    # Naive local times: plotly draws aware ones in UTC.
    times = frame["timestamp"].dt.tz_convert(zone).dt.tz_localize(None)
    most, peak = int(frame["count"].max()), times[frame["count"].idxmax()]
    width, span_s = _width(bucket_s), bucket_s * len(frame)
    at = f"{peak:%a {_clock(with_seconds=bucket_s < 60)}}"
    figure = look.figure(f"{_events(total)}, at most {most:,} in {width} ({at})", window)
    figure.add_scatter(
        x=times,
        y=frame["count"],
        mode="lines+markers" if len(frame) <= 60 else "lines",
        line={"color": look.COLOURS[0], "width": 4},
        marker={"size": 9},
        cliponaxis=False,
        fill="tozeroy",
        fillcolor="rgba(0, 114, 178, 0.15)",
        hovertemplate="%{x|%a %d %b %H:%M:%S}, events: %{y:,}<extra></extra>",
    )
    # A second line names the day, where there is more than one, at its first tick.
    ticks = _clock(with_seconds=span_s < 600) + ("\n%a %d" if span_s > 86_400 else "")
    # Left to itself plotly shows a second or so around a bucket that is alone.
    end = max(times.iloc[-1], times.iloc[0] + timedelta(seconds=bucket_s))
    figure.update_xaxes(
        title=f"time ({zone})",
        range=[times.iloc[0], end],
        tickformat=ticks,
        tickangle=0,
        nticks=9,
    )
    figure.update_yaxes(
        title=f"events in {width}",
        range=[0, most * 1.08],
        nticks=6,
        # Left to itself plotly steps by halves here, and none of these is a count.
        dtick=1 if most < 6 else None,
    )
    return figure


def bar(spec: Spec, frame: pd.DataFrame, window: str = "", *, count_error: int = 0) -> go.Figure:
    """Draw a ranking: columns `spec.fields[0]` and `count`, a bar a row, most on top.

    A count may miss up to `count_error` events; where it may, the chart says so.
    """
    if frame.empty:
        return _empty(spec, window)
    name = spec.fields[0]
    first, last = frame.iloc[0], frame.iloc[-1]
    title = f"{first[name]} leads with {_events(first['count'])}"
    if len(frame) > 1:
        title += f"; number {len(frame)} has {last['count']:,}"
    if count_error:
        window = f"a count may miss up to {_events(count_error)}; {window}"
    figure = look.figure(title, window)
    figure.add_bar(
        x=frame["count"],
        y=frame[name],
        orientation="h",
        text=[f"{count:,}" for count in frame["count"]],
        textposition="outside",
        constraintext="none",  # or plotly shrinks it to the height of its bar
        textfont={"size": look.TEXT_PX, "color": look.INK},
        cliponaxis=False,
        marker={"color": look.COLOURS[0]},
        hovertemplate="%{y}, events: %{x:,}<extra></extra>",
    )
    # Room for six, so that one or two do not become blocks.
    places = [max(len(frame), 6) - 0.5, -0.5]
    figure.update_yaxes(range=places, type="category", dtick=1)
    # Every bar has its number, so there is no axis, and room for 20 in the usual height.
    figure.update_xaxes(visible=False, range=[0, int(first["count"]) * 1.12])
    figure.update_layout(height=max(look.HEIGHT_PX, 120 + 22 * len(frame)))
    return figure


def heatmap(spec: Spec, frame: pd.DataFrame, window: str = "") -> go.Figure:
    """Draw a grid: columns `spec.fields` and `count`, a cell a row, the count in it."""
    if int(frame["count"].sum()) == 0:
        return _empty(spec, window)
    rows, columns = spec.fields
    grid = _pivot(spec, frame)
    top = frame.loc[frame["count"].idxmax()]
    title = f"Most reading: {top[columns]} on {top[rows]}, {_events(top['count'])}"
    figure = look.figure(title, window)
    most = int(grid.to_numpy().max())
    figure.add_heatmap(
        z=grid.to_numpy(),
        x=list(grid.columns),
        y=list(grid.index),
        colorscale=list(look.SCALE),
        # Both ends: plotly takes no notice of one alone, and the text's ink follows the shade.
        zmin=0,
        zmax=most,
        showscale=False,
        xgap=4,
        ygap=4,
        hovertemplate="%{y}, %{x}, events: %{z:,}<extra></extra>",
    )
    for row in grid.index:
        for column in grid.columns:
            count = int(grid.loc[row, column])
            figure.add_annotation(
                x=column,
                y=row,
                text=f"<b>{count:,}</b>",
                showarrow=False,
                font={"size": 22, "color": look.ink_on(look.shade(count / most))},
            )
    figure.update_xaxes(side="bottom", showgrid=False, ticks="", title=columns)
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="", title=rows)
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
    figure = look.figure(f"{_events(total)} about an article, by device and section", window)
    stripes = [look.PAPER if row % 2 else look.SCALE[0] for row in range(len(grid))]
    figure.add_table(
        columnwidth=[max(8, len(column)) for column in ("", *grid.columns)],
        header={
            "values": ["", *(f"<b>{name}</b>" for name in grid.columns)],
            "align": ["left", *["right"] * len(grid.columns)],
            "fill": {"color": look.SCALE[4]},
            "font": {"color": look.PAPER, "size": look.TEXT_PX},
            "height": 44,
        },
        cells={
            "values": [names, *columns],
            "align": ["left", *["right"] * len(grid.columns)],
            "fill": {"color": [stripes]},
            "font": {"color": look.INK, "size": 20},
            "height": 44,
        },
    )
    figure.update_layout(height=150 + 46 * (len(grid) + 1))
    return figure


def _empty(spec: Spec, window: str) -> go.Figure:
    figure = look.figure(f"{spec.title}: nothing yet", window)
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


def _events(count: int) -> str:
    return f"{count:,} event{'' if count == 1 else 's'}"


def _width(seconds: int) -> str:
    units = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    unit, length = next(each for each in units if seconds % each[1] == 0)
    count = seconds // length
    return f"{count} {unit}{'' if count == 1 else 's'}"


def _clock(*, with_seconds: bool) -> str:
    return "%H:%M:%S" if with_seconds else "%H:%M"


def _fixed(tz: tzinfo | str | None, at: datetime) -> timezone:
    """Give the zone's offset at a moment, named after both."""
    zone = _zone(tz)
    offset = at.astimezone(zone).utcoffset() or timedelta(0)
    name = getattr(zone, "key", "UTC").removeprefix("Etc/")
    return timezone(offset) if name == "UTC" else timezone(offset, f"{name}, {timezone(offset)}")


def _zone(tz: tzinfo | str | None) -> tzinfo | None:
    """Find the zone; None is this machine's where it has an offset but no name."""
    if isinstance(tz, tzinfo):
        return tz
    link = os.path.realpath("/etc/localtime").rpartition("zoneinfo/")[2]
    name = tz or os.environ.get("TZ", "").removeprefix(":") or link
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        if tz is None:
            return None
        msg = f"no time zone {tz!r}; name one such as Europe/Berlin, or UTC"
        raise ConfigError(msg) from error
