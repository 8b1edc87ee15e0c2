"""The visualizations as data: what is counted, by which fields, in which order.

Queries build the search from these, charts draw its answer; a chart's one definition is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from clickstream.events import CATEGORIES, DEVICE_TYPES, EVENT_TYPES


@dataclass(frozen=True)
class Spec:
    """One visualization of counted events."""

    name: str
    """Its key in an answer, and the name of its file."""
    kind: Literal["pie", "line", "bar", "heatmap", "table", "rates"]
    title: str
    """What is shown; a drawn chart says what is seen instead."""
    fields: tuple[str, ...]
    """One field, or two for a grid: rows, then columns. A date field is cut into buckets."""
    size: int
    """At most so many values of a field; for `top-users` the default of a dial."""
    values: tuple[tuple[str, ...], ...] = ()
    """The values of each field in their fixed order; see `order`."""
    only: tuple[str, str] | None = None
    """A field and the value that an event must have there to be counted."""

    def order(self, place: int, found: Iterable[str] = ()) -> list[str]:
        """List the values of a field as they are shown: the fixed ones, then others by name.

        Others are those of an index that is older, or newer, than the event model.
        """
        known = self.values[place] if self.values else ()
        return [*known, *sorted(set(found) - set(known))]


ON_TOP: Final = ("breaking-news", "bot", "comment-storm", "logout-wave")
"""Scenarios whose events come beside the crowd's own. The place is the colour, so that it
stays when another one starts or stops; one that is not listed comes after these."""

LABELS: Final = ("ab-test", "dirty-data")
"""Scenarios that mark the crowd's own events: these count as normal traffic.

That holds for duplicates, too: an index has one of the two, and a broken copy not at all.
"""

_ROOM: Final = 50
"""More values than such a field has, so that none is left out, whichever are added."""

EVENT_TYPE: Final = Spec(
    "event-types", "pie", "What readers do", ("event_type",), _ROOM, (EVENT_TYPES,)
)
VOLUME: Final = Spec(
    "volume",
    "line",
    "Events over time",
    ("timestamp", "scenario"),
    # With the most buckets there may be, 10,000, that is within OpenSearch's limit of 65,535.
    5,
    ((), ON_TOP),
)
VOLUME_SCENARIOS: Final = "volume-scenarios"
"""The frame that has, of `VOLUME`, what scenarios add."""
TOP_USERS: Final = Spec(
    "top-users", "bar", "The most active readers", ("user_id", "scenario"), 10, ((), ON_TOP)
)
DEVICE_CATEGORY: Final = Spec(
    "device-category",
    "heatmap",
    "Which device reads what",
    ("device_type", "article_category"),
    _ROOM,
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
AB_TEST: Final = Spec(
    "ab-test",
    "rates",
    "What the arms of the A/B test do",
    ("variant", "event_type"),
    _ROOM,
    ((), EVENT_TYPES),
    # Dirty data has variants, too, and these are no arms.
    only=("scenario", "ab-test"),
)

SPECS: Final = (EVENT_TYPE, VOLUME, TOP_USERS, DEVICE_CATEGORY, DEVICE_CATEGORY_TABLE, AB_TEST)
