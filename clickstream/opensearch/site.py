"""What the index says about the site now: readers, page views, and the newest searchable event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from clickstream.opensearch import index
from clickstream.opensearch.client import Client

READERS_MS: Final = 300_000
"""A session with an event in the latest five minutes counts as a reader on the site."""
_VIEWS_MS: Final = 10_000
_NEWEST_MS: Final = 60_000


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
    of_article = {"size": 1, "_source": [f"article_{field}" for field in _ARTICLE]}
    aggs = {
        "articles": {
            "terms": {"field": "article_id", "size": most},
            "aggs": {"article": {"top_hits": of_article}},
        }
    }
    is_view = {"term": {"event_type": "page_view"}}
    query = {"bool": {"filter": [is_view, _between(since_ms, until_ms)]}}
    buckets = _search(client, name, query, aggs)["articles"]["buckets"]
    return [_headline(each) for each in buckets]


_ARTICLE: Final = ("category", "title", "published_at")


def _headline(bucket: dict[str, Any]) -> Headline:
    source = bucket["article"]["hits"]["hits"][0]["_source"]
    fields = {field: str(source[f"article_{field}"]) for field in _ARTICLE}
    return Headline(article_id=bucket["key"], views=bucket["doc_count"], **fields)


@dataclass(frozen=True)
class Reader:
    """What the index knows of one reader."""

    events: int
    """In the window."""
    place: int
    """In the ranking of the window: one more than the readers with more events; 0 without events.
    """
    is_known: bool
    """Whether there is any event of that reader."""
    is_logged_in: bool
    """Whether the newest event is of the latest 30 minutes, and no logout."""


def newest_ms(client: Client, name: str, now_ms: int) -> int | None:
    """Return the event time of the newest event that a search finds, of the latest minute.

    Raises:
        ConfigError, ServerError: as `read`.
    """
    newest = {"newest": {"max": {"field": "timestamp"}}}
    value = _search(client, name, _between(now_ms - _NEWEST_MS, now_ms), newest)["newest"]["value"]
    return None if value is None else int(value)


def _between(since_ms: int, until_ms: int) -> dict[str, Any]:
    span = {"gte": since_ms, "lte": until_ms, "format": "epoch_millis"}
    return {"range": {"timestamp": span}}


def _search(client: Client, name: str, query: dict[str, Any], aggs: dict[str, Any]) -> Any:
    return index.search(client, name, {"size": 0, "query": query, "aggs": aggs})["aggregations"]
