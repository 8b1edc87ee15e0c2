"""The sessions of one reader in the shown window, as text: each event in order."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any

from clickstream.charts.chart import between
from clickstream.charts.theme import counted
from clickstream.demo.demo import Demo
from clickstream.kafka.messages import printable
from clickstream.widgets.station import cut

_MOST = 200


def sessions(demo: Demo, user_id: str, since: datetime, until: datetime) -> tuple[str, list[str]]:
    """Read the sessions of a reader, the newest first.

    Crowds give the same id to different people, so only those of one window belong together.

    Returns:
        A title, and the lines below it: printable, at most 80 characters each.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    filters = [{"term": {"user_id": user_id}}, between(since, until)]
    found = demo.search(
        {
            "size": _MOST,
            "track_total_hits": True,
            "query": {"bool": {"filter": filters}},
            "sort": [{"timestamp": "desc"}, {"session_seq": "desc"}],
            "aggs": {"sessions": {"cardinality": {"field": "session_id"}}},
        }
    )
    events = [hit["_source"] for hit in found["hits"]["hits"]]
    lines: list[str] = []
    for _, group in groupby(events, key=lambda event: event["session_id"]):
        lines += [*_session([*group][::-1]), ""]
    count, total = found["aggregations"]["sessions"]["value"], found["hits"]["total"]["value"]
    if total > _MOST:
        lines.append(f"and {total - _MOST:,} earlier events")
    title = f"{printable(user_id)}: {counted(total)} in {counted(count, 'session')}"
    return title, [cut(each) for each in lines]


def _session(events: list[dict[str, Any]]) -> list[str]:
    first = events[0]
    return [
        f"on {printable(first['device_type'])}, {counted(len(events))}",
        *(
            printable(" ".join([event["timestamp"][11:19], event["event_type"], _title(event)]))
            for event in events
        ),
    ]


def _title(event: dict[str, Any]) -> str:
    return event.get("article_title") or ""
