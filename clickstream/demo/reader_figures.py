"""Charts of simulated readers and scenarios, without a server, as a preview for presenters.

Each function turns events into a figure in the style of `theme.py`. The package `charts` draws the
answers of OpenSearch.
"""

from __future__ import annotations

import math
from textwrap import wrap
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.demo.rehearsal import LEAD_MS
from clickstream.events import CATEGORIES, DEVICE_TYPES, REACTIONS
from clickstream.simulation import scenarios
from clickstream.simulation.articles import DAY_MS, HOUR_MS, MINUTE_MS

_BAR_MS: Final = 10_000
_HALVES: Final = ("on weekdays", "at the weekend")
_APART: Final = 26
"""Hours between the starts of the two halves of the chart."""


def session(events: pd.DataFrame) -> go.Figure:
    """Draw one session as a timeline: pages as bars, reactions as marks, login, logout as lines.

    Without a logout the reading time of the last page is unknown: its bar ends with the last event
    and says so. `events` has the form of `tabulate`; a session without pages has no bars.
    """
    pages = events[events["event_type"] == "page_view"]
    if pages.empty:
        return theme.empty("No page views")
    first, last = events.iloc[0], events.iloc[-1]
    span_ms = max(1_000, int(last["at_ms"] - first["at_ms"]))
    lengths_ms = pages["at_ms"].shift(-1, fill_value=last["at_ms"]) - pages["at_ms"]
    notes = [f"{ms // MINUTE_MS}:{ms // 1000 % 60:02d}" for ms in lengths_ms]
    if last["event_type"] != "logout":
        notes[-1] = "left without a logout"
    done = events["event_type"].value_counts()
    reactions = ", ".join(theme.counted(done[kind], kind) for kind in REACTIONS if kind in done)
    figure = theme.figure(
        f"{theme.counted(len(pages), 'page')} in {span_ms / MINUTE_MS:.1f} minutes: "
        + (reactions or "no reaction"),
        f"{first['user_id']}, {first['device_type']}, {_moment(first['at_ms']):%A %d %B %Y}",
    )
    for row, (page, length_ms, note) in enumerate(zip(pages.iloc, lengths_ms, notes, strict=True)):
        begin_ms, name = page["at_ms"], page["article_category"]
        end_ms = begin_ms + max(length_ms, span_ms // 200)  # keep very short visits visible
        style = {"width": 0.56, "orientation": "h", "showlegend": False}
        style["marker"] = theme.marker(CATEGORIES.index(name))
        figure.add_bar(base=[_moment(begin_ms)], x=[end_ms - begin_ms], y=[row], **style)
        # Right of the bar if there is room, else left of it, else inside its end.
        left, right = ((ms - first["at_ms"]) / span_ms for ms in (begin_ms, end_ms))
        side = "left" if right < 0.75 else "right"
        at_ms = begin_ms if side == "right" and left > 0.3 else end_ms
        style = {"xanchor": side, "xshift": 16 if side == "left" else -16, "bgcolor": theme.PAPER}
        _write(figure, _moment(at_ms), row, f"{name} · {note}", **style)
    rows = (events["event_type"] == "page_view").cumsum() - 1
    for place, kind in enumerate(REACTIONS):
        marked = events[events["event_type"] == kind]
        style = {"size": 24, "color": theme.INK, "line": {"color": theme.PAPER, "width": 3}}
        style["symbol"] = ("triangle-up", "diamond", "square")[place % 3]
        x, y = marked["at_ms"].map(_moment), rows[marked.index]
        figure.add_scatter(x=x, y=y, name=kind, mode="markers", marker=style)
    _mark(figure, first["at_ms"], ", ".join(events["event_type"][rows < 0]), xanchor="left")
    if last["event_type"] == "logout":
        _mark(figure, last["at_ms"], "logout", xanchor="right")
    titles = ["<br>".join(wrap(title, 36)) for title in pages["article_title"]]
    figure.update_yaxes(tickvals=list(range(len(pages))), ticktext=titles, showgrid=False)
    figure.update_yaxes(range=[len(pages) - 0.4, -1.1])
    ends = [_moment(first["at_ms"] + span_ms * share) for share in (-0.01, 1.04)]
    figure.update_xaxes(type="date", range=ends, tickformat="%H:%M")
    return _finish(figure, "time (UTC)", "", height=max(theme.HEIGHT_PX, 200 + 54 * len(pages)))


def day(events: pd.DataFrame) -> go.Figure:
    """Draw events by hour and device, averaged over weekdays and over weekend days.

    `events` covers whole days, with columns `at_ms` and `device_type`. If it has only weekdays, or
    only weekend days, the other half is omitted.
    """
    if events.empty:
        return theme.empty("No visits")
    dates = events["at_ms"] // DAY_MS
    # 1 January 1970 was a Thursday.
    half = ((dates + 3) % 7 >= 5).map({False: _HALVES[0], True: _HALVES[1]})
    hours = (events["at_ms"] % DAY_MS // HOUR_MS).astype(int)
    counts = pd.crosstab([half, hours], events["device_type"].astype(str))
    halves = [name for name in _HALVES if name in counts.index]
    places = pd.MultiIndex.from_product([halves, range(24)])
    counts = counts.reindex(index=places, columns=list(DEVICE_TYPES), fill_value=0)
    means = counts.div(dates.groupby(half).nunique(), axis=0, level=0)
    hourly, mobile = counts.groupby(level=1).sum(), means.loc[halves[0]]["mobile"]
    total, evening, low = hourly.sum(axis=1), mobile.loc[18:22], mobile.loc[14:18].min()
    title = f"Busiest at {total.idxmax()}:00, {_times(total.max(), total.min())} the quietest hour"
    if evening.max() > 1.1 * low and total.idxmax() < evening.index[0]:
        title += f"; on mobile again at {evening.idxmax()}:00"
    figure = theme.figure(
        title, f"{len(events):,} events of {theme.counted(dates.nunique(), 'day')}"
    )
    for place, device in enumerate(DEVICE_TYPES):
        style: dict[str, Any] = {"mode": "lines+markers", "name": device, "cliponaxis": False}
        style["marker"] = {"size": 11, "symbol": ("circle", "square", "diamond")[place % 3]}
        style["line"] = {"width": 4, "color": theme.colour(place)}
        for number, name in enumerate(halves):
            x, y = [hour + _APART * number for hour in range(24)], means.loc[name][device]
            figure.add_scatter(x=x, y=y, showlegend=number == 0, **style)
    for number, name in enumerate(halves):
        _write(figure, _APART * number, 1.0, f"<b>{name}</b>", **_TOP, xanchor="left")
    text = f"mobile: {_times(evening.max(), low)} its afternoon"
    _write(figure, evening.idxmax(), evening.max(), text, showarrow=True, ax=0, ay=-40)
    ticks = [(hour, number) for number in range(len(halves)) for hour in range(0, 24, 6)]
    figure.update_xaxes(tickvals=[hour + _APART * number for hour, number in ticks])
    figure.update_xaxes(ticktext=[f"{hour}:00" for hour, _ in ticks], zeroline=False, tickangle=0)
    figure.update_yaxes(range=[0, 1.25 * means.to_numpy().max()])
    return _finish(figure, "hour of the day (UTC)", "events per hour")


def popularity(events: pd.DataFrame) -> go.Figure:
    """Draw the views of the first day by rank of the article, on logarithmic axes.

    The slope in the title is a least-squares fit through ranks 1 to 100; the dashed line has
    slope -1. Columns `at_ms`, `event_type` and `article_id`.
    """
    views = events[events["event_type"] == "page_view"]
    views = views[views["at_ms"] // DAY_MS == views["at_ms"].min() // DAY_MS]
    counts = views["article_id"].astype(str).value_counts()
    if len(counts) < 2:
        return theme.empty("Fewer than two articles were viewed")
    ranks = pd.Series(range(1, len(counts) + 1), index=counts.index)
    x, y = (values.head(100).map(math.log10) for values in (ranks, counts))
    figure = theme.figure(
        f"Views fall with an article's rank: slope {x.cov(y) / x.var():.2f}".replace("-", "−"),
        f"{_moment(views['at_ms'].min()):%A %d %B %Y}: {len(views):,} views of {len(counts):,} "
        "articles; slope over ranks 1 to 100",
    )
    figure.add_scatter(x=ranks, y=counts, mode="markers", marker={"size": 11})
    end, top = math.log10(len(counts)), y.mean() + x.mean()
    style = {"width": 3, "dash": "dash", "color": theme.INK}
    figure.add_scatter(x=[1, 10**end], y=[10**top, 10 ** (top - end)], mode="lines", line=style)
    _write(figure, end, top - end, " slope −1", xanchor="left")
    figure.update_xaxes(type="log", dtick=1, tickformat=",d", range=[-0.06, end + 0.35])
    figure.update_yaxes(type="log", dtick=1, range=[-0.1, max(top, y.max()) + 0.1])
    return _finish(figure, "rank of the article", "views in the day", showlegend=False)


def preview(text: str, played: pd.DataFrame, usual: pd.DataFrame) -> go.Figure:
    """Draw events per 10 seconds, with the scenario's events highlighted, or A/B test arms.

    If the scenario removes events, a thin line shows the events without it.

    Args:
        text: the scenario, as text.
        played: its rehearsal.
        usual: the rehearsal of "" with the same arguments; an A/B test does not use it.
    """
    name = text.partition(":")[0]
    if name == "ab-test":
        return _arms(text, played)
    if played.empty or usual.empty:
        return theme.empty("No visits")
    start_ms = int(usual["at_ms"].min()) // MINUTE_MS * MINUTE_MS
    is_own = played["scenario"].notna()
    bars = range(start_ms, int(usual["at_ms"].max()) + 1, _BAR_MS)
    crowd, own, without = (
        (found["at_ms"] // _BAR_MS * _BAR_MS).value_counts().reindex(bars, fill_value=0)
        for found in (played[~is_own], played[is_own], usual)
    )
    missing = 0 if name == "dirty-data" else without.sum() - crowd.sum()
    ratio = (crowd + own).rolling(3).sum() / without.rolling(3).sum()
    title = f"{name}: {own.sum():,} more, {ratio.max():.1f} × the usual at the peak"
    below = f"{text} from {_moment(start_ms + LEAD_MS):%H:%M} on"
    if missing > 0:
        change = (
            f"{own.sum():,} more, then {missing:,} fewer" if own.sum() else f"{missing:,} fewer"
        )
        title = f"{name}: {change}, down to {ratio.min():.1f} × the usual"
    elif name == "dirty-data":
        kinds = played["variant"].value_counts().items()
        title = f"{name}: " + ", ".join(f"{number:,} {kind}" for kind, number in kinds)
    figure = theme.figure(title, below)
    x = [_moment(bar + _BAR_MS // 2) for bar in bars]
    figure.add_bar(x=x, y=crowd, name="the crowd", marker=theme.marker(0))
    if own.sum():
        look = theme.scenario_marker(list(scenarios.ADDS_EVENTS).index(name))
        figure.add_bar(x=x, y=own, name=f"labelled {name}", marker=look)
    if missing > 0:
        style = {"width": 2, "color": theme.INK, "shape": "hvh"}
        figure.add_scatter(x=x, y=without, name="without it", mode="lines", line=style)
    _mark(figure, start_ms + LEAD_MS, "begins", xanchor="right")
    figure.update_layout(barmode="stack", bargap=0.08, xaxis_tickformat="%H:%M")
    figure.update_yaxes(range=[0, 1.15 * max((crowd + own).max(), without.max())])
    return _finish(figure, "time (UTC)", "events per 10 seconds")


def _arms(text: str, played: pd.DataFrame) -> go.Figure:
    """Draw reactions per 100 page views by arm, with 95 % intervals of a Poisson count."""
    views = played[played["event_type"] == "page_view"]["variant"].value_counts()
    if not {"A", "B"} <= set(views.index):
        return theme.empty("No page views in one of the arms")
    counts = pd.crosstab(played["event_type"], played["variant"])
    counts = counts.reindex(index=list(REACTIONS), columns=["A", "B"], fill_value=0)
    rates, off = 100 * counts / views, 196 * counts.pow(0.5) / views
    event = scenarios.make(text).values["event"]
    figure = theme.figure(
        f"{rates['A'][event]:.1f} {event}s per 100 views in arm A, {rates['B'][event]:.1f} in B",
        f"{text}; {views['A']:,} views in A, {views['B']:,} in B; whiskers: 95 % intervals",
    )
    for place, arm in enumerate("AB"):
        x = [number + 0.4 * place - 0.2 for number in range(len(REACTIONS))]
        whiskers = {"array": off[arm], "thickness": 3, "width": 12, "color": theme.INK}
        figure.add_bar(x=x, y=rates[arm], error_y=whiskers, name=f"arm {arm}", width=0.36)
        figure.data[-1].marker = theme.marker(place, theme.ARM_COLOURS)
        for at, rate, top in zip(x, rates[arm], rates[arm] + off[arm], strict=True):
            _write(figure, at, top, f"<b>{arm} {rate:.1f}</b>", yanchor="bottom")
    figure.update_xaxes(tickvals=list(range(len(REACTIONS))), ticktext=list(REACTIONS))
    return _finish(figure, "", "reactions per 100 page views")


_TOP: Final = {"yref": "paper", "yanchor": "top"}


def _mark(figure: go.Figure, at_ms: float, text: str, **place: Any) -> None:
    line = {"width": 3, "dash": "dot", "color": theme.INK}
    figure.add_shape(x0=_moment(at_ms), x1=_moment(at_ms), y0=0, y1=1, yref="paper", line=line)
    _write(figure, _moment(at_ms), 1.0, f" {text} ", **_TOP, **place)


def _write(figure: go.Figure, x: Any, y: float, text: str, **place: Any) -> None:
    figure.add_annotation(x=x, y=y, text=text, **{"showarrow": False, **place})


def _finish(figure: go.Figure, x: str, y: str, **layout: Any) -> go.Figure:
    """Name the axes, and put the legend into the lower corner."""
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "yref": "container", "y": 0.02}
    legend["yanchor"] = "bottom"
    layout = {"showlegend": True, **layout}
    return figure.update_layout(xaxis_title=x, yaxis_title=y, legend=legend, **layout)


def _moment(at_ms: float) -> pd.Timestamp:
    return pd.Timestamp(int(at_ms), unit="ms")  # without a zone, because plotly would shift it


def _times(number: float, of: float) -> str:
    return f"{number / of:.1f} ×" if of else "many times"
