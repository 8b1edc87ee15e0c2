"""DataFrame → figure: one pure function a kind of chart, in the look of `theme.py`."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go

from clickstream.charts import specs, theme
from clickstream.charts.specs import Spec
from clickstream.errors import ConfigError
from clickstream.events import REACTIONS


def draw(answer: Any, *, tz: tzinfo | str | None = None) -> dict[str, go.Figure]:
    """Draw every visualization of an answer (`queries.Answer`), by its name.

    All but one are always there, and say so where they have nothing to show. That of an A/B
    test is the last, and there when the window has events of one.

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
    frames, added = answer.frames, answer.frames[specs.VOLUME_SCENARIOS]
    # What counts everything says whose events are among it; the line's own title does.
    mixed = f"with {_scenarios(added)}; {window}" if len(added) else window
    # Without a test there is no such chart: the advice to produce some events would be wrong,
    # and who never started one would have to explain it, among the dials and as a file.
    shown = [spec for spec in specs.SPECS if spec.kind != "rates" or len(frames[spec.name])]
    more: dict[str, dict[str, Any]] = {
        "line": {"window": window, "top": added, "bucket_s": answer.bucket_s, "zone": zone},
        "bar": {"window": mixed, "count_error": answer.count_error},
        "rates": {"window": window},
    }
    how = {spec.name: more.get(spec.kind, {"window": mixed}) for spec in shown}
    return {s.name: _KINDS[s.kind](s, frames[s.name], **how[s.name]) for s in shown}


def pie(spec: Spec, frame: pd.DataFrame, window: str = "") -> go.Figure:
    """Draw shares: columns `spec.fields[0]` and `count`, a slice a row."""
    total = int(frame["count"].sum())
    if total == 0:
        return _empty(spec, window)
    name = spec.fields[0]
    top = frame.loc[frame["count"].idxmax()]
    slots = [spec.order(0, frame[name]).index(value) for value in frame[name]]
    figure = theme.figure(f"{top[name]} is {top['count'] / total:.0%} of {_count(total)}", window)
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
        marker={
            "colors": [theme.colour(slot) for slot in slots],
            "pattern": _pattern([theme.pattern(slot) for slot in slots]),
            "line": {"color": theme.PAPER, "width": 2},
        },
        domain={"x": [0.0, 0.52]},
        hovertemplate="%{label}<extra></extra>",
    )
    legend = {"x": 0.58, "y": 0.5, "yanchor": "middle", "font": {"size": 20}}
    figure.update_layout(showlegend=True, legend=legend)
    return figure


def line(
    spec: Spec, frame: pd.DataFrame, window: str, *, top: pd.DataFrame, bucket_s: int, zone: tzinfo
) -> go.Figure:
    """Draw counts over time: columns `timestamp` (aware) and `count`, a point a bucket.

    What scenarios added lies on `top` (columns `timestamp`, `scenario`, `count`; a part of the
    count), an area each; without any there is one line and no legend.
    """
    total = int(frame["count"].sum())
    if total == 0:
        return _empty(spec, window)
    # Naive local times: plotly draws aware ones in UTC.
    times = frame["timestamp"].dt.tz_convert(zone).dt.tz_localize(None)
    most, peak = int(frame["count"].max()), times[frame["count"].idxmax()]
    width, span_s = _width(bucket_s), bucket_s * len(frame)
    at = f"{peak:%a {_clock(with_seconds=bucket_s < 60)}}"
    title = f"{_count(total)}, at most {most:,} in {width} ({at})"
    parts = {name: part.to_numpy() for name, part in top.groupby("scenario")["count"]}
    if parts:
        title = f"{_count(total)}, {top['count'].sum():,} of them by {_scenarios(top)}"
    figure = theme.figure(title, window)
    figure.add_scatter(
        x=times,
        y=frame["count"] - sum(parts.values()),
        mode="lines+markers" if len(frame) <= 60 else "lines",
        line={"color": theme.COLOURS[0], "width": 4},
        marker={"size": 9},
        cliponaxis=False,
        fill="tozeroy",
        fillcolor="rgba(0, 114, 178, 0.15)",
        hovertemplate="%{x|%a %d %b %H:%M:%S}, events: %{y:,}<extra></extra>",
    )
    if parts:
        _lay_on(figure, spec, parts, times)
    # A second line names the day, where there is more than one, at its first tick.
    ticks = _clock(with_seconds=span_s < 600) + ("\n%a %d" if span_s > 86_400 else "")
    # Left to itself plotly shows a second or so around a bucket that is alone.
    end = max(times.iloc[-1], times.iloc[0] + timedelta(seconds=bucket_s))
    span = [times.iloc[0], end]
    figure.update_xaxes(title=f"time ({zone})", range=span, tickformat=ticks, tickangle=0, nticks=9)
    # Left to itself plotly steps by halves where counts are few, and none of these is one.
    step = 1 if most < 6 else None
    figure.update_yaxes(title=f"events in {width}", range=[0, most * 1.08], nticks=6, dtick=step)
    return figure


