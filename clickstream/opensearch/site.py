"""What the index says about the site now: readers, page views, and the newest searchable event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from clickstream.opensearch import index
from clickstream.opensearch.client import Client

READERS_MS: Final = 300_000
"""A session with an event in the latest five minutes counts as a reader on the site."""
_VIEWS_MS: Final = 10_000


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


def _search(client: Client, name: str, query: dict[str, Any], aggs: dict[str, Any]) -> Any:
    return index.search(client, name, {"size": 0, "query": query, "aggs": aggs})["aggregations"]
