"""Reader habits as data: personas, their next actions, reading times and devices.

The seed and the reader's number alone determine the persona and the frequency of visits, so a
test can recompute them. The readers themselves are in `simulator.py`.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from statistics import NormalDist
from typing import Final

from clickstream.events import (
    CATEGORIES,
    DEVICE_TYPES,
    EVENT_TYPES,
    REACTIONS,
    Category,
    DeviceType,
    EventType,
    ReferrerType,
)
from clickstream.simulation.sections import SECTIONS, require, require_positive

Row = dict[EventType, float]
"""Probability of each next event; the remainder ends the session without a logout."""


@dataclass(frozen=True)
class Persona:
    """One kind of reader."""

    weight: float
    """The share of readers of this kind, relative to the others."""
    visits_per_day: float
    """The median; readers of one kind vary by `VISITS_SIGMA`. Kinds with longer visits come less
    often, so that readers of all kinds produce about the same number of events."""
    rows: dict[EventType, Row]
    devices: dict[DeviceType, float]
    """Relative weights, before the adjustment by section."""
    tastes: dict[Category, float] = field(default_factory=dict)
    """Reading per section relative to the average reader; 1 for sections not listed."""


def rows(*, on: float, logout: float, **reactions: float) -> dict[EventType, Row]:
    """Build the rows of a persona: after a page it continues, reacts, logs out, or leaves."""
    after = {"page_view": min(0.94 - logout, on + 0.12), "logout": logout}
    found: dict[str, dict[str, float]] = {
        "login": {"page_view": 0.96, "logout": 0.01},
        "page_view": {"page_view": on, **reactions, "logout": logout},
        **dict.fromkeys(reactions, after),
    }
    if "like" in reactions:
        further = {"comment": 0.03, "share": 0.02}
        found["like"] = after | {kind: p for kind, p in further.items() if kind in reactions}
    return found  # type: ignore[return-value]  # `check` validates the names


PERSONAS: Final[dict[str, Persona]] = {
    "skimmer": Persona(
        weight=0.38,
        visits_per_day=1.8,
        rows=rows(on=0.66, logout=0.06, like=0.045, comment=0.008, share=0.012),
        devices={"mobile": 0.69, "desktop": 0.19, "tablet": 0.12},
        tastes={"politics": 0.5, "tech": 0.7, "sports": 1.3, "health": 0.9, "entertainment": 1.5},
    ),
    "office": Persona(
        weight=0.27,
        visits_per_day=1.55,
        rows=rows(on=0.70, logout=0.10, like=0.025, comment=0.012, share=0.02),
        devices={"mobile": 0.17, "desktop": 0.75, "tablet": 0.08},
        tastes={"politics": 1.3, "tech": 2.1, "sports": 0.65, "health": 0.7, "entertainment": 0.45},
    ),
    "evening": Persona(
        weight=0.23,
        visits_per_day=1.3,
        rows=rows(on=0.73, logout=0.07, like=0.04, comment=0.015, share=0.02),
        devices={"mobile": 0.36, "desktop": 0.18, "tablet": 0.46},
        tastes={"politics": 0.55, "tech": 0.65, "sports": 0.8, "health": 2.0, "entertainment": 1.3},
    ),
    "commentator": Persona(
        weight=0.12,
        visits_per_day=1.1,
        rows=rows(on=0.66, logout=0.05, like=0.07, comment=0.085, share=0.045),
        devices={"mobile": 0.46, "desktop": 0.43, "tablet": 0.11},
        tastes={"politics": 1.6, "sports": 1.2, "health": 0.55, "entertainment": 0.45},
    ),
}

VISITS_SIGMA: Final = 1.12
"""Spread of the lognormal visits per day: together with newcomers, who rarely come, it makes a
fifth of the readers produce about two thirds of the events."""
MOST_VISITS_PER_DAY: Final = 150.0

BOUNCE: Final = (0.15, 7.0, 0.6)
READ: Final = (58.0, 0.85)
"""Reading time in seconds, a mixture of two lognormals: `BOUNCE` has share, median and sigma,
`READ` has median and sigma. Source: fitted to the active time per article of Adressa's January
2017 (p10 8, p25 21, p50 47, p75 90, p90 158 s)."""
LONGEST_READ_S: Final = 899.0


def _reading_times() -> list[int]:
    """Tabulate the mixture's quantiles, so that one random number draws a reading time."""
    steps, normal, times = 2_048, NormalDist(), []
    share, median_s, sigma = BOUNCE
    log_bounce, log_read = math.log(median_s), math.log(READ[0])
    for step in range(steps):
        wanted = (step + 0.5) / steps
        low, high = -3.0, math.log(LONGEST_READ_S)
        for _ in range(30):  # bisection, to well below a millisecond
            x = (low + high) / 2
            below = share * normal.cdf((x - log_bounce) / sigma)
            below += (1 - share) * normal.cdf((x - log_read) / READ[1])
            low, high = (x, high) if below < wanted else (low, x)
        times.append(round(1000 * math.exp(high)))
    return times