def _lay_on(figure: go.Figure, spec: Spec, parts: dict[str, Any], times: pd.Series) -> None:
    """Lay what scenarios added on the line of normal traffic, and name all in a legend."""
    for_all = "%{y:,}"  # the box at a moment names them, and the moment
    figure.update_traces(name="normal traffic", stackgroup="all", hovertemplate=for_all)
    for place, name in enumerate(spec.order(1, parts), 1):
        if name not in parts:
            continue
        figure.add_scatter(
            x=times,
            y=parts[name],
            name=name,
            # A line would hide the one below wherever the scenario adds nothing.
            mode="none" if len(times) > 1 else "markers",
            marker={"size": 12, "color": theme.colour(place), "symbol": place},
            stackgroup="all",
            fillpattern={"bgcolor": theme.colour(place)} | _pattern(theme.pattern(place)),
            cliponaxis=False,
            hovertemplate=for_all,
        )
    figure.update_layout(hovermode="x unified", xaxis_hoverformat="%a %d %b %H:%M:%S")
    _legend(figure)


_OUTSIDE: Final = {"textposition": "outside", "constraintext": "none", "cliponaxis": False}
"""Of numbers beside bars: else plotly shrinks them to the width of these, or cuts them."""


def _pattern(shape: str | list[str]) -> dict[str, Any]:
    """Give the second cue of a slice, an area or a bar: light on its colour."""
    return {"shape": shape, "fgcolor": theme.PAPER, "fillmode": "overlay"}


def _legend(figure: go.Figure) -> None:
    """Put a legend in a line of its own between title and chart."""
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}
    # The title stays where it is in a chart without one.
    title = {"y": 1 - theme.TEMPLATE.layout.margin.t / 2 / theme.HEIGHT_PX, "yanchor": "middle"}
    figure.update_layout(showlegend=True, legend=legend, title=title, margin={"t": 140})


def bar(spec: Spec, frame: pd.DataFrame, window: str = "", *, count_error: int = 0) -> go.Figure:
    """Draw a ranking: columns `spec.fields[0]`, `count`, `scenario`; a bar a row, most on top.

    A bar that a scenario made has its name and its colour, those of everyone else are alike.
    A count may miss up to `count_error` events; where it may, the chart says so.
    """
    if frame.empty:
        return _empty(spec, window)
    name = spec.fields[0]
    first, last = frame.iloc[0], frame.iloc[-1]
    title = f"{first[name]} leads with {_count(first['count'])}"
    title += f"; number {len(frame)} has {last['count']:,}" if len(frame) > 1 else ""
    if count_error:
        window = f"a count may miss up to {_count(count_error)}; {window}"
    order = ["", *spec.order(1, set(frame["scenario"]) - {""})]
    slots = [order.index(scenario) for scenario in frame["scenario"]]
    figure = theme.figure(title, window)
    figure.add_bar(
        x=frame["count"],
        y=frame[name],
        orientation="h",
        text=[
            f"{count:,}, {scenario}" if scenario else f"{count:,}"
            for count, scenario in zip(frame["count"], frame["scenario"], strict=True)
        ],
        textfont={"size": theme.TEXT_PX, "color": theme.INK},
        marker={
            "color": [theme.colour(slot) for slot in slots],
            "pattern": _pattern([theme.pattern(slot) for slot in slots]),
        },
        hovertemplate="%{y}, events: %{x:,}<extra></extra>",
        **_OUTSIDE,
    )
    # Room for six, so that one or two do not become blocks.
    places = [max(len(frame), 6) - 0.5, -0.5]
    figure.update_yaxes(range=places, type="category", dtick=1)
    # Every bar has its number, so there is no axis, and room for 20 in the usual height.
    room = 1.36 if any(slots) else 1.12
    figure.update_xaxes(visible=False, range=[0, int(first["count"]) * room])
    figure.update_layout(height=max(theme.HEIGHT_PX, 120 + 22 * len(frame)))
    return figure


