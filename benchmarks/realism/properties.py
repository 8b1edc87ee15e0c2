"""What the readers' statistics should be, and are: every property measured on one sample.

The sample is two weeks of one seed's history, about a million events, looked at from outside:
what is measured is in the events alone, but for a reader's persona and pace, which follow
from seed and `user_id` (`personas.py`). Statistics of time are promised for history, and for
live traffic at the crowd's natural rate, where its clock is the clock.

Sources, by the short names the report uses:

- Adressa: clicks of January 2017, as published with gabrielspmoreira/chameleon_recsys.
- Parse.ly: reading by hour and weekday, 2014 and later.
- visit length: arXiv 0904.2369; rank: Boston University's client traces.
- ours: chosen for this kit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import pandas as pd
from scipy import stats

from benchmarks.realism import transitions
from benchmarks.realism.sample import DAYS, Sample, draw
from clickstream.events import REACTIONS
from clickstream.simulation import personas
from clickstream.simulation.articles import DAY_MS, HOUR_MS

ERROR: Final = 1e-4
"""How often chance alone may break the test of the transitions."""


@dataclass(frozen=True)
class Property:
    """One statistic of the readers."""

    name: str
    target: str
    measured: str
    holds: bool
    source: str


@dataclass(frozen=True)
class Report:
    """Every property of one seed's readers."""

    seed: int
    events: int
    readers: int
    properties: tuple[Property, ...]

    @property
    def holds(self) -> bool:
        """Whether every property does."""
        return all(found.holds for found in self.properties)

    def _rows(self) -> list[tuple[str, ...]]:
        head = ("property", "target", "measured", "", "source of the target")
        return [
            head,
            *(
                (p.name, p.target, p.measured, "holds" if p.holds else "FAILS", p.source)
                for p in self.properties
            ),
        ]

    def _summary(self) -> str:
        held = sum(found.holds for found in self.properties)
        return (
            f"seed {self.seed}: {self.events:,} events of {self.readers:,} readers in {DAYS} "
            f"days; {held} of {len(self.properties)} properties hold. Statistics of time are those "
            "of history, and of live traffic at the crowd's natural rate."
        )

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[place]) for row in rows) for place in range(5)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([*lines, "", self._summary()])


def measure(seed: int, *, start_ms: int) -> Report:
    """Simulate two weeks of about a million events, and measure every property on them.

    Takes some 20 s and 700 MB; the same seed and start give the same report.

    Args:
        seed: of the readers; any.
        start_ms: where the two weeks begin (ms since 1970); any.

    Raises:
        ConfigError: a start before 1970.
    """
    return judge(draw(seed, start_ms=start_ms))


def judge(sample: Sample) -> Report:
    """Measure every property on a sample; on a small one chance alone breaks some of them."""
    found = [property_ for rows in _ALL for property_ in rows(sample)]
    num_readers = sample.events["user_id"].nunique()
    return Report(sample.seed, len(sample.events), num_readers, tuple(found))


def _laws(sample: Sample) -> Iterator[Property]:
    """What no event may break, once."""
    events = sample.events
    before = events.groupby("session_id", observed=True)[["event_type", "at_ms", "device_type"]]
    before = before.shift()
    steps = events.groupby("session_id", observed=True).cumcount()
    opens = steps == 0
    kinds, kinds_before = events["event_type"].astype(str), before["event_type"].astype(str)
    may_open = kinds.isin(("login", "register"))
    follows_register = ~opens & (kinds_before == "register")
    misplaced = (opens != may_open) & ~follows_register | follows_register & (kinds != "login")
    yield _law("sessions open with login, newcomers' with register", misplaced.sum())
    gaps = (events["session_seq"] != steps) | (kinds_before == "logout")
    yield _law("no gap in a session, nothing after logout", gaps.sum())
    strays = ~opens & (events["device_type"].astype(str) != before["device_type"].astype(str))
    by_user = sample.sessions.sort_values(["user_id", "begin_ms"])
    overlaps = by_user["begin_ms"] < by_user.groupby("user_id", observed=True)["end_ms"].shift()
    yield _law("one session and one device at a time", strays.sum() + overlaps.sum())
    reactions = events[events["event_type"].isin(REACTIONS)]
    seen = sample.views.drop_duplicates(["session_id", "article_id"])
    keys = ["session_id", "article_id"]
    first = reactions[[*keys, "at_ms"]].merge(
        seen[[*keys, "at_ms"]].astype({"session_id": str}).astype({"session_id": object}),
        on=keys,
        how="left",
        suffixes=("", "_view"),
    )
    yield _law("reactions follow a view", (~(first["at_ms"] >= first["at_ms_view"])).sum())
    ahead = (events["published_ms"] > events["at_ms"]) | (events["at_ms"].diff() < 0)
    yield _law("nobody reads ahead, time never goes back", ahead.sum())
    newcomers = sample.sessions[sample.sessions["number"] >= sample.crowd]
    first_kinds = events[opens].set_index("session_id")["event_type"].astype(str)
    firsts = newcomers.drop_duplicates("user_id").index
    registered = set(first_kinds[first_kinds == "register"].index)
    wrong = len(registered.symmetric_difference(firsts))
    yield _law("newcomers register first, and once", wrong)


