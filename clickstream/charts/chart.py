"""The base of every chart: one aggregation, the table of its answer, and a figure of that table.

Each chart is one file; `registry.py` lists them, and one search asks all of them. Nothing here
depends on OpenSearch's client, the simulator or the widgets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, ClassVar, Final, TypedDict

import pandas as pd
import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.charts.marks import Mark

ROOM: Final = 50
"""More values than any field with few values has, so that none is left out."""


AddsEvents = Mapping[str, bool]
"""By scenario: whether the events that carry its name are added to those of the crowd.

Added events are shown separately. Labelled events of the crowd count as normal traffic. That
includes duplicates: the index contains one of the two, and never a broken copy. The order of the
scenarios fixes their colours and patterns, which no event type has.
"""


@dataclass(frozen=True)
class Question:
    """One complete question; `search.ask` validates it and fills in the defaults."""

    since: datetime
    until: datetime
    bucket_s: int
    top: int
    """Number of readers in the ranking."""
    only: Mapping[str, str]
    """Only events with this value, by field."""
    scenarios: AddsEvents

    @property
    def starts_ms(self) -> range:
        """The start of each time bucket."""
        return range(millis(self.since), millis(self.until), 1000 * self.bucket_s)

    def what_scenarios_added(self, size: int) -> dict[str, Any]:
        """Return the inner aggregation by scenario, without scenarios that only label."""
        asked: dict[str, Any] = {"field": "scenario", "size": size}
        if labels := [name for name, adds in self.scenarios.items() if not adds]:
            asked["exclude"] = labels
        return {"scenario": {"terms": asked}}


@dataclass(frozen=True)
class View:
    """Data that all figures of one answer share, besides their tables."""

    window: str
    """Start, end and time zone, as text."""
    zone: timezone
    bucket_s: int
    count_error: int
    """The number of events that a count of the ranking may miss."""
    added: pd.DataFrame
    """Events added by scenarios: columns `timestamp`, `scenario`, `count`."""
    scenarios: AddsEvents
    marks: Sequence[Mark] = ()
    """What was done when, in the order of time."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Only events with this value are counted, by field."""

    @property
    def adding(self) -> str:
        """The scenario that added events, or their number if there are several."""
        names = list(self.added["scenario"].unique())
        return str(names[0]) if len(names) == 1 else f"{len(names)} scenarios"

    @property
    def mixed_window(self) -> str:
        """The window of a chart that counts all events; it names the scenarios among them."""
        return f"with {self.adding}; {self.window}" if len(self.added) else self.window


class Point(TypedDict, total=False):
    """A point of a chart that was clicked on, as plotly describes it."""

    x: str
    y: str
    label: str


class Chart(ABC):
    """One chart of event counts; a new chart is one file and one line in `CHARTS`."""

    name: ClassVar[str]
    """Its key in an answer, and the name of its file."""
    kind: ClassVar[str]
    """How it is drawn: pie, line, bar, heatmap, table, grouped bars."""
    title: ClassVar[str]
    """Used for an empty chart; a drawn chart states its result instead."""
    fields: ClassVar[tuple[str, ...]]
    """The fields to count by: one field, or two nested ones."""
    values: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """The values of each field in their fixed order; see `order`."""
    only: ClassVar[tuple[str, str] | None] = None
    """A field and a value: only events with this value are counted."""
    is_optional: ClassVar[bool] = False
    """Whether the chart is omitted if its table has no rows."""

    @property
    def asked_as(self) -> str:
        """The name of its aggregation; two charts may share one."""
        return self.name

    @abstractmethod
    def aggregation(self, question: Question) -> dict[str, Any]:
        """Return the aggregation in OpenSearch's format."""

    @abstractmethod
    def frame(self, answer: dict[str, Any], question: Question) -> pd.DataFrame:
        """Make the table from OpenSearch's answer to the aggregation.

        Its columns are `fields` and `count`; an empty table has the same columns and types.
        """

    def frames(self, answer: dict[str, Any], question: Question) -> dict[str, pd.DataFrame]:
        """Make every table of the answer, by key; some figures need more than one."""
        return {self.name: self.frame(answer, question)}

    @abstractmethod
    def figure(self, frame: pd.DataFrame, view: View) -> go.Figure:
        """Draw the table; without events, draw a chart that says so."""

    def touched(self, point: Point) -> dict[str, str]:
        """Return the values that a click on a point selects, as shown, by field."""
        return {}

    def order(self, place: int, found: Iterable[str] = ()) -> list[str]:
        """List the values of a field in display order: fixed values, then others by name.

        Other values come from an index that is older or newer than the event model.
        """
        return _then_others(self.values[place] if self.values else (), found)

    def empty(self, view: View) -> go.Figure:
        """Draw an empty chart that says so, for a notebook, a screen and a page alike."""
        title, text = f"{self.title}: nothing yet", "No events in this window."
        if view.only:
            title, text = f"{self.title}: nothing", "No events with these filters."
        figure = theme.empty(title, view.mixed_window)
        middle = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False}
        figure.add_annotation(text=text, font={"size": 22}, **middle)
        return figure


