"""Two weeks of one seed's readers as tables: what `properties.py` measures.

Made of the events alone, as anybody could who has them in a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any, Final

import pandas as pd

from clickstream.simulation.articles import DAY_MS
from clickstream.simulation.simulator import Simulator, crowd_for

DAYS: Final = 14
EVENTS: Final = 1_000_000
"""About so many events in so many days make the sample."""
_COLUMNS: Final = (
    "event_type",
    "timestamp",
    "user_id",
    "session_id",
    "session_seq",
    "device_type",
    "article_id",
    "article_category",
    "article_published_at",
    "referrer_type",
)


@dataclass(frozen=True)
class Sample:
    """Two weeks of one seed."""

    seed: int
    crowd: int
    natural_rate: float
    start_ms: int
    end_ms: int
    events: pd.DataFrame
    """One row an event, in the order of the stream, with `at_ms` and `published_ms`."""
    views: pd.DataFrame
    """Its page views."""
    sessions: pd.DataFrame
    """By `session_id`, in the order they begin: `user_id`, `number` (of the reader), `begin_ms`,
    `end_ms`, `views`."""


def draw(seed: int, *, start_ms: int, events: int = EVENTS) -> Sample:
    """Simulate two weeks from a start on, with a crowd that makes about so many events.

    Raises:
        ConfigError: a start before 1970.
    """
    crowd = crowd_for(events * 1000 / (DAYS * DAY_MS))
    simulator = Simulator(seed=seed, start_ms=start_ms, readers=crowd)
    end_ms = start_ms + DAYS * DAY_MS
    columns: list[list[Any]] = [[] for _ in _COLUMNS]
    rows = map(attrgetter(*_COLUMNS), simulator.events(until_ms=end_ms))
    while chunk := list(islice(rows, 10_000)):  # one by one takes twice as long
        for column, values in zip(columns, zip(*chunk, strict=True), strict=True):
            column.extend(values)
    table = pd.DataFrame(
        {
            name: pd.Series(columns.pop(0), dtype=None if name == "session_seq" else "category")
            for name in _COLUMNS
        }
    )
    for text, number in (("timestamp", "at_ms"), ("article_published_at", "published_ms")):
        moments = pd.to_datetime(pd.Series(table[text].cat.categories), utc=True, format="ISO8601")
        known = moments.astype("int64") // (10**6 if moments.dt.unit == "ns" else 10**3)
        table[number] = table[text].cat.codes.map(known).astype("float64")
    begun = table[table["session_seq"] == 0]
    by_session = table.groupby("session_id", observed=True)
    sessions = begun.set_index("session_id")[["user_id", "at_ms"]].rename(
        columns={"at_ms": "begin_ms"}
    )
    sessions["number"] = [simulator.number_of(str(user)) for user in sessions["user_id"]]
    sessions["end_ms"] = by_session["at_ms"].last()
    views = table[table["event_type"] == "page_view"]
    sessions["views"] = views.groupby("session_id", observed=False).size()
    return Sample(seed, crowd, simulator.natural_rate, start_ms, end_ms, table, views, sessions)