def _law(name: str, violations: int) -> Property:
    return Property(name, "0 violations", f"{violations:,}", violations == 0, "ours")


def _transitions(sample: Sample) -> Iterator[Property]:
    table = transitions.count(sample)
    found = transitions.p_values(table)
    state = min(found, key=lambda name: found[name])
    # Holm's correction: the least of all is judged by the number of tests.
    least = min(1.0, found[state] * len(found))
    yield Property(
        "transitions by persona, chi-square",
        f"p of all states >= {ERROR:g} (Holm)",
        f"{least:.3f} ({state})",
        least >= ERROR,
        "ours: personas.py",
    )
    # Of all states together: a rare one alone has too few events in two weeks.
    apart = transitions.distance(table)
    yield Property(
        "transitions, total variation", "< 0.01", f"{apart:.4f}", apart < 0.01, "ours: personas.py"
    )


def _reading(sample: Sample) -> Iterator[Property]:
    """What lies between a view and the session's next view or logout; last views left out."""
    events = sample.events
    turns = events[events["event_type"].isin(("page_view", "logout"))]
    until_ms = turns.groupby("session_id", observed=True)["at_ms"].shift(-1)
    seconds = (until_ms - turns["at_ms"]).dropna() / 1000
    for share, target in ((0.25, 21), (0.5, 47), (0.75, 90), (0.9, 158)):
        yield _near(f"reading time p{share:.0%}"[:-1], seconds.quantile(share), target, 0.15, "s")


def _near(
    name: str, measured: float, target: float, within: float, unit: str, source: str = "Adressa"
) -> Property:
    return Property(
        name,
        f"{target:g} {unit} ± {within:.0%}",
        f"{measured:.{0 if measured >= 20 else 1}f} {unit}",
        abs(measured / target - 1) <= within,
        source,
    )


def _between(
    name: str, measured: float, low: float, high: float, source: str, *, form: str = ".2f"
) -> Property:
    return Property(
        name,
        f"{low:{form}} to {high:{form}}" if high < math.inf else f">= {low:{form}}",
        f"{measured:{form}}",
        bool(low <= measured <= high),
        source,
    )


def _visits(sample: Sample) -> Iterator[Property]:
    """How many pages a session views: an exponential tail."""
    views = sample.sessions["views"]
    yield _between("views a session, mean", views.mean(), 2.5, 6.0, "Globo, arXiv 0904.2369")
    sizes = views[views > 0].value_counts().sort_index()
    sizes = sizes[sizes >= _RARE]
    line = stats.linregress(sizes.index.to_numpy(), sizes.map(math.log).to_numpy())
    name = "views a session, R² of an exponential"
    yield _between(name, line.rvalue**2, 0.95, 1.0, "arXiv 0904.2369", form=".3f")


_RARE: Final = 30
"""Lengths of a session that come less often say little."""


def _articles(sample: Sample) -> Iterator[Property]:
    """How old an article is when it is read, and how unequally articles are."""
    views = sample.views
    hours = (views["at_ms"] - views["published_ms"]) / HOUR_MS
    for share, target in ((0.25, 1.8), (0.5, 5.2), (0.75, 16.4)):
        yield _near(
            f"age of an article p{share:.0%}"[:-1], hours.quantile(share), target, 0.25, "h"
        )
    days = (views["at_ms"] - sample.start_ms) // DAY_MS
    slopes, audiences = [], []
    for _, of_day in views.groupby(days):
        counts = of_day["article_id"].astype(str).value_counts().head(100)
        ranks = pd.Series(range(1, len(counts) + 1)).map(math.log)
        slopes.append(-stats.linregress(ranks, counts.map(math.log)).slope)
        readers_of = of_day.groupby("article_id", observed=True)["user_id"].nunique()
        audiences.append(readers_of.nlargest(100).min())
    slope = float(pd.Series(slopes).median())
    yield _between(
        "popularity, slope over ranks 1-100 of a day", slope, 0.8, 1.2, "BU traces, RTVE"
    )
    name = "readers of the 100th article of a day"
    audience = float(pd.Series(audiences).median())
    yield _between(name, audience, 20, math.inf, "ours", form=",.0f")


