"""One search with the aggregations of all charts, answered as tables.

One search returns one consistent moment, so that no chart contradicts another. Counts are exact on
the single shard of the kit's index; otherwise the answer gives the maximum error. The caller passes
the function that sends a search; its errors pass through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta, tzinfo
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from clickstream import events
from clickstream.charts import theme, time_zones
from clickstream.charts.chart import AddsEvents, Point, Question, View, between, millis
from clickstream.charts.marks import Mark
from clickstream.charts.registry import CHARTS
from clickstream.charts.top_readers import TOP, TopReaders
from clickstream.charts.volume import ADDED
from clickstream.errors import ConfigError
from clickstream.events import CATEGORIES, DEVICE_TYPES
from clickstream.reports import BoldLine

MOST_BUCKETS: Final = 100
BUCKETS_S: Final = (
    *(1, 5, 10, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600),
    *(86_400 * days for days in (1, 7, 30, 365, 3_650, 36_500, 365_000)),
)
"""Round bucket widths, in seconds; the widest is enough for the years 1 to 9999."""

FILTERS: Final = ("event_type", "article_category", "article_id", "device_type", "user_id")
"""The fields whose values can be filtered by."""

Search = Callable[[dict[str, Any]], dict[str, Any]]
"""Sends the body of a search to the index and returns OpenSearch's complete answer."""


@dataclass(frozen=True)
class Answer(BoldLine):
    """The result of one search."""

    frames: dict[str, pd.DataFrame] = field(repr=False)
    """By the name of its chart:

    - `event-types`: `event_type` (str), `count` (int), in the model's order, without zeros
    - `volume`: `timestamp` (UTC, start of the bucket), `count` of all events; every bucket
      from `since` on, including zeros
    - `volume-scenarios`: `timestamp`, `scenario` (str), `count` of the events that this scenario
      added, which `volume` includes; every bucket, including zeros, for each scenario that added
      events in the window; scenarios in display order. It does not include events
      that an A/B test or dirty data only label.
    - `top-users`: `user_id`, `count`, `scenario` (str), highest count first; the scenario is the
      one that added most of the reader's events, or empty
    - `device-category`, `device-category-table`: `device_type`, `article_category`, `count`,
      one row per pair in the model's order, including zeros
    - `ab-test`: `variant` (str), `event_type`, `count` of the events of an A/B test; arms by
      name, each with every type in the model's order, including zeros

    Values that the model does not have come last, by name. If nothing was found, the tables have
    the same columns and types and no rows (`volume` and the two device grids: zeros).
    """
    total: int
    """Events that match the question."""
    took_ms: int
    """As reported by OpenSearch."""
    count_error: int
    """The number of events that a count of `top-users` may miss; 0 means exact."""
    since: datetime
    until: datetime
    bucket_s: int
    scenarios: AddsEvents = field(repr=False)
    """As passed with the question."""
    only: Mapping[str, str] = field(default_factory=dict)
    """Only events with this value were counted, by field."""
    left_out: int = 0
    """Events before the year 1 or after 9999, if start or end of the window were looked up."""

    def __str__(self) -> str:
        exact = "exact" if self.count_error == 0 else f"each within {self.count_error:,}"
        clock = "%d %b %Y" if self.until - self.since > _YEAR else "%d %b %H:%M"
        return (
            f"{theme.counted(self.total)} from {self.since:{clock}} to {self.until:{clock}} UTC, "
            f"one search, {self.took_ms} ms, counts {exact}{self._left_out}"
        )

    @property
    def _left_out(self) -> str:
        if not self.left_out:
            return ""
        return f"; {theme.counted(self.left_out)} before the year 1 or after 9999 left out"

    def figures(
        self, *, tz: tzinfo | str | None = None, marks: Sequence[Mark] = ()
    ) -> dict[str, go.Figure]:
        """Draw every chart, by its name.

        A chart without events says so. Only the chart of an A/B test, the last one, is omitted
        if the window has no events of a test.

        Args:
            tz: time zone; by default that of this machine. Its offset at the end of the window
                applies to the whole window, so that no hour repeats when the clocks go back.
            marks: what was done when, in the order of time; charts over time show those of the
                window.

        Raises:
            ConfigError: no such zone.
        """
        is_at_edge = self.since.year == MINYEAR or self.until.year == MAXYEAR
        # Python has no time that is a year 0 or 10,000 elsewhere.
        zone = time_zones.fixed_offset("UTC" if is_at_edge else tz, self.until)
        span = self.until - self.since
        clock = f"%a %d %b {theme.clock(with_seconds=span < timedelta(minutes=10))}"
        if span > _YEAR:
            clock = "%d %b %Y"
        since, until = (f"{at.astimezone(zone):{clock}}" for at in (self.since, self.until))
        tables = {name: theme.as_text(table) for name, table in self.frames.items()}
        view = View(
            window=f"{since} to {until}, {zone}{self._left_out}",
            zone=zone,
            bucket_s=self.bucket_s,
            count_error=self.count_error,
            added=tables[ADDED],
            scenarios=self.scenarios,
            marks=[mark for mark in marks if self.since < mark.at < self.until],
            only=self.only,
        )
        return {
            chart.name: chart.figure(tables[chart.name], view)
            for chart in CHARTS
            if len(tables[chart.name]) or not chart.is_optional
        }

    def touched(self, name: str, point: Point) -> dict[str, str]:
        """Return the values that a click on a point of a chart selects, by field.

        Empty where it selects nothing, and where this answer has no such value any more.
        """
        (chart,) = (each for each in CHARTS if each.name == name)
        found: dict[str, str] = {}
        for wanted, text in chart.touched(point).items():
            values = [each for each in self.frames[name][wanted] if theme.value_text(each) == text]
            if values:
                found[wanted] = values[0]
        return found


