"""The visualizations as data: what is counted, by which fields, in which order.

Queries build the search from these, charts draw its answer; a chart's one definition is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from clickstream.events import CATEGORIES, DEVICE_TYPES, EVENT_TYPES


@dataclass(frozen=True)
class Spec:
    """One visualization of counted events."""

    name: str
    """Its key in an answer, and the name of its file."""
    kind: Literal["pie", "line", "bar", "heatmap", "table"]
    title: str
    """What is shown; a drawn chart says what is seen instead."""
    fields: tuple[str, ...]
    """One field, or two for a grid: rows, then columns. A date field is cut into buckets."""
    size: int
    """At most so many values of a field; for `top-users` the default of a dial."""
    values: tuple[tuple[str, ...], ...] = ()
    """The values of each field in their fixed order; empty means by count, most first."""


EVENT_TYPE: Final = Spec(
    "event-types", "pie", "What readers do", ("event_type",), len(EVENT_TYPES), (EVENT_TYPES,)
)
VOLUME: Final = Spec("volume", "line", "Events over time", ("timestamp",), 100)
TOP_USERS: Final = Spec("top-users", "bar", "The most active readers", ("user_id",), 10)
DEVICE_CATEGORY: Final = Spec(
    "device-category",
    "heatmap",
    "Which device reads what",
    ("device_type", "article_category"),
    len(CATEGORIES),
    (DEVICE_TYPES, CATEGORIES),
)
DEVICE_CATEGORY_TABLE: Final = Spec(
    "device-category-table",
    "table",
    "Which device reads what, in numbers",
    DEVICE_CATEGORY.fields,
    DEVICE_CATEGORY.size,
    DEVICE_CATEGORY.values,
)

SPECS: Final = (EVENT_TYPE, VOLUME, TOP_USERS, DEVICE_CATEGORY, DEVICE_CATEGORY_TABLE)
