"""What the index says about the site now: readers and their place, page views and articles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from clickstream.opensearch import index
from clickstream.opensearch.client import Client

READERS_MS: Final = 300_000
"""A session with an event in the latest five minutes counts as a reader on the site."""
_VIEWS_MS: Final = 10_000
MOST_PLACES: Final = 10_000
"""Readers further back are told no place: to count all of them takes long."""


@dataclass(frozen=True)
class Site:
    """The site at one moment."""

    readers: int
    """Sessions with an event in the latest five minutes; within a few per cent."""
    views_per_second: float
    """Page views per second over the latest ten seconds."""


def read(client: Client, name: str, now_ms: int) -> Site:
    """Count the readers and the page views.

    Args:
        client: the connection.
        name: the index.
        now_ms: the end of both periods (ms since 1970).

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    views = {
        "bool": {
            "filter": [{"term": {"event_type": "page_view"}}, _between(now_ms - _VIEWS_MS, now_ms)]
        }
    }
    aggregations = {
        # Counts of a few thousand are exact; more need memory for each bucket of the estimate.
        "readers": {"cardinality": {"field": "session_id", "precision_threshold": 3_000}},
        "views": {"filter": views},
    }
    found = _search(client, name, _between(now_ms - READERS_MS, now_ms), aggregations)
    per_second = 1000 * found["views"]["doc_count"] / _VIEWS_MS
    return Site(int(found["readers"]["value"]), per_second)


@dataclass(frozen=True)
class Headline:
    """An article of the front page, as the index has it."""

    article_id: str
    category: str
    title: str
    published_at: str
    views: int
    """In the window."""


def front_page(
    client: Client, name: str, since_ms: int, until_ms: int, most: int = 8
) -> list[Headline]:
    """Return the most read articles of a window, the most read first.

    Raises:
        ConfigError, ServerError: as `read`.
    """
    newest = {"size": 1, "_source": list(_ARTICLE), "sort": [{"timestamp": "desc"}]}
    articles = _terms("article_id", most) | {"aggs": {"newest": {"top_hits": newest}}}
    filters = [
        {"term": {"event_type": "page_view"}},
        _between(since_ms, until_ms),
        *({"exists": {"field": field}} for field in _ARTICLE),
    ]
    found = _search(client, name, {"bool": {"filter": filters}}, {"articles": articles})
    return [_headline(each) for each in found["articles"]["buckets"]]


def read_now(
    client: Client, name: str, since_ms: int, until_ms: int, most: int = 5
) -> list[tuple[Headline, int | None]]:
    """Return the most read articles of a window, each with its views in the window before.

    Returns:
        The most read first. The window before is as long, and ends where this one begins; None in
        place of the views if it has no data, or only for a part of it: a fifth without any event.

    Raises:
        ConfigError, ServerError: as `read`.
    """
    headlines = front_page(client, name, since_ms, until_ms, most)
    if not headlines:
        return []
    span_ms = until_ms - since_ms
    first_ms, slice_ms = since_ms - span_ms, max(1, span_ms // _SLICES)
    ids = [each.article_id for each in headlines]
    views = [{"term": {"event_type": "page_view"}}, {"terms": {"article_id": ids}}]
    slices = {"fixed_interval": f"{slice_ms}ms", "offset": f"{first_ms % slice_ms}ms"}
    aggregations = {
        "views": {
            "filter": {"bool": {"filter": views}},
            "aggs": {"of": _terms("article_id", most)},
        },
        "slices": {"date_histogram": {"field": "timestamp", "min_doc_count": 1} | slices},
    }
    found = _search(client, name, _between(first_ms, since_ms - 1), aggregations)
    if len(found["slices"]["buckets"]) < _SLICES:
        return [(each, None) for each in headlines]
    before = {each["key"]: each["doc_count"] for each in found["views"]["of"]["buckets"]}
    return [(each, before.get(each.article_id, 0)) for each in headlines]


_SLICES: Final = 5
_ARTICLE: Final = ("article_category", "article_title", "article_published_at")


def _headline(bucket: dict[str, Any]) -> Headline:
    (newest,) = bucket["newest"]["hits"]["hits"]
    category, title, published_at = (newest["_source"][field] for field in _ARTICLE)
    return Headline(bucket["key"], category, title, published_at, bucket["doc_count"])


@dataclass(frozen=True)
class Reader:
    """The newest event of one reader, as far as it is searchable."""

    session_id: str
    timestamp: str
    is_logged_out: bool
    """Whether that event is a logout."""


def reader(client: Client, name: str, user_id: str) -> Reader | None:
    """Return the newest event of a reader; None without any.

    Raises:
        ConfigError, ServerError: as `read`.
    """
    fields = ["session_id", "timestamp", "event_type"]
    order = [{"timestamp": "desc"}, {"session_seq": "desc"}]
    newest = {"newest": {"top_hits": {"size": 1, "_source": fields, "sort": order}}}
    found = _search(client, name, {"term": {"user_id": user_id}}, newest)
    for hit in found["newest"]["hits"]["hits"]:
        session_id, timestamp, event_type = (hit["_source"][field] for field in fields)
        return Reader(session_id, timestamp, event_type == "logout")
    return None


def place(
    client: Client, name: str, user_id: str, since_ms: int, until_ms: int
) -> tuple[int, int | None]:
    """Count the events of a reader in a window, and the reader's place among all.

    Returns:
        The events, and one more than the number of readers with more events; None for the place
        of a reader without events, or behind `MOST_PLACES` others.

    Raises:
        ConfigError, ServerError: as `read`.
    """
    own = {"own": {"filter": {"term": {"user_id": user_id}}}}
    window = _between(since_ms, until_ms)
    events = int(_search(client, name, window, own)["own"]["doc_count"])
    if not events:
        return 0, None
    ahead = _terms("user_id", MOST_PLACES, at_least=events + 1)
    found = len(_search(client, name, window, {"ahead": ahead})["ahead"]["buckets"])
    return events, found + 1 if found < MOST_PLACES else None


def newest_ms(client: Client, name: str, since_ms: int, until_ms: int) -> int | None:
    """Return the time of the newest event of a period that a search finds (ms since 1970).

    Raises:
        ConfigError, ServerError: as `read`.
    """
    newest = {"newest": {"max": {"field": "timestamp"}}}
    value = _search(client, name, _between(since_ms, until_ms), newest)["newest"]["value"]
    return None if value is None else int(value)


def _between(since_ms: int, until_ms: int) -> dict[str, Any]:
    span = {"gte": since_ms, "lte": until_ms, "format": "epoch_millis"}
    return {"range": {"timestamp": span}}


def _terms(field: str, size: int, at_least: int = 1) -> dict[str, Any]:
    # Each shard returns more values than requested, so that the first ones are exact; not many
    # more, because a shard looks for the newest document of each.
    wanted = {"size": size, "shard_size": max(100, size), "min_doc_count": at_least}
    return {"terms": {"field": field, **wanted}}


def _search(client: Client, name: str, query: dict[str, Any], aggs: dict[str, Any]) -> Any:
    return index.search(client, name, {"size": 0, "query": query, "aggs": aggs})["aggregations"]