class GridChart(Chart):
    """A chart of two fields: one table row per pair, in fixed order, including zeros."""

    def aggregation(self, question: Question) -> dict[str, Any]:
        """Return a terms aggregation of one field inside that of the other."""
        rows, columns = self.fields
        inner = {columns: {"terms": {"field": columns, "size": ROOM}}}
        asked = terms(rows, ROOM, inner)
        if self.only is None:
            return asked
        field, value = self.only
        return {"filter": {"term": {field: value}}, "aggs": {rows: asked}}

    def frame(self, answer: dict[str, Any], question: Question) -> pd.DataFrame:
        """Make one row per pair."""
        rows, columns = self.fields
        found = {
            (row["key"], column["key"]): column["doc_count"]
            for row in (answer if self.only is None else answer[rows])["buckets"]
            for column in row[columns]["buckets"]
        }
        pairs = [
            (row, column)
            for row in self.order(0, {row for row, _ in found})
            for column in self.order(1, {column for _, column in found})
        ]
        return counts(
            **{
                rows: [row for row, _ in pairs],
                columns: [column for _, column in pairs],
                "count": [found.get(pair, 0) for pair in pairs],
            }
        )

    def pivot(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Turn the table of pairs into a grid: rows by the first field, columns by the second."""
        rows, columns = self.fields
        grid = frame.pivot_table(index=rows, columns=columns, values="count", aggfunc="sum")
        order = [self.order(place, frame[name]) for place, name in enumerate(self.fields)]
        return grid.reindex(index=order[0], columns=order[1]).fillna(0).astype("int64")


def between(since: datetime, until: datetime) -> dict[str, Any]:
    """Return the query for events at or after one time and before another."""
    window = {"gte": millis(since), "lt": millis(until), "format": "epoch_millis"}
    return {"range": {"timestamp": window}}


def terms(field: str, size: int, inner: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the terms aggregation of a field, exact for the first `size` values."""
    # Each shard returns many more values than requested, so that the first ones are exact.
    asked = {"field": field, "size": size, "shard_size": max(1_000, 10 * size)}
    return {"terms": asked, "aggs": inner or {}}


def counts(**columns: Any) -> pd.DataFrame:
    """Make a table with the same types even if it is empty."""
    types = {"timestamp": "datetime64[ms, UTC]", "count": "int64"}
    return pd.DataFrame(
        {name: pd.Series(rows, dtype=types.get(name, "str")) for name, rows in columns.items()}
    )


def millis(moment: datetime) -> int:
    """Return a time in milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def scenario_order(scenarios: AddsEvents, found: Iterable[str]) -> list[str]:
    """List the scenarios in their fixed order, then unknown ones by name."""
    return _then_others(list(scenarios), found)


def _then_others(known: Sequence[str], found: Iterable[str]) -> list[str]:
    return [*known, *sorted(set(found) - set(known))]