READING_MS: Final = _reading_times()
"""Equally likely reading times in milliseconds, ascending."""

STAY_IN_SECTION: Final = 0.35
"""Probability that the next article is from the same section."""

REFERRERS: Final[dict[ReferrerType, float]] = {"search": 0.394, "direct": 0.392, "social": 0.214}
"""Referrers of a session's first view; later views are internal, except `OUTSIDE_AGAIN`.
Source: the shares of Adressa's January 2017, renormalised: internal 62, search 15, direct 15,
social 8 %."""
OUTSIDE_AGAIN: Final = 0.18
SHARE_CHANNELS: Final = {"messenger": 0.42, "social": 0.33, "email": 0.15, "link": 0.10}

NEWCOMER_SHARE: Final = 0.02
"""Visits of newcomers, relative to those of the crowd."""

STAY_SHARE: Final = 0.5
"""Probability that a newcomer comes again, after each visit."""
NEWCOMERS_PER_VISIT: Final = NEWCOMER_SHARE * (1 - STAY_SHARE)
"""Registrations per visit of the crowd: a newcomer makes 1 / (1 - STAY_SHARE) visits."""

CURVE: Final = (
    0.36, 0.28, 0.25, 0.20, 0.18, 0.28, 0.62, 0.98, 1.21, 1.34, 1.44, 1.58,
    1.66, 1.50, 1.35, 1.27, 1.22, 1.24, 1.33, 1.46, 1.50, 1.28, 0.90, 0.57,
)  # fmt: skip
"""Visits by hour of the UTC day, 1 on average: a midday peak, an evening peak, a quiet night."""
WEEKEND: Final = {"mobile": 1.35, "desktop": 0.60, "tablet": 1.25}
EVENING: Final = {"mobile": 1.15, "desktop": 0.75, "tablet": 1.35}
"""Factors for device weights on Saturday and Sunday, and from 19 to 23 o'clock."""


def tastes_of(persona: Persona) -> list[float]:
    """Return a persona's relative weights for sections, in the order of `CATEGORIES`."""
    return [SECTIONS[name].weight * persona.tastes.get(name, 1.0) for name in CATEGORIES]


def mean_tastes() -> list[float]:
    """Return the shares of sections over all readers, in the order of `CATEGORIES`."""
    total = [0.0] * len(CATEGORIES)
    for persona in PERSONAS.values():
        tastes = tastes_of(persona)
        for place, taste in enumerate(tastes):
            total[place] += persona.weight * taste / sum(tastes)
    return [share / sum(total) for share in total]


def persona_of(seed: int, number: int) -> str:
    """Return the persona of a reader."""
    return _NAMES[bisect(_WEIGHTS, _chance(seed, number, 1))]


def visits_per_day(seed: int, number: int) -> float:
    """Return how often a reader comes per day, on average.

    Readers with consecutive numbers are spread evenly over the distribution, so that a crowd of
    any size has the right number of frequent readers. Source: the additive recurrence of the
    golden ratio, a low-discrepancy sequence.
    """
    place = (_first_place(seed) + number * _GOLDEN) % 1
    sigmas = _NORMAL.inv_cdf(min(max(place, 1e-9), 1 - 1e-9))
    median = PERSONAS[persona_of(seed, number)].visits_per_day
    return float(min(MOST_VISITS_PER_DAY, median * math.exp(VISITS_SIGMA * sigmas)))


@lru_cache(maxsize=16)
def _first_place(seed: int) -> float:
    return _chance(seed, 0, 2)


MOST_EVENTS: Final = 100
"""Limit for the average session; a persona above it hardly ever leaves."""


