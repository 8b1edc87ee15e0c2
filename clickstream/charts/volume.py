"""Events over time: a line, with one area on top for each scenario that added events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.charts.chart import Chart, Question, View, counts, millis, scenario_order
from clickstream.charts.marks import Mark, write_newest

ADDED: Final = "volume-scenarios"
"""The table of events that scenarios added; the count of all events includes them."""

MOST_SCENARIOS: Final = 5
"""With the maximum of 10,000 buckets this stays within OpenSearch's limit of 65,535."""

_DAY_S: Final = 86_400


class Volume(Chart):
    """Columns `timestamp` (UTC, start of the bucket) and `count`; all buckets, including zeros."""

    name = "volume"
    kind = "line"
    title = "Events over time"
    fields = ("timestamp", "scenario")

    def aggregation(self, question: Question) -> dict[str, Any]:
        """Count by time bucket, and by scenario within each."""
        # Buckets start at `since`: a partial first bucket would look like a drop.
        offset = f"{millis(question.since) % (1000 * question.bucket_s)}ms"
        cut = {"fixed_interval": f"{question.bucket_s}s", "offset": offset, "min_doc_count": 1}
        inner = question.what_scenarios_added(MOST_SCENARIOS)
        return {"date_histogram": {"field": "timestamp"} | cut, "aggs": inner}

    def frame(self, answer: dict[str, Any], question: Question) -> pd.DataFrame:
        """Make one row per bucket, from the question's `since` on."""
        # Zeros are filled in here: with an offset OpenSearch's bounds add one bucket too many.
        found = {bucket["key"]: bucket["doc_count"] for bucket in answer["buckets"]}
        starts = question.starts_ms
        return counts(timestamp=_moments(starts), count=[found.get(start, 0) for start in starts])

    def frames(self, answer: dict[str, Any], question: Question) -> dict[str, pd.DataFrame]:
        """Make the table of all events, and the table of events that scenarios added."""
        return {
            self.name: self.frame(answer, question),
            ADDED: _what_scenarios_added(answer["buckets"], question),
        }

    def figure(self, frame: pd.DataFrame, view: View) -> go.Figure:
        """Draw one point per bucket, and one area on top per scenario that added events.

        Without such scenarios there is one line and no legend.
        """
        total = int(frame["count"].sum())
        if total == 0:
            return self.empty(view)
        # Naive local times, because plotly draws aware times in UTC.
        times = frame["timestamp"].dt.tz_convert(view.zone).dt.tz_localize(None)
        most, peak = int(frame["count"].max()), times[frame["count"].idxmax()]
        width, span_s = _width(view.bucket_s), view.bucket_s * len(frame)
        at = f"{peak:%a {theme.clock(with_seconds=view.bucket_s < 60)}}"
        if view.bucket_s >= _DAY_S:
            at = f"{peak:%d %b %Y}"
        title = f"{theme.counted(total)}, at most {most:,} in {width} ({at})"
        added = view.added
        parts = {name: part.to_numpy() for name, part in added.groupby("scenario")["count"]}
        if parts:
            title = f"{theme.counted(total)}, {added['count'].sum():,} of them by {view.adding}"
        figure = theme.figure(title, view.window)
        figure.add_scatter(
            x=times,
            y=frame["count"] - sum(parts.values()),
            mode="lines+markers" if len(frame) <= 60 else "lines",
            marker={"size": 9},
            cliponaxis=False,
            hovertemplate="%{x|%a %d %b %H:%M:%S}, events: %{y:,}<extra></extra>",
            **theme.LINE_WITH_AREA,
        )
        if parts:
            _lay_on(figure, parts, times, view)
        # A second line names the day at its first tick, if there are several days.
        ticks = theme.clock(with_seconds=span_s < 600) + ("\n%a %d" if span_s > _DAY_S else "")
        if view.bucket_s >= _DAY_S:
            ticks = "%d %b\n%Y"
        # By default plotly shows only about a second around a single bucket.
        end = times.iloc[-1]
        if len(times) == 1:
            # In pandas' own type: in Python's this may be after the year 9999.
            end = (times + pd.Timedelta(seconds=view.bucket_s)).to_numpy()[0]
        figure.update_xaxes(
            title=f"time ({view.zone})",
            range=[times.iloc[0], end],
            tickformat=ticks,
            tickangle=0,
            nticks=9,
        )
        # By default plotly labels halves if counts are low, but counts are whole numbers.
        step = 1 if most < 6 else None
        figure.update_yaxes(
            title=f"events in {width}", range=[0, most * 1.08], nticks=6, dtick=step
        )
        if view.marks and len(times) > 1:
            _write(figure, view, times)
        return figure


def _what_scenarios_added(buckets: list[dict[str, Any]], question: Question) -> pd.DataFrame:
    found = {
        (scenario["key"], bucket["key"]): scenario["doc_count"]
        for bucket in buckets
        for scenario in bucket["scenario"]["buckets"]
    }
    there = {name for name, _ in found}
    names = [name for name in scenario_order(question.scenarios, there) if name in there]
    pairs = [(name, start) for name in names for start in question.starts_ms]
    return counts(
        timestamp=_moments(start for _, start in pairs),
        scenario=[name for name, _ in pairs],
        count=[found.get(pair, 0) for pair in pairs],
    )


def _moments(starts_ms: Iterable[int]) -> Any:
    return pd.to_datetime(list(starts_ms), unit="ms", utc=True)


def _lay_on(figure: go.Figure, parts: dict[str, Any], times: pd.Series, view: View) -> None:
    """Stack the scenarios' events on the line of normal traffic, and add a legend."""
    for_all = "%{y:,}"  # the hover box already shows names and time
    figure.update_traces(name="normal traffic", stackgroup="all", hovertemplate=for_all)
    for place, name in enumerate(scenario_order(view.scenarios, parts)):
        if name not in parts:
            continue
        look = theme.scenario_marker(place)
        figure.add_scatter(
            x=times,
            y=parts[name],
            name=name,
            # A line would hide the line below it where the scenario adds nothing.
            mode="none" if len(times) > 1 else "markers",
            marker={"size": 12, "color": look["color"], "symbol": place + 1},
            stackgroup="all",
            fillcolor=look["color"],
            fillpattern={"bgcolor": look["color"]} | look["pattern"],
            cliponaxis=False,
            hovertemplate=for_all,
        )
    figure.update_layout(hovermode="x unified", xaxis_hoverformat="%a %d %b %H:%M:%S")
    theme.legend_above(figure)


def _write(figure: go.Figure, view: View, times: pd.Series) -> None:
    """Write the marks; the last bucket begins where the axis ends."""
    start, end = times.iloc[0], times.iloc[-1]
    local = [Mark(at.astimezone(view.zone).replace(tzinfo=None), what) for at, what in view.marks]
    write_newest(figure, [Mark(min(at, end), what) for at, what in local], (start, end))


def _width(seconds: int) -> str:
    year = ("year", 365 * _DAY_S)
    units = (year, ("day", _DAY_S), ("hour", 3_600), ("minute", 60), ("second", 1))
    unit, length = next(each for each in units if seconds % each[1] == 0)
    return theme.counted(seconds // length, unit)
