"""Questions to the index: one search with all aggregations, answered as DataFrames.

One search is one consistent moment: no chart can contradict another. Counts are exact on
the one shard the kit's index has; where they are not, the answer says by how much.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pandas as pd
from opensearchpy import OpenSearch

from clickstream.charts.specs import (
    AB_TEST,
    DEVICE_CATEGORY,
    DEVICE_CATEGORY_TABLE,
    EVENT_TYPE,
    LABELS,
    TOP_USERS,
    VOLUME,
    VOLUME_SCENARIOS,
    Spec,
)
from clickstream.errors import ConfigError, ServerError
from clickstream.events import CATEGORIES, DEVICE_TYPES
from clickstream.opensearch.client import answering

MOST_BUCKETS: Final = 100
BUCKETS_S: Final = (1, 5, 10, 30, 60, 300, 900, 1_800, 3_600, 10_800, 21_600, 86_400)
"""Bucket widths a clock would know, in seconds."""


@dataclass(frozen=True)
class Answer:
    """What one search found."""

    frames: dict[str, pd.DataFrame] = field(repr=False)
    """By the name of its visualization:

    - `event-types`: `event_type` (str), `count` (int), in the model's order, without zeros
    - `volume`: `timestamp` (UTC, start of the bucket), `count` of all events; every bucket
      from `since` on, zeros, too
    - `volume-scenarios`: `timestamp`, `scenario` (str), `count` of what that scenario added,
      which is a part of `volume`'s; for each that added anything in the window every bucket,
      zeros, too; the scenarios in the order of `specs.ON_TOP`. Events that an A/B test or
      dirty data only label are not in it.
    - `top-users`: `user_id`, `count`, `scenario` (str), most first; the scenario is that
      which added most of the reader's events, or empty
    - `device-category`, `device-category-table`: `device_type`, `article_category`, `count`,
      one row per pair in the model's order, zeros, too
    - `ab-test`: `variant` (str), `event_type`, `count` of the events of an A/B test; for each
      arm, by name, every type in the model's order, zeros, too

    A value that the model does not have comes after those it has, by name. Nothing found:
    the same columns and types, no rows (`volume` and the two grids of devices: zeros).
    """
    total: int
    """Events that fit the question."""
    took_ms: int
    """As OpenSearch says."""
    count_error: int
    """How many events a count of `top-users` may miss; 0 means exact."""
    since: datetime
    until: datetime
    bucket_s: int

    def __str__(self) -> str:
        exact = "exact" if self.count_error == 0 else f"each within {self.count_error:,}"
        return (
            f"{self.total:,} events from {self.since:%d %b %H:%M} to {self.until:%d %b %H:%M} UTC, "
            f"one search, {self.took_ms} ms, counts {exact}"
        )

    def _repr_html_(self) -> str:
        return f"<b>{self}</b>"


def ask(
    client: OpenSearch,
    index_name: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    bucket_s: int | None = None,
    top: int = TOP_USERS.size,
    category: str | None = None,
    device: str | None = None,
) -> Answer:
    """Ask everything the visualizations show, in one search.

    Args:
        client: where to ask.
        index_name: index or data stream.
        since: events at or after this; by default from the oldest on, which is looked up
            first, and from the start of its bucket.
        until: events before this; by default up to the newest, or for an hour where that
            came before `since`.
        bucket_s: width of a bucket of `volume`, the first of which begins at `since`; by
            default the narrowest that makes at most 100 of them, wherever they begin.
        top: readers in `top-users`.
        category: only events about articles of this category.
        device: only events on this kind of device.

    Raises:
        ConfigError: no such index, a time without a zone, a window that ends before it
            begins, too many buckets, an unknown category or device; the message names it.
        ServerError: OpenSearch did not answer, or not for all of the index.
    """
    for name, moment in (("since", since), ("until", until)):
        _check(moment is None or _has_zone(moment), name, moment, "it takes a datetime with a zone")
    _check(_is_count(top), "top", top, _COUNT)
    _check(bucket_s is None or _is_count(bucket_s), "bucket_s", bucket_s, _COUNT)
    _check(category in (None, *CATEGORIES), "category", category, _one_of(CATEGORIES))
    _check(device in (None, *DEVICE_TYPES), "device", device, _one_of(DEVICE_TYPES))
    is_looked_up = since is None
    since, until = _window(client, index_name, since, until)
    span_s = (until - since).total_seconds()
    if span_s <= 0:
        msg = (
            f"asking from {since:%Y-%m-%d %H:%M:%S} to {until:%Y-%m-%d %H:%M:%S}: "
            "the window must end after it begins"
        )
        raise ConfigError(msg)
    if bucket_s is None:
        bucket_s = next((b for b in BUCKETS_S if span_s / b <= MOST_BUCKETS - 1), BUCKETS_S[-1])
    if span_s / bucket_s > 10_000:
        msg = f"asking for buckets of {bucket_s} s over {span_s:,.0f} s: at most 10,000, please"
        raise ConfigError(msg)
    if is_looked_up:
        since -= timedelta(milliseconds=_millis(since) % (1000 * bucket_s))
    asked = {
        "size": 0,
        "track_total_hits": True,
        "query": {"bool": {"filter": _filters(since, until, category, device)}},
        "aggs": {spec.name: _aggregation(spec, since, bucket_s, top) for spec in _ASKED},
    }
    with answering(client, f"asking index {index_name!r}"):
        found = client.search(index=index_name, body=asked)
    if found["timed_out"] or found["_shards"]["failed"]:
        msg = f"asking index {index_name!r}: only a part of it answered; ask again"
        raise ServerError(msg)
    answers = found["aggregations"]
    grid = _grid(DEVICE_CATEGORY, answers[DEVICE_CATEGORY.name])
    starts = range(_millis(since), _millis(until), 1000 * bucket_s)
    return Answer(
        frames={
            EVENT_TYPE.name: _ordered(EVENT_TYPE, answers[EVENT_TYPE.name]["buckets"]),
            VOLUME.name: _over_time(answers[VOLUME.name]["buckets"], starts),
            VOLUME_SCENARIOS: _added(answers[VOLUME.name]["buckets"], starts),
            TOP_USERS.name: _users(answers[TOP_USERS.name]["buckets"]),
            DEVICE_CATEGORY.name: grid,
            DEVICE_CATEGORY_TABLE.name: grid.copy(),
            AB_TEST.name: _grid(AB_TEST, answers[AB_TEST.name]),
        },
        total=found["hits"]["total"]["value"],
        took_ms=found["took"],
        count_error=answers[TOP_USERS.name]["doc_count_error_upper_bound"],
        since=since,
        until=until,
        bucket_s=bucket_s,
    )


_ASKED: Final = (EVENT_TYPE, VOLUME, TOP_USERS, DEVICE_CATEGORY, AB_TEST)
"""The table shows what the heatmap does."""
_TIME: Final = {"field": "timestamp"}
_QUIET: Final = timedelta(hours=1)
"""How long a window is whose other end lies beyond all events."""


def _check(is_right: bool, name: str, value: object, wanted: str) -> None:
    if not is_right:
        msg = f"asking with {name}={value!r}: {wanted}"
        raise ConfigError(msg)


_COUNT: Final = "it takes a whole number, 1 or more"


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 1


def _has_zone(moment: object) -> bool:
    return isinstance(moment, datetime) and moment.utcoffset() is not None


def _one_of(values: tuple[str, ...]) -> str:
    return f"there is {', '.join(values)}"


def _moment(answer: dict[str, Any]) -> datetime | None:
    value = answer["value"]
    return None if value is None else datetime.fromtimestamp(value / 1000, UTC)


def _window(
    client: OpenSearch, index_name: str, since: datetime | None, until: datetime | None
) -> tuple[datetime, datetime]:
    if since is None or until is None:
        body = {"size": 0, "aggs": {"oldest": {"min": _TIME}, "newest": {"max": _TIME}}}
        with answering(client, f"asking index {index_name!r}"):
            found = client.search(index=index_name, body=body)["aggregations"]
        if until is None:
            last = _moment(found["newest"])
            # `until` is exclusive; times are whole milliseconds.
            until = datetime.now(UTC) if last is None else last + timedelta(milliseconds=1)
            if since is not None and until <= since:
                until = since + _QUIET
        if since is None:
            since = _moment(found["oldest"])
            if since is None or since >= until:
                since = until - _QUIET
    return since, until


def _millis(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _filters(
    since: datetime, until: datetime, category: str | None, device: str | None
) -> list[dict[str, Any]]:
    window = {"gte": _millis(since), "lt": _millis(until), "format": "epoch_millis"}
    filters: list[dict[str, Any]] = [{"range": {"timestamp": window}}]
    if category is not None:
        filters.append({"term": {"article_category": category}})
    if device is not None:
        filters.append({"term": {"device_type": device}})
    return filters


def _aggregation(spec: Spec, since: datetime, bucket_s: int, top: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    if len(spec.fields) > 1:
        # Which scenario has most of a reader's events is enough.
        size = 1 if spec is TOP_USERS else spec.size
        inner = {spec.fields[1]: {"terms": {"field": spec.fields[1], "size": size}}}
        if spec.fields[1] == "scenario":
            inner["scenario"]["terms"]["exclude"] = list(LABELS)
    if spec is VOLUME:
        # From `since` on: by the clock alone a part of a bucket would look like a fall.
        offset = f"{_millis(since) % (1000 * bucket_s)}ms"
        cut = {"fixed_interval": f"{bucket_s}s", "offset": offset, "min_doc_count": 1}
        return {"date_histogram": _TIME | cut, "aggs": inner}
    size = top if spec is TOP_USERS else spec.size
    # A shard that hands on many more than asked for leaves no doubt about the first ones.
    terms = {"field": spec.fields[0], "size": size, "shard_size": max(1_000, 10 * size)}
    asked: dict[str, Any] = {"terms": terms, "aggs": inner}
    if spec.only is None:
        return asked
    field, value = spec.only
    return {"filter": {"term": {field: value}}, "aggs": {spec.fields[0]: asked}}


def _counts(**columns: Any) -> pd.DataFrame:
    """Make a frame whose types are the same when there is nothing in it."""
    types = {"timestamp": "datetime64[ms, UTC]", "count": "int64"}
    return pd.DataFrame(
        {name: pd.Series(rows, dtype=types.get(name, "str")) for name, rows in columns.items()}
    )


def _ordered(spec: Spec, buckets: list[dict[str, Any]]) -> pd.DataFrame:
    found = {bucket["key"]: bucket["doc_count"] for bucket in buckets}
    names = [name for name in spec.order(0, found) if name in found]
    return _counts(**{spec.fields[0]: names, "count": [found[name] for name in names]})


def _over_time(buckets: list[dict[str, Any]], starts: range) -> pd.DataFrame:
    # Zeros are filled in here: with an offset OpenSearch's own bounds make a bucket too many.
    found = {bucket["key"]: bucket["doc_count"] for bucket in buckets}
    return _counts(timestamp=_moments(starts), count=[found.get(start, 0) for start in starts])


def _added(buckets: list[dict[str, Any]], starts: range) -> pd.DataFrame:
    found = {
        (scenario["key"], bucket["key"]): scenario["doc_count"]
        for bucket in buckets
        for scenario in bucket["scenario"]["buckets"]
    }
    there = {name for name, _ in found}
    names = [name for name in VOLUME.order(1, there) if name in there]
    pairs = [(name, start) for name in names for start in starts]
    return _counts(
        timestamp=_moments(start for _, start in pairs),
        scenario=[name for name, _ in pairs],
        count=[found.get(pair, 0) for pair in pairs],
    )


def _moments(starts: Iterable[int]) -> Any:
    return pd.to_datetime(list(starts), unit="ms", utc=True)


def _users(buckets: list[dict[str, Any]]) -> pd.DataFrame:
    scenarios = []
    for bucket in buckets:
        most = bucket["scenario"]["buckets"]
        is_added = bool(most) and 2 * most[0]["doc_count"] > bucket["doc_count"]
        scenarios.append(most[0]["key"] if is_added else "")
    return _counts(
        user_id=[bucket["key"] for bucket in buckets],
        count=[bucket["doc_count"] for bucket in buckets],
        scenario=scenarios,
    )


def _grid(spec: Spec, answer: dict[str, Any]) -> pd.DataFrame:
    rows, columns = spec.fields
    found = {
        (row["key"], column["key"]): column["doc_count"]
        for row in (answer if spec.only is None else answer[rows])["buckets"]
        for column in row[columns]["buckets"]
    }
    pairs = [
        (row, column)
        for row in spec.order(0, {row for row, _ in found})
        for column in spec.order(1, {column for _, column in found})
    ]
    return _counts(
        **{
            rows: [row for row, _ in pairs],
            columns: [column for _, column in pairs],
            "count": [found.get(pair, 0) for pair in pairs],
        }
    )