def expected_events(persona: Persona) -> float:
    """Compute the mean number of events per session from the transition rows.

    Above `MOST_EVENTS` it returns the partial sum.
    """
    reached: dict[EventType, float] = {"login": 1.0}
    total = 0.0
    while (mass := sum(reached.values())) > 1e-9 and total <= MOST_EVENTS:
        total += mass
        reached = _next_events(persona, reached)
    return total


def reaction_rate(persona: Persona, reaction: EventType) -> float:
    """Compute the probability that a page view gets this reaction at least once."""
    waiting: dict[EventType, float] = {"page_view": 1.0}
    total = 0.0
    while sum(waiting.values()) > 1e-9:
        after = _next_events(persona, waiting)
        total += after.get(reaction, 0.0)
        waiting = {other: after.get(other, 0.0) for other in REACTIONS if other != reaction}
    return total


def _next_events(persona: Persona, now: dict[EventType, float]) -> dict[EventType, float]:
    """Compute the probability of each next event from the probabilities of the current one."""
    after: dict[EventType, float] = {}
    for event_type, probability in now.items():
        for following, p in persona.rows.get(event_type, {}).items():
            after[following] = after.get(following, 0.0) + probability * p
    return after


def cumulative(weights: list[float]) -> list[float]:
    """Turn relative weights into cumulative probabilities that end at 1."""
    total = sum(weights)
    return [*(part / total for part in accumulate(weights[:-1])), 1.0]


def _chance(seed: int, number: int, salt: int) -> float:
    """Hash to [0, 1): the finalizer of SplitMix64 (Steele, Lea, Flood 2014)."""
    x = (seed * 0x9E3779B97F4A7C15 + number * 0xD1342543DE82EF95 + salt * 0x2545F4914F6CDD1D) & _64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _64
    return ((x ^ (x >> 31)) >> 11) / (1 << 53)


_64: Final = (1 << 64) - 1
_NORMAL: Final = NormalDist()
_GOLDEN: Final = (math.sqrt(5) - 1) / 2


def check(personas: dict[str, Persona]) -> None:
    """Validate the tables.

    Raises:
        ConfigError: an entry is wrong; the message names it.
    """
    require(personas, "no personas are defined", "define at least one")
    for name, persona in personas.items():
        missing_rows = {"login", "page_view"} - set(persona.rows)
        require(not missing_rows, f"persona {name!r}: it has no row for {_listed(missing_rows)}")
        for event_type, row in persona.rows.items():
            where = f"persona {name!r}, row {event_type!r}"
            _check_names(where, [event_type, *row], EVENT_TYPES)
            for following, p in row.items():
                is_probability = isinstance(p, int | float) and 0 <= p <= 1
                found = f"{where}: the probability of {following} is {p}"
                require(is_probability, found, "it must be 0 to 1")
            total = sum(row.values())
            require(total <= 1, f"{where}: its probabilities add up to {total:.3f}, at most 1")
            is_inside = event_type not in ("register", "logout") and "login" not in row
            rule = "a session opens with login and ends with logout, once each"
            require(is_inside, f"{where}: {rule}")
            missing = set(row) - set(persona.rows) - {"logout"}
            require(not missing, f"{where}: leads to {_listed(missing)}, which has no row")
        found = f"persona {name!r}: its sessions have over {MOST_EVENTS} events on average"
        is_short = expected_events(persona) <= MOST_EVENTS
        require(is_short, found, "raise the probability of a logout or of leaving")
        _check_names(f"persona {name!r}, devices", persona.devices, DEVICE_TYPES)
        _check_names(f"persona {name!r}, tastes", persona.tastes, CATEGORIES)
        weights = {
            "weight": persona.weight,
            "visits_per_day": persona.visits_per_day,
            **{f"devices, {device}": weight for device, weight in persona.devices.items()},
            **{f"tastes, {section}": taste for section, taste in persona.tastes.items()},
        }
        for what, weight in weights.items():
            require_positive(weight, f"persona {name!r}, {what}: {weight}")
        missing_devices = set(DEVICE_TYPES) - set(persona.devices)
        said = f"persona {name!r}, devices: no weight for {_listed(missing_devices)}"
        require(not missing_devices, said)


def _check_names(where: str, found: Iterable[str], valid: tuple[str, ...]) -> None:
    for name in found:
        require(name in valid, f"{where}: unknown {name!r}", f"valid: {', '.join(valid)}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


check(PERSONAS)
_NAMES: Final = list(PERSONAS)
_WEIGHTS: Final = cumulative([persona.weight for persona in PERSONAS.values()])
