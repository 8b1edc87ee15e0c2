"""The news site as data: which article is published when, about what, and how it ages.

Every article follows from a seed and the absolute hour it appears in, so that any two
simulations of one seed agree on the site's past, wherever they start. Nobody reads here;
who reads what is for `readers.py` and `simulator.py`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import Final

from clickstream.events import CATEGORIES, Category, format_timestamp

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

SHELF_DAYS: Final = 10
"""How long an article can be found on the site; so also the past at a simulation's start."""

TABLE_MS: Final = 3 * MINUTE_MS
"""How often popularity is worked out anew."""

DECAY_HOURS: Final = 4.5
DECAY_POWER: Final = 1.9
"""Popularity falls as (1 + age / DECAY_HOURS) ** -DECAY_POWER. Source: fitted to the age of
an article at the click in Adressa's January 2017 (quartiles 1.8, 5.2 and 16.4 hours)."""

APPEAL_SIGMA: Final = 1.3
"""Spread of the lognormal appeal: a few articles are read far more than the rest."""

ARTICLES_BY_HOUR: Final = (
    1, 1, 1, 1, 2, 3, 6, 7, 8, 8, 7, 7, 7, 7, 7, 7, 7, 7, 6, 5, 5, 4, 3, 3,
)  # fmt: skip
"""Articles expected in each hour of the UTC day: 120 a day, fewer at night."""

CATEGORY_SHARES: Final[dict[Category, float]] = {
    "politics": 0.25,
    "tech": 0.16,
    "sports": 0.22,
    "health": 0.14,
    "entertainment": 0.23,
}

_PLACES: Final = (
    "Almere Point", "Brackwater", "Castle Orrin", "Dunmarsh", "Eastholm", "Fennick", "Glenmoor",
    "Harrow Quay", "Inverlee", "Juniper Falls", "Kestrel Bay", "Larkfield", "Merrow", "Northgate",
    "Oldbridge", "Pinehaven",
)  # fmt: skip

# Three parts, each drawn by itself: 12 x 12 x 16 headlines a category, told apart at a glance.
# Within a category all subjects are one or all are many, and the actions agree with that.
_HEADLINES: Final[dict[Category, tuple[str, tuple[str, ...], tuple[str, ...]]]] = {
    "politics": (
        "{subject} {action} in {place}",
        (
            "Council", "Mayor", "Opposition", "Finance minister", "Youth parliament", "Coalition",
            "Transport committee", "Regional court", "Farmers' party", "Border agency",
            "Housing board", "Electoral office",
        ),
        (
            "backs new tram line", "delays budget vote", "calls early election",
            "rejects harbour tax", "promises cheaper rents", "loses key debate",
            "opens inquiry", "signs water treaty", "wins recount", "drops parking plan",
            "faces tough questions", "unveils school reform",
        ),
    ),
    "tech": (
        "{subject} {action} in {place}",
        (
            "Chip maker", "Robot start-up", "Battery lab", "Open-source team", "Drone firm",
            "Satellite crew", "Game studio", "Cloud provider", "Phone repair shop",
            "Quantum group", "Self-driving bus", "Data centre",
        ),
        (
            "doubles its speed", "recalls first model", "hires a thousand", "goes solar",
            "fixes old bug", "beats delivery record", "shares its blueprints",
            "survives power cut", "learns local dialect", "opens test track",
            "halves its prices", "passes safety check",
        ),
    ),
    "sports": (
        "{place} {subject} {action}",
        (
            "rowers", "strikers", "goalkeepers", "cyclists", "hockey players", "sprinters",
            "rugby women", "swimmers", "chess players", "climbers", "marathon runners", "fencers",
        ),
        (
            "reach the final", "stun the champions", "win in extra time",
            "miss out by a second", "break a ten-year record", "return after injury",
            "draw in the rain", "sign for three seasons", "protest the result",
            "fight back from two down", "lead at half-way", "train at dawn",
        ),
    ),
    "health": (
        "{subject} {action}, {place} study finds",
        (
            "Short walks", "Afternoon naps", "Cold showers", "Rye sandwiches", "Choir evenings",
            "Screen-free days", "Garden hours", "School breakfasts", "Early nights",
            "Steep stairs", "Herbal teas", "Quiet wards",
        ),
        (
            "lower blood pressure", "help memory", "improve sleep", "ease back pain",
            "cut stress", "strengthen bones", "lift the mood", "speed recovery",
            "matter more than thought", "help older hearts", "change appetite",
            "protect the lungs",
        ),
    ),
    "entertainment": (
        "{subject} {action} at {place} festival",
        (
            "Silent film", "Brass band", "Puppet opera", "Debut novel", "Street magician",
            "Comedy duo", "Animated short", "Folk singer", "Dance troupe", "Cult series",
            "Radio play", "Lost recording",
        ),
        (
            "wins top prize", "sells out", "divides critics", "returns after a decade",
            "surprises everyone", "gets standing ovation", "breaks the fourth wall",
            "premieres in the rain", "finds a new ending", "tours by bicycle",
            "moves to tears", "steals the show",
        ),
    ),
}  # fmt: skip


