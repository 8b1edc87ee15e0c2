"""The news site as data: when each article is published, its topic, and how it ages.

A seed and the absolute hour determine every article, so that two simulations with the same seed
agree on the site's past, whatever their start. `personas.py` and `simulator.py` decide which
reader reads which article.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from random import Random
from typing import Final

from clickstream.events import CATEGORIES, Category, format_timestamp
from clickstream.simulation.sections import PLACES, SECTIONS

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

LIFETIME_DAYS: Final = 10
"""How long an article stays on the site, and so the past that a simulation starts with."""

TABLE_MS: Final = 3 * MINUTE_MS
"""How often popularity is recalculated."""

DECAY_HOURS: Final = 3.2
DECAY_POWER: Final = 2.0
"""Popularity falls as (1 + age / DECAY_HOURS) ** -DECAY_POWER. Source: fitted to the age of
an article at the click in Adressa's January 2017 (quartiles 1.8, 5.2 and 16.4 hours)."""

POPULARITY_POWER: Final = 1.35
TOP_SHARE: Final = 1 / 80
"""The popularity of a new article is (1 - u) ** -POPULARITY_POWER for a uniform u. The top 80th
all have the same, so that one article does not take all views of a day. Source: fitted to views
that fall with one over the rank, as in Boston University's client traces (slope -0.986)."""

ARTICLES_BY_HOUR: Final = (
    1, 1, 1, 1, 2, 3, 6, 7, 8, 8, 7, 7, 7, 7, 7, 7, 7, 7, 6, 5, 5, 4, 3, 3,
)  # fmt: skip
"""Articles expected in each hour of the UTC day: 120 a day, fewer at night."""


@dataclass(eq=False, slots=True)
class Article:
    """One article; two articles are equal only if they are the same object."""

    article_id: str
    """Such as `sports-260105-0930`: category and minute of publication, unique to the article."""
    category: Category
    title: str
    published_ms: int
    """In simulated time."""
    published_at: str
    """In event time; a simulator whose clock runs at another speed replaces it."""
    initial_popularity: float
    """Relative to other articles, before it falls with age."""


def published_in_hour(seed: int, hour: int) -> list[Article]:
    """Return the articles of one hour, oldest first; the same for the same seed and hour.

    Args:
        seed: the seed of the whole site.
        hour: hours since 1970, UTC.
    """
    rng = Random(f"newsroom/{seed}/{hour}")  # a string is seeded by SHA-512, not by `hash`
    expected = ARTICLES_BY_HOUR[hour % 24]
    number = int(expected * rng.uniform(0.5, 1.5) + rng.random())
    minutes = sorted(rng.sample(range(60), number))
    return [_article(rng, hour * HOUR_MS + minute * MINUTE_MS) for minute in minutes]


def _article(rng: Random, minute_ms: int) -> Article:
    category = rng.choices(CATEGORIES, [section.weight for section in SECTIONS.values()])[0]
    section = SECTIONS[category]
    title = section.pattern.format(
        subject=rng.choice(section.subjects),
        action=rng.choice(section.actions),
        place=rng.choice(PLACES),
    )
    minute = datetime.fromtimestamp(minute_ms // 1000, UTC)
    published_ms = minute_ms + rng.randrange(MINUTE_MS)
    return Article(
        article_id=f"{category}-{minute:%y%m%d-%H%M}",
        category=category,
        title=title[0].upper() + title[1:],
        published_ms=published_ms,
        published_at=format_timestamp(published_ms),
        initial_popularity=max(1 - rng.random(), TOP_SHARE) ** -POPULARITY_POWER,
    )


def breaking(rng: Random, at_ms: int) -> Article:
    """Write a breaking-news article, published at this event time."""
    article = _article(rng, at_ms - at_ms % MINUTE_MS)
    article.article_id += f"-{at_ms % MINUTE_MS:05d}"  # there may be two in a minute
    article.title = f"Breaking: {article.title}"
    article.published_ms, article.published_at = at_ms, format_timestamp(at_ms)
    return article


AvailableArticles = list[tuple[list[float], list[Article], float]]
"""The available articles at one moment, by category in the order of `CATEGORIES`: cumulative
popularity, the articles, and the total popularity."""


class Catalog:
    """The articles around a simulation's clock, computed on demand.

    As time moves on, it forgets articles that have left the site, so its size stays constant.
    """

    def __init__(self, *, seed: int, start_ms: int) -> None:
        """Publish the articles of the `LIFETIME_DAYS` before `start_ms`."""
        self._seed = seed
        self._next_hour = (start_ms - LIFETIME_DAYS * DAY_MS) // HOUR_MS
        self._by_category: dict[Category, deque[tuple[int, float, Article]]] = {
            category: deque() for category in CATEGORIES
        }
        self._upcoming: deque[Article] = deque()
        self._publish_until(start_ms)
        # Articles from later in the first hour are still to be published.
        self.take_published(start_ms)

    def available(self, table: int) -> AvailableArticles:
        """Return the articles available from `table` * `TABLE_MS` on, none from the future.

        Request moments in order, or within one lifetime of the latest one.
        """
        self._publish_until(table * TABLE_MS)
        available: AvailableArticles = []
        for known in self._by_category.values():
            while known[0][0] < table - len(_DECAY) + 1:
                known.popleft()
            cumulative = list(
                accumulate(p * _DECAY[table - since] for since, p, _ in known if since <= table)
            )
            articles = [article for since, _, article in known if since <= table]
            available.append((cumulative, articles, cumulative[-1]))
        return available

    def take_published(self, until_ms: int) -> list[Article]:
        """Return the articles published since the last call or the start, oldest first.

        Articles that left the site before they were taken are missing.
        """
        self._publish_until(until_ms)
        taken = []
        while self._upcoming and self._upcoming[0].published_ms <= until_ms:
            taken.append(self._upcoming.popleft())
        return taken

    def _publish_until(self, until_ms: int) -> None:
        while self._next_hour * HOUR_MS <= until_ms:
            for article in published_in_hour(self._seed, self._next_hour):
                # The first table that starts after the publication.
                since = -(-article.published_ms // TABLE_MS)
                known = self._by_category[article.category]
                known.append((since, article.initial_popularity, article))
                self._upcoming.append(article)
            self._next_hour += 1
        # If nobody takes a published article, it is forgotten when it leaves the site.
        oldest_ms = self._next_hour * HOUR_MS - LIFETIME_DAYS * DAY_MS
        while self._upcoming and self._upcoming[0].published_ms < oldest_ms:
            self._upcoming.popleft()


_DECAY: Final = [
    (1 + table * TABLE_MS / (DECAY_HOURS * HOUR_MS)) ** -DECAY_POWER
    for table in range(math.ceil(LIFETIME_DAYS * DAY_MS / TABLE_MS) + 1)
]