# Over 60 lines: more than half of them name and describe the arguments.
def ask(
    search: Search,
    *,
    scenarios: AddsEvents,
    since: datetime | None = None,
    until: datetime | None = None,
    bucket_s: int | None = None,
    top: int | None = None,
    category: str | None = None,
    device: str | None = None,
    only: Mapping[str, str] | None = None,
) -> Answer:
    """Request the data of all charts in one search.

    Args:
        search: sends a search; it raises unless the whole index answered.
        scenarios: which scenarios add events, in display order.
        since: events at or after this; by default the start of the bucket of the oldest event,
            which takes a search to find.
        until: events before this; by default up to the newest event, or one hour if that is
            before `since`.
        bucket_s: width of the buckets of `volume`, the first of which begins at `since`; by
            default the narrowest round width with at most 100 buckets.
        top: readers in `top-users`; by default 10.
        category: only events about articles of this category.
        device: only events on this kind of device.
        only: only events with this value, by field; any value of the fields `FILTERS`.

    Raises:
        ConfigError: a time without a zone, a window that ends before it begins, too many
            buckets, an unknown category or device; the message names it.
    """
    what = "it must be a datetime with a time zone"
    for name, moment in (("since", since), ("until", until)):
        _check(moment is None or _has_zone(moment), name, moment, what)
    top, what = TOP if top is None else top, "it must be a whole number, 1 or more"
    for name, count in (("top", top), ("bucket_s", bucket_s)):
        _check(count is None or _is_count(count), name, count, what)
    only = _filters(category, device, only or {})
    is_looked_up = since is None
    since, until, left_out = _window(search, since, until)
    bucket_s = _bucket_width(since, until, bucket_s)
    if is_looked_up:
        since = events.moment(millis(since) // (1000 * bucket_s) * 1000 * bucket_s)
    question = Question(since, until, bucket_s, top, only, scenarios)
    found = search(_body(question))
    answers = found["aggregations"]
    frames: dict[str, pd.DataFrame] = {}
    for chart in CHARTS:
        frames |= chart.frames(answers[chart.asked_as], question)
    return Answer(
        frames=frames,
        total=found["hits"]["total"]["value"],
        took_ms=found["took"],
        count_error=answers[TopReaders.name]["doc_count_error_upper_bound"],
        since=since,
        until=until,
        bucket_s=bucket_s,
        scenarios=scenarios,
        only=only,
        left_out=left_out,
    )


_YEAR: Final = timedelta(days=366)
_MS: Final = timedelta(milliseconds=1)
_LATEST: Final = datetime.max.replace(tzinfo=UTC)
_QUIET: Final = timedelta(hours=1)
"""Length of a window whose given start or end is outside the events."""


def _check(is_right: bool, name: str, value: object, wanted: str) -> None:
    if not is_right:
        msg = f"asking with {name}={value!r}: {wanted}"
        raise ConfigError(msg)


def _filters(
    category: str | None, device: str | None, only: Mapping[str, str]
) -> Mapping[str, str]:
    _check(category in (None, *CATEGORIES), "category", category, _one_of(CATEGORIES))
    _check(device in (None, *DEVICE_TYPES), "device", device, _one_of(DEVICE_TYPES))
    for name in only:
        _check(name in FILTERS, "only", name, _one_of(FILTERS))
    named = {"article_category": category, "device_type": device}
    return {**only, **{name: value for name, value in named.items() if value is not None}}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 1


def _has_zone(moment: object) -> bool:
    return isinstance(moment, datetime) and moment.utcoffset() is not None


def _one_of(values: tuple[str, ...]) -> str:
    return f"it must be one of {', '.join(values)}"


def _window(
    search: Search, since: datetime | None, until: datetime | None
) -> tuple[datetime, datetime, int]:
    left_out = 0
    if since is None or until is None:
        time = {"field": "timestamp"}
        ends = {"oldest": {"min": time}, "newest": {"max": time}}
        whole = {"gte": events.FIRST_MS, "lte": events.LAST_MS, "format": "epoch_millis"}
        outside = {"filter": {"bool": {"must_not": {"range": {"timestamp": whole}}}}}
        found = search({"size": 0, "aggs": ends | {"outside": outside}})["aggregations"]
        left_out = found["outside"]["doc_count"]
        if until is None:
            last = found["newest"]["value"]
            # `until` is exclusive; times are whole milliseconds.
            until = datetime.now(UTC)
            if last is not None:
                until = min(events.moment(last), _LATEST - _MS) + _MS
            if since is not None and until <= since:
                until = since + _QUIET
        if since is None:
            first = found["oldest"]["value"]
            since = until if first is None else events.moment(first)
            if since >= until:
                since = until - _QUIET
    return since, until, left_out


def _bucket_width(since: datetime, until: datetime, bucket_s: int | None) -> int:
    span_s = (until - since).total_seconds()
    if span_s <= 0:
        msg = (
            f"asking from {since:%Y-%m-%d %H:%M:%S} to {until:%Y-%m-%d %H:%M:%S}: "
            "the window must end after it begins"
        )
        raise ConfigError(msg)
    if bucket_s is None:
        return next((b for b in BUCKETS_S if span_s / b <= MOST_BUCKETS - 1), BUCKETS_S[-1])
    if span_s / bucket_s > 10_000:
        msg = f"asking for buckets of {bucket_s} s over {span_s:,.0f} s: at most 10,000 are allowed"
        raise ConfigError(msg)
    return bucket_s


def _body(question: Question) -> dict[str, Any]:
    filters = [between(question.since, question.until)]
    filters += ({"term": {name: value}} for name, value in question.only.items())
    return {
        "size": 0,
        "track_total_hits": True,
        "query": {"bool": {"filter": filters}},
        "aggs": {chart.asked_as: chart.aggregation(question) for chart in CHARTS},
    }