def _activity(sample: Sample) -> Iterator[Property]:
    """How unequally readers are active."""
    counts = sample.events["user_id"].value_counts()
    share = counts.head(len(counts) // 5).sum() / len(sample.events)
    yield _between("events by the busiest fifth of readers", share, 0.55, 0.80, "ours", form=".0%")
    ratio = counts.iloc[0] / counts.iloc[9]
    yield _between("busiest reader ÷ tenth", ratio, 1.5, math.inf, "ours", form=".1f")


def _days(sample: Sample) -> Iterator[Property]:
    """How the day and the week run, in UTC, which is the site's own time."""
    events = sample.events
    moments = pd.to_datetime(events["at_ms"], unit="ms", utc=True)
    hours, weekend = moments.dt.hour, moments.dt.day_of_week >= 5
    by_hour = events.groupby(hours, observed=True).size()
    yield _between("busiest hour begins at", by_hour.idxmax(), 11, 13, "Parse.ly", form=".0f")
    yield _between("quietest hour begins at", by_hour.idxmin(), 3, 4, "Parse.ly", form=".0f")
    ratio = by_hour.max() / by_hour.min()
    yield _between("busiest hour ÷ quietest", ratio, 4, 10, "ours", form=".1f")
    mobile = (events["device_type"] == "mobile").groupby(hours, observed=True).sum()
    bump = mobile.loc[18:22].max() / mobile.loc[14:18].min()
    name = "mobile: busiest hour of 18-22 ÷ quietest of 14-18"
    yield _between(name, bump, 1.1, math.inf, "AddThis")
    by_device = pd.crosstab(weekend, events["device_type"])
    ratios = by_device["mobile"] / by_device["desktop"]
    shift = ratios[True] / ratios[False]
    yield _between("mobile ÷ desktop, weekend ÷ weekday", shift, 1.6, 3, "Parse.ly, AddThis")


def _shares(sample: Sample) -> Iterator[Property]:
    """On which device pages are viewed, and where views come from."""
    for column, targets in (("device_type", _DEVICES), ("referrer_type", _REFERRERS)):
        found = sample.views[column].value_counts(normalize=True)
        for value, target in targets.items():
            yield Property(
                f"views, {column.removesuffix('_type')} {value}",
                f"{target:.1%} ± 2.5 points",
                f"{found.get(value, 0.0):.1%}",
                bool(abs(found.get(value, 0.0) - target) <= 0.025),
                "Adressa",
            )
    table = pd.crosstab(sample.views["device_type"], sample.views["article_category"])
    strength = stats.contingency.association(table.to_numpy(), method="cramer")
    yield _between("device × category, Cramér's V", strength, 0.10, 0.30, "ours")


_DEVICES: Final = {"mobile": 0.486, "desktop": 0.313, "tablet": 0.201}
_REFERRERS: Final = {"internal": 0.623, "search": 0.149, "direct": 0.148, "social": 0.081}
"""Published as 59.4, 14.2, 14.1, 7.7 % and 4.6 % others, which our events do not tell apart."""


def _growth(sample: Sample) -> Iterator[Property]:
    """How many are new, and how many of them come back: counts within three deviations."""
    visits = sum(personas.visits_per_day(sample.seed, number) for number in range(sample.crowd))
    expected = visits * personas.NEWCOMERS_PER_VISIT * DAYS
    newcomers = sample.sessions[sample.sessions["number"] >= sample.crowd]
    by_reader = newcomers.groupby("number")
    yield _within_three("new readers in two weeks", len(by_reader), expected, expected)
    # Each comes back with the chance to stay, times that of a visit in the time that is left.
    first_end_ms = by_reader["end_ms"].first()
    chances = []
    for number, end_ms in first_end_ms.items():
        days = (sample.end_ms - end_ms) / DAY_MS
        awaited = personas.visits_per_day(sample.seed, int(number)) * max(0.0, days)
        chances.append(personas.STAY_SHARE * -math.expm1(-awaited))
    variance = sum(chance * (1 - chance) for chance in chances)
    back = int((by_reader.size() > 1).sum())
    yield _within_three("of these, came back", back, sum(chances), variance)
    rate = len(sample.events) / (DAYS * DAY_MS / 1000)
    name = "events per second ÷ the crowd's natural rate"
    yield _between(name, rate / sample.natural_rate, 0.95, 1.05, "ours")


def _within_three(name: str, found: int, expected: float, variance: float) -> Property:
    deviation = math.sqrt(variance)
    return Property(
        name,
        f"{expected:,.0f} ± {3 * deviation:,.0f} (3σ)",
        f"{found:,}",
        abs(found - expected) <= 3 * deviation,
        "ours: personas.py",
    )


_ALL: Final[tuple[Callable[[Sample], Iterator[Property]], ...]] = (
    _laws, _transitions, _reading, _visits, _articles, _activity, _days, _shares, _growth,
)  # fmt: skip