def heatmap(spec: Spec, frame: pd.DataFrame, window: str = "") -> go.Figure:
    """Draw a grid: columns `spec.fields` and `count`, a cell a row, the count in it."""
    if int(frame["count"].sum()) == 0:
        return _empty(spec, window)
    rows, columns = spec.fields
    grid = _upright(_pivot(spec, frame))
    top = frame.loc[frame["count"].idxmax()]
    seen = f"{top[columns]} on {top[rows]}, {_count(top['count'])}"
    figure = theme.figure(f"Most reading: {seen}", window)
    most = int(grid.to_numpy().max())
    figure.add_heatmap(
        z=grid.to_numpy(),
        x=list(grid.columns),
        y=list(grid.index),
        colorscale=list(theme.SCALE),
        # Both ends: plotly takes no notice of one alone, and the text's ink follows the shade.
        **{"zmin": 0, "zmax": most, "showscale": False, "xgap": 4, "ygap": 4},
        hovertemplate="%{y}, %{x}, events: %{z:,}<extra></extra>",
    )
    for row in grid.index:
        for column in grid.columns:
            count = int(grid.loc[row, column])
            font = {"size": 22, "color": theme.ink_on(theme.shade(count / most))}
            text = f"<b>{count:,}</b>"
            figure.add_annotation(x=column, y=row, text=text, showarrow=False, font=font)
    figure.update_xaxes(side="bottom", showgrid=False, ticks="", title=grid.columns.name)
    figure.update_yaxes(autorange="reversed", showgrid=False, ticks="", title=grid.index.name)
    return figure


def table(spec: Spec, frame: pd.DataFrame, window: str = "") -> go.Figure:
    """Write the same grid in numbers, with the totals of rows and columns."""
    total = int(frame["count"].sum())
    if total == 0:
        return _empty(spec, window)
    grid = _upright(_pivot(spec, frame))
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
    figure = theme.figure(f"{_count(total)} about an article, by device and section", window)
    stripes = [theme.PAPER if row % 2 else theme.SCALE[0] for row in range(len(grid))]
    size, row_px = (20, 46) if len(grid) <= 8 else (theme.TEXT_PX, 37)
    every = {"align": ["left", *["right"] * len(grid.columns)], "height": row_px - 2}
    figure.add_table(
        columnwidth=[max(8, len(column)) for column in (max(grid.index, key=len), *grid.columns)],
        header={
            **every,
            "values": ["", *(f"<b>{name}</b>" for name in grid.columns)],
            "fill": {"color": theme.SCALE[4]},
            "font": {"color": theme.PAPER, "size": theme.TEXT_PX},
        },
        cells={
            **every,
            "values": [names, *columns],
            "fill": {"color": [stripes]},
            "font": {"color": theme.INK, "size": size},
        },
    )
    figure.update_layout(height=120 + row_px * (len(grid) + 1))
    return figure


