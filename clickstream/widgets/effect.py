"""What a scenario changes, in one line: the minute before it, and the latest seconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from clickstream.charts.chart import between, terms
from clickstream.charts.search import Search
from clickstream.events import REACTIONS
from clickstream.simulation.scenarios import (
    SCENARIOS,
    ABTest,
    Bot,
    DeviceOutage,
    DirtyData,
    LogoutWave,
)
from clickstream.simulation.surges import BreakingNews, CommentStorm
from clickstream.widgets.activity_log import Play

SHOWN_AFTER_S: Final = 30.0
"""So long after its end a scenario is still compared."""
_BEFORE: Final = timedelta(seconds=60)
_STAMPED_LATE: Final = timedelta(seconds=1)
"""An event bears the time at which it was due, up to a second before it was made."""
_LATEST: Final = timedelta(seconds=10)
_FIRST_AFTER: Final = timedelta(seconds=5)
"""A mean over less says little, and the line says first what to watch."""
_COUNTS_KEPT: Final = 100


@dataclass(frozen=True)
class _Measure:
    """A number of the events of some seconds."""

    unit: str
    aggregations: dict[str, Any]
    read: Callable[[dict[str, Any], float], str]
    """Makes the text of the number, of the search's answer and the seconds."""
    read_before: Callable[[dict[str, Any], float], str] | None = None
    """The same for the minute before, if that differs."""


def _counted(unit: str, field: str, value: object) -> _Measure:
    aggregations = {"counted": {"filter": {"term": {field: value}}}}
    return _Measure(
        unit,
        aggregations,
        lambda answer, seconds: _number(answer["aggregations"]["counted"]["doc_count"] / seconds),
    )


def _share_of_the_leader(answer: dict[str, Any], seconds: float) -> str:
    leaders = answer["aggregations"]["leader"]["buckets"]
    most = leaders[0]["doc_count"] if leaders else 0
    return f"{_number(100 * most / max(1, answer['hits']['total']['value']))} %"


def _reactions_by_arm(answer: dict[str, Any], seconds: float) -> str:
    found = answer["aggregations"]
    arms = sorted(found["arms"]["by"]["buckets"], key=lambda each: str(each["key"]))
    if not arms:
        return _in_100_views(found)
    return ", ".join(f"{arm['key']} {_in_100_views(arm)}" for arm in arms)


def _in_100_views(found: dict[str, Any]) -> str:
    views = found["views"]["doc_count"]
    return _number(100 * found["reactions"]["doc_count"] / views) if views else "–"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


_REACTIONS: Final = {
    "views": {"filter": {"term": {"event_type": "page_view"}}},
    "reactions": {"filter": {"terms": {"event_type": list(REACTIONS)}}},
}
_ARMS: Final = {
    "filter": {"term": {"scenario": ABTest.name}},
    "aggs": {"by": {"terms": {"field": "variant"}, "aggs": _REACTIONS}},
}
_DEVICE: Final = DeviceOutage.keys["device"].default
_MEASURES: Final = {
    BreakingNews.name: _counted("views a second", "event_type", "page_view"),
    CommentStorm.name: _counted("comments a second", "event_type", "comment"),
    LogoutWave.name: _counted("logouts a second", "event_type", "logout"),
    DeviceOutage.name: _counted(f"events a second on {_DEVICE}", "device_type", _DEVICE),
    Bot.name: _Measure(
        "of all events by the leader", {"leader": terms("user_id", 1)}, _share_of_the_leader
    ),
    ABTest.name: _Measure(
        "reactions in 100 views",
        _REACTIONS | {"arms": _ARMS},
        _reactions_by_arm,
        read_before=lambda answer, seconds: _in_100_views(answer["aggregations"]),
    ),
}


class Effect:
    """Compares the latest ten seconds with the minute before a scenario; for one thread.

    Args:
        search: sends a search.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._before: tuple[Play | None, str] = (None, "")
        """Of the scenario that was compared last."""
        self._dead_letters: deque[tuple[datetime, int]] = deque(maxlen=_COUNTS_KEPT)

    def note_dead_letters(self, at: datetime, count: int) -> None:
        """Record the number of dead letters, about once per second: no index has them."""
        self._dead_letters.append((at, count))

    def compare(self, play: Play, until: datetime) -> str:
        """Return the line; empty where there is nothing to compare, or not yet.

        Args:
            play: the scenario.
            until: events before it are searchable.

        Raises:
            ConfigError, ServerError: as the search.
        """
        if until < play.began + _FIRST_AFTER or play.scenario not in _UNITS:
            return ""
        began = replace(play, ended=None)
        if self._before[0] != began:
            until_before = play.began - _STAMPED_LATE
            before = self._mean(play.scenario, until_before - _BEFORE, until_before, is_before=True)
            self._before = began, before
        now = self._mean(play.scenario, max(play.began, until - _LATEST), until)
        title = f"{SCENARIOS[play.scenario].title}{' has ended' if play.ended else ''}"
        return f"{title}, before → now: {self._before[1]} → {now} {_UNITS[play.scenario]}"

    def _mean(
        self, scenario: str, since: datetime, until: datetime, *, is_before: bool = False
    ) -> str:
        seconds = (until - since).total_seconds()
        if scenario == DirtyData.name:
            return _number((self._letters_at(until) - self._letters_at(since)) / seconds)
        measure = _MEASURES[scenario]
        answer = self._search(
            {
                "size": 0,
                "track_total_hits": True,
                "query": between(since, until),
                "aggs": measure.aggregations,
            }
        )
        read = (is_before and measure.read_before) or measure.read
        return read(answer, seconds)

    def _letters_at(self, moment: datetime) -> int:
        counts = [count for at, count in self._dead_letters if at <= moment]
        if counts:
            return counts[-1]
        return self._dead_letters[0][1] if self._dead_letters else 0


_UNITS: Final = {name: measure.unit for name, measure in _MEASURES.items()} | {
    DirtyData.name: "dead letters a second"
}