@dataclass(eq=False, slots=True)
class Article:
    """One article; two are the same only if they are one object."""

    article_id: str
    """`sports-260105-0930`: category and the minute of publication, which is its own alone."""
    category: Category
    title: str
    published_ms: int
    """In simulated time."""
    published_at: str
    """In event time; a simulator whose clock runs at another speed sets it anew."""
    appeal: float


def published_in_hour(seed: int, hour: int) -> list[Article]:
    """Give the articles of one hour, oldest first; the same for the same seed and hour.

    Args:
        seed: of the whole site.
        hour: hours since 1970, UTC.
    """
    rng = Random(f"newsroom/{seed}/{hour}")  # a string is seeded by SHA-512, not by `hash`
    expected = ARTICLES_BY_HOUR[hour % 24]
    number = int(expected * rng.uniform(0.5, 1.5) + rng.random())
    minutes = sorted(rng.sample(range(60), number))
    return [_article(rng, hour * HOUR_MS + minute * MINUTE_MS) for minute in minutes]


def _article(rng: Random, minute_ms: int) -> Article:
    category = rng.choices(CATEGORIES, [CATEGORY_SHARES[name] for name in CATEGORIES])[0]
    pattern, subjects, actions = _HEADLINES[category]
    title = pattern.format(
        subject=rng.choice(subjects), action=rng.choice(actions), place=rng.choice(_PLACES)
    )
    minute = format_timestamp(minute_ms)
    published_ms = minute_ms + rng.randrange(MINUTE_MS)
    return Article(
        article_id=f"{category}-{minute[2:4]}{minute[5:7]}{minute[8:10]}-{minute[11:13]}{minute[14:16]}",
        category=category,
        title=title[0].upper() + title[1:],
        published_ms=published_ms,
        published_at=format_timestamp(published_ms),
        appeal=rng.lognormvariate(0, APPEAL_SIGMA),
    )


Shelf = list[tuple[list[float], list[Article], float]]
"""What can be read at a moment, by category in the order of `CATEGORIES`: cumulative
popularity, the articles it belongs to, and its total."""


class Newsroom:
    """The articles around a simulation's clock, worked out as they are asked for.

    Asked about ever later moments it forgets what has left the shelf, so its size stays the
    same however long it runs.
    """

    def __init__(self, *, seed: int, start_ms: int) -> None:
        """Fill the shelf with the `SHELF_DAYS` before `start_ms`."""
        self._seed = seed
        self._next_hour = (start_ms - SHELF_DAYS * DAY_MS) // HOUR_MS
        self._by_category: dict[Category, deque[tuple[int, float, Article]]] = {
            category: deque() for category in CATEGORIES
        }
        self._upcoming: deque[Article] = deque()
        self._publish_until(start_ms)
        # What comes out later in the hour of the start is still to be told.
        self.take_published(start_ms)

    def shelf(self, table: int) -> Shelf:
        """Give what can be read from `table` * `TABLE_MS` on; never an article of the future.

        Moments must be asked about in order, or within one shelf life of the latest.
        """
        self._publish_until(table * TABLE_MS)
        shelf: Shelf = []
        for on_shelf in self._by_category.values():
            while on_shelf[0][0] < table - len(_DECAY) + 1:
                on_shelf.popleft()
            weights = [
                appeal * _DECAY[table - since] for since, appeal, _ in on_shelf if since <= table
            ]
            cumulative = list(accumulate(weights))
            articles = [article for _, _, article in on_shelf]
            shelf.append((cumulative, articles, cumulative[-1]))
        return shelf

    def take_published(self, until_ms: int) -> list[Article]:
        """Give, once each and oldest first, the articles published since the start.

        What has left the shelf before it was taken is not among them.
        """
        self._publish_until(until_ms)
        taken = []
        while self._upcoming and self._upcoming[0].published_ms <= until_ms:
            taken.append(self._upcoming.popleft())
        return taken

    def _publish_until(self, until_ms: int) -> None:
        while self._next_hour * HOUR_MS <= until_ms:
            for article in published_in_hour(self._seed, self._next_hour):
                # The first table that starts after the article is out.
                since = -(-article.published_ms // TABLE_MS)
                self._by_category[article.category].append((since, article.appeal, article))
                self._upcoming.append(article)
            self._next_hour += 1
        # Where nobody takes what is published it leaves with the shelf.
        oldest_ms = self._next_hour * HOUR_MS - SHELF_DAYS * DAY_MS
        while self._upcoming and self._upcoming[0].published_ms < oldest_ms:
            self._upcoming.popleft()


_DECAY: Final = [
    (1 + table * TABLE_MS / (DECAY_HOURS * HOUR_MS)) ** -DECAY_POWER
    for table in range(math.ceil(SHELF_DAYS * DAY_MS / TABLE_MS) + 1)
]