def rates(spec: Spec, frame: pd.DataFrame, window: str = "") -> go.Figure:
    """Draw reactions in 100 page views, arm beside arm: columns `spec.fields` and `count`.

    An arm without a view has no rate, and no bars.
    """
    grid = _pivot(spec, frame)
    grid = grid[grid["page_view"] > 0]
    if grid.empty:
        return _empty(spec, window)
    views, counts = grid["page_view"], grid[list(REACTIONS)]
    shares = counts.mul(100).div(views, axis=0)
    by_arm = ", ".join(f"{arm} {count:,}" for arm, count in views.items())
    figure = theme.figure(_difference(counts, views), f"views: {by_arm}; {window}")
    for slot, arm in enumerate(shares.index):
        figure.add_bar(
            x=list(shares.columns),
            y=shares.loc[arm],
            name=f"arm {arm}",
            text=[f"<b>{arm}</b> {share:.1f}" for share in shares.loc[arm]],
            textfont={"size": 22, "color": theme.INK},
            textangle=0,
            marker={"color": theme.colour(slot), "pattern": _pattern(theme.pattern(slot))},
            customdata=counts.loc[arm],
            hovertemplate=f"{arm}, %{{x}}: %{{customdata:,}} in {_count(views[arm], 'view')}"
            "<extra></extra>",
            **_OUTSIDE,
        )
    most = max(1.0, shares.to_numpy().max() * 1.12)
    figure.update_yaxes(title="in 100 page views", range=[0, most], nticks=6, tickformat="~g")
    _legend(figure)
    return figure


def _difference(counts: pd.DataFrame, views: pd.Series) -> str:
    """Say in which reaction two arms differ most surely, and if that may be chance."""
    seen = []
    for reaction in counts.columns:
        share = (counts[reaction] / views).sort_values(ascending=False, kind="stable")
        high, low = share.index[0], share.index[-1]
        # As if every reaction came by itself: the variance of a count is the count.
        error = (share[high] / views[high] + share[low] / views[low]) ** 0.5
        sigmas = (share[high] - share[low]) / error if error else 0.0
        seen.append((sigmas, counts[reaction].sum(), reaction, high, low, share))
    sigmas, _, reaction, high, low, share = max(seen, key=lambda each: each[:2])
    title = f"{high} has {100 * share[high]:.1f} {reaction}s in 100 views"
    if len(views) == 1:
        return title
    title += f", {low} {100 * share[low]:.1f}"
    # The greatest of three differences is beyond 2.4 by chance once in twenty times.
    return title if sigmas > 2.4 else f"{title}: may be chance"


def _empty(spec: Spec, window: str) -> go.Figure:
    figure = theme.figure(f"{spec.title}: nothing yet", window)
    text = "No events fit this question.<br>Produce some,<br>or widen the window."
    middle = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False}
    figure.add_annotation(text=text, font={"size": 22}, **middle)
    figure.update_layout(xaxis_visible=False, yaxis_visible=False)
    return figure


def _pivot(spec: Spec, frame: pd.DataFrame) -> pd.DataFrame:
    rows, columns = spec.fields
    grid = frame.pivot_table(index=rows, columns=columns, values="count", aggfunc="sum")
    order = [spec.order(place, frame[name]) for place, name in enumerate(spec.fields)]
    return grid.reindex(index=order[0], columns=order[1]).fillna(0).astype("int64")


def _upright(grid: pd.DataFrame) -> pd.DataFrame:
    """Turn a grid that is too wide for its numbers: there is room for more rows than columns."""
    return grid if len(grid.columns) <= max(7, len(grid)) else grid.T


def _scenarios(added: pd.DataFrame) -> str:
    """Name the scenario that adds, or say how many there are: names of more fill the line."""
    names = list(added["scenario"].unique())
    return names[0] if len(names) == 1 else f"{len(names)} scenarios"


def _count(count: int, noun: str = "event") -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _width(seconds: int) -> str:
    units = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    unit, length = next(each for each in units if seconds % each[1] == 0)
    return _count(seconds // length, unit)


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


_KINDS: Final = {kind.__name__: kind for kind in (pie, line, bar, heatmap, table, rates)}
