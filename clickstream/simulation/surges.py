"""Scenarios in which readers come for one article: breaking news, and a comment storm.

The number of added events is a multiple of the crowd's.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, Final

from clickstream.events import Event, id_ms
from clickstream.simulation import personas
from clickstream.simulation.articles import Article, AvailableArticles, breaking
from clickstream.simulation.scenario_base import DAY_S, Number, Scenario
from clickstream.simulation.sessions import Habits, draw
from clickstream.simulation.simulator import Simulator, base36


class Surge(Scenario):
    """Readers who come for one article; their events are a multiple of the crowd's."""

    persona: ClassVar[personas.Persona]
    reading_factor: ClassVar[float]
    """Factor for reading times; below 1, so that an audience sees the rise quickly."""

    def begin(self, crowd: Simulator, at_ms: int) -> None:
        """Choose the article."""
        super().begin(crowd, at_ms)
        self._habits = Habits(self.persona)
        self._article = self._choose()
        self._without: AvailableArticles | None = None

    def _choose(self) -> Article:
        raise NotImplementedError

    def after_event(self, event: Event) -> None:
        """Add readers: many at the start, and fewer and fewer at the end."""
        at_ms = id_ms(event.event_id)
        expected = self._surplus(at_ms) / self._habits.expected_events
        for _ in range(int(expected + self._rng.random())):
            start_ms = at_ms + int(1000 * self._rng.random())
            session = draw(start_ms, self._habits, self._rng, self._available, registers=False)
            session.actions = [
                (start_ms + int(self.reading_factor * (action[0] - start_ms)), *action[1:])
                for action in session.actions
            ]
            tag = base36(self._begin_ms // 1000)
            session.identify(f"reader-{tag}{self.name[0]}-{self._num_visits}")
            self._add_visit(session)

    def _surplus(self, at_ms: int) -> float:
        """Return how many events to add per event of the crowd: it rises, holds, and halves."""
        seconds, length = (at_ms - self._begin_ms) / 1000, self._number("seconds")
        surplus = self._number("peak") - 1
        if seconds < _RAMP_S:
            return surplus * max(0.0, seconds) / _RAMP_S
        return surplus * math.exp2(-max(0.0, (seconds - 0.4 * length) / (length / 6)))

    def _available(self, _table: int) -> AvailableArticles:
        """Add the article to every category of the available articles, as the most popular one."""
        without = self._crowd.available_articles()
        if without is not self._without:
            self._without, self._with = without, []
            for cumulative, articles, total in without:
                raised = total / (1 - _ARTICLE_SHARE)
                self._with.append(([*cumulative, raised], [*articles, self._article], raised))
        return self._with


_RAMP_S: Final = 10.0
_ARTICLE_SHARE: Final = 0.97
"""Probability that a view is of the article, unless it was just read."""


class BreakingNews(Surge):
    """One article takes most views, and traffic is a multiple of normal."""

    name, title, marks = "breaking-news", "Breaking news", "added"
    what = "one new article draws a crowd; traffic peaks within 10 s, then falls slowly"
    watch = "volume: the added events are drawn separately; the article gets a third of all views"
    keys: ClassVar = {
        "peak": Number(5, 2, 10, "peak traffic, in multiples of normal"),
        "seconds": Number(180, 10, DAY_S, "seconds until it ends"),
    }
    strengths = tuple(f"peak={number}" for number in (2, 3, 5, 7, 10))
    persona = personas.Persona(
        weight=1.0,
        visits_per_day=1.0,
        rows=personas.rows(on=0.20, logout=0.05, like=0.04, comment=0.03, share=0.07),
        devices={"mobile": 0.74, "desktop": 0.20, "tablet": 0.06},
    )
    reading_factor = 0.6

    def _choose(self) -> Article:
        return breaking(self._rng, self._begin_ms)


class CommentStorm(Surge):
    """Readers start an argument in the comments of the most-read article."""

    name, title, marks = "comment-storm", "Comment storm", "added"
    what = "readers argue in the comments of the most-read article"
    watch = "event types: more comments; volume rises"
    keys: ClassVar = {
        "peak": Number(3, 1.2, 10, "peak traffic, in multiples of normal"),
        "seconds": Number(120, 10, DAY_S, "seconds until it ends"),
    }
    strengths = tuple(f"peak={number}" for number in (1.5, 2, 3, 5, 10))
    persona = personas.Persona(
        weight=1.0,
        visits_per_day=1.0,
        rows=personas.rows(on=0.10, logout=0.03, like=0.04, comment=0.72, share=0.02)
        | {"comment": {"comment": 0.62, "page_view": 0.10, "logout": 0.04}},
        devices={"mobile": 0.55, "desktop": 0.35, "tablet": 0.10},
    )
    reading_factor = 0.3

    def _choose(self) -> Article:
        available = self._crowd.available_articles()
        tastes = personas.mean_tastes()
        shares = [
            (tastes[section] * (upper - lower) / total, section, place)
            for section, (cumulative, _, total) in enumerate(available)
            for place, (lower, upper) in enumerate(pairwise([0.0, *cumulative]))
        ]
        _, section, place = max(shares)
        return available[section][1][place]
