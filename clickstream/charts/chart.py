"""What a chart is: one aggregation, the table of its answer, and a figure of that table.

A chart is one file; `registry.py` lists them, and all are asked in one search. Nothing here
knows OpenSearch's client, the simulator, or how a widget shows a figure.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, ClassVar, Final

import pandas as pd
import plotly.graph_objects as go

from clickstream.charts import theme

ROOM: Final = 50
"""More values than a field of few has, so that none is left out, whichever are added."""


@dataclass(frozen=True)
class ScenarioLook:
    """What a scenario is called on a chart, and how what it added is drawn."""

    title: str
    place: int | None
    """Among scenarios, for the colour and pattern that it keeps when others start or stop.

    None where it only labels events that the crowd makes anyway: these count as normal traffic.
    That holds for duplicates, too: an index has one of the two, and a broken copy not at all.
    """


@dataclass(frozen=True)
class Question:
    """What is asked, all of it decided; `search.ask` checks and completes it."""

    since: datetime
    until: datetime
    bucket_s: int
    top: int
    """So many readers in the ranking."""
    category: str | None
    device: str | None
    scenarios: Mapping[str, ScenarioLook]

    @property
    def starts_ms(self) -> range:
        """Where each bucket of time begins."""
        return range(millis(self.since), millis(self.until), 1000 * self.bucket_s)

    def what_scenarios_added(self, size: int) -> dict[str, Any]:
        """Give the inner aggregation by scenario, without those that only label."""
        terms: dict[str, Any] = {"field": "scenario", "size": size}
        labels = [name for name, look in self.scenarios.items() if look.place is None]
        return {"scenario": {"terms": terms | ({"exclude": labels} if labels else {})}}


@dataclass(frozen=True)
class View:
    """What figures of one answer share, beside their tables."""

    window: str
    """From when until when, and in which zone, in words."""
    zone: timezone
    bucket_s: int
    count_error: int
    """How many events a count of the ranking may miss."""
    added: pd.DataFrame
    """What scenarios added: columns `timestamp`, `scenario`, `count`."""
    scenarios: Mapping[str, ScenarioLook]

    @property
    def adding(self) -> str:
        """The scenario that adds, or how many there are: names of more would fill the line."""
        names = list(self.added["scenario"].unique())
        return self.title_of(names[0]) if len(names) == 1 else f"{len(names)} scenarios"

    @property
    def mixed_window(self) -> str:
        """The window of a chart that counts everything: it says whose events are among it."""
        return f"with {self.adding}; {self.window}" if len(self.added) else self.window

    def title_of(self, scenario: str) -> str:
        """Say what a scenario is called; one that nobody described is called by its name."""
        look = self.scenarios.get(scenario)
        return scenario if look is None else look.title

    def scenario_order(self, found: Iterable[str] = ()) -> list[str]:
        """List scenarios by place, then those that nobody described, by name."""
        return scenario_order(self.scenarios, found)


class Chart(ABC):
    """One visualization of counted events: another one is a file, and a line in `CHARTS`."""

    name: ClassVar[str]
    """Its key in an answer, and the name of its file."""
    kind: ClassVar[str]
    """How it is drawn: pie, line, bar, heatmap, table, grouped bars."""
    title: ClassVar[str]
    """What is shown; a drawn chart says what is seen instead."""
    fields: ClassVar[tuple[str, ...]]
    """What is counted by: one field, or two, one inside the other."""
    values: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """The values of each field in their fixed order; see `order`."""
    only: ClassVar[tuple[str, str] | None] = None
    """A field, and the value that an event must have there to be counted."""
    is_optional: ClassVar[bool] = False
    """Whether it is left out where its table has no rows."""

    @property
    def asked_as(self) -> str:
        """The name of its aggregation; two charts may share one."""
        return self.name

    @abstractmethod
    def aggregation(self, question: Question) -> dict[str, Any]:
        """Give the aggregation as OpenSearch takes it."""

    @abstractmethod
    def frame(self, answer: dict[str, Any], question: Question) -> pd.DataFrame:
        """Make the table of what OpenSearch answers the aggregation.

        Its columns are `fields` and `count`; with nothing found, the same columns and types.
        """

    def frames(self, answer: dict[str, Any], question: Question) -> dict[str, pd.DataFrame]:
        """Make every table of the answer, by its key; more than one where a figure needs it."""
        return {self.name: self.frame(answer, question)}

    @abstractmethod
    def figure(self, frame: pd.DataFrame, view: View) -> go.Figure:
        """Draw the table; one without events as a chart that says so."""

    def order(self, place: int, found: Iterable[str] = ()) -> list[str]:
        """List the values of a field as they are shown: the fixed ones, then others by name.

        Others are those of an index that is older, or newer, than the event model.
        """
        return _then_others(self.values[place] if self.values else (), found)

    def empty(self, window: str) -> go.Figure:
        """Draw that nothing is there yet, and what to do."""
        figure = theme.empty(f"{self.title}: nothing yet", window)
        text = "No events fit this question.<br>Produce some,<br>or widen the window."
        middle = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5, "showarrow": False}
        figure.add_annotation(text=text, font={"size": 22}, **middle)
        return figure


class GridChart(Chart):
    """A chart of two fields: a row of its table is a pair, in the fixed order, zeros, too."""

    def aggregation(self, question: Question) -> dict[str, Any]:
        """Give the terms of one field inside those of the other."""
        rows, columns = self.fields
        inner = {columns: {"terms": {"field": columns, "size": ROOM}}}
        asked = terms(rows, ROOM, inner)
        if self.only is None:
            return asked
        field, value = self.only
        return {"filter": {"term": {field: value}}, "aggs": {rows: asked}}

    def frame(self, answer: dict[str, Any], question: Question) -> pd.DataFrame:
        """Make a row of each pair."""
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


def terms(field: str, size: int, inner: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give the aggregation by the values of a field, exact for the first `size` of them."""
    # A shard that hands on many more than asked for leaves no doubt about the first ones.
    asked = {"field": field, "size": size, "shard_size": max(1_000, 10 * size)}
    return {"terms": asked, "aggs": inner or {}}


def counts(**columns: Any) -> pd.DataFrame:
    """Make a table whose types are the same when there is nothing in it."""
    types = {"timestamp": "datetime64[ms, UTC]", "count": "int64"}
    return pd.DataFrame(
        {name: pd.Series(rows, dtype=types.get(name, "str")) for name, rows in columns.items()}
    )


def millis(moment: datetime) -> int:
    """Give a moment in milliseconds since 1970."""
    return round(moment.timestamp() * 1000)


def scenario_order(scenarios: Mapping[str, ScenarioLook], found: Iterable[str] = ()) -> list[str]:
    """List the scenarios that add events by place, then those nobody described, by name."""
    places = {name: look.place for name, look in scenarios.items() if look.place is not None}
    return _then_others(sorted(places, key=lambda name: places[name]), found)


def _then_others(known: Iterable[str], found: Iterable[str]) -> list[str]:
    known = list(known)
    return [*known, *sorted(set(found) - set(known))]
