"""Reader habits as data: personas, what they do next, how long they read, on what device.

A reader's persona and pace of visits follow from seed and number alone, so they can be
worked out again by whoever wants to check. Nobody reads here; that is `simulator.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist
from typing import Final

from clickstream.errors import ConfigError
from clickstream.events import (
    CATEGORIES,
    DEVICE_TYPES,
    EVENT_TYPES,
    Category,
    DeviceType,
    EventType,
    ReferrerType,
)

Row = dict[EventType, float]
"""Probability of each next event; what is left over ends the session without a word."""


@dataclass(frozen=True)
class Persona:
    """One kind of reader."""

    share: float
    """Of all readers."""
    visits_per_day: float
    """The median; readers of one kind differ by `VISITS_SIGMA`."""
    rows: dict[EventType, Row]
    devices: dict[DeviceType, float]
    """Relative weights, before what the section adds."""
    tastes: dict[Category, float]


def _rows(
    *, on: float, like: float, comment: float, share: float, logout: float
) -> dict[EventType, Row]:
    """Write the rows of a persona: after a page it goes on, reacts, logs out, or just leaves."""
    after_reaction: Row = {"page_view": min(0.94 - logout, on + 0.12), "logout": logout}
    return {
        "login": {"page_view": 0.96, "logout": 0.01},
        "page_view": {
            "page_view": on,
            "like": like,
            "comment": comment,
            "share": share,
            "logout": logout,
        },
        "like": after_reaction | {"comment": 0.03, "share": 0.02},
        "comment": after_reaction,
        "share": after_reaction,
    }


PERSONAS: Final[dict[str, Persona]] = {
    "skimmer": Persona(
        share=0.38,
        visits_per_day=3.2,
        rows=_rows(on=0.66, like=0.045, comment=0.008, share=0.012, logout=0.06),
        devices={"mobile": 0.72, "desktop": 0.14, "tablet": 0.14},
        tastes={
            "politics": 0.14,
            "tech": 0.12,
            "sports": 0.28,
            "health": 0.12,
            "entertainment": 0.34,
        },
    ),
    "office": Persona(
        share=0.27,
        visits_per_day=3.0,
        rows=_rows(on=0.70, like=0.025, comment=0.012, share=0.02, logout=0.10),
        devices={"mobile": 0.20, "desktop": 0.72, "tablet": 0.08},
        tastes={
            "politics": 0.33,
            "tech": 0.33,
            "sports": 0.14,
            "health": 0.10,
            "entertainment": 0.10,
        },
    ),
    "evening": Persona(
        share=0.23,
        visits_per_day=2.2,
        rows=_rows(on=0.73, like=0.04, comment=0.015, share=0.02, logout=0.07),
        devices={"mobile": 0.34, "desktop": 0.14, "tablet": 0.52},
        tastes={
            "politics": 0.14,
            "tech": 0.10,
            "sports": 0.18,
            "health": 0.28,
            "entertainment": 0.30,
        },
    ),
    "commentator": Persona(
        share=0.12,
        visits_per_day=3.4,
        rows=_rows(on=0.66, like=0.07, comment=0.085, share=0.045, logout=0.05),
        devices={"mobile": 0.50, "desktop": 0.38, "tablet": 0.12},
        tastes={
            "politics": 0.40,
            "tech": 0.16,
            "sports": 0.26,
            "health": 0.08,
            "entertainment": 0.10,
        },
    ),
}

VISITS_SIGMA: Final = 1.2
"""Spread of the lognormal visits a day: with it a fifth of the readers make about two thirds
of the events."""
MOST_VISITS_PER_DAY: Final = 60.0

BOUNCE: Final = (0.15, 7.0, 0.6)
READ: Final = (58.0, 0.85)
"""Reading time in seconds: this share bounces, lognormal of this median and sigma; the rest
reads, lognormal too. Source: fitted to the active time per article of Adressa's January 2017
(p10 8, p25 21, p50 47, p75 90, p90 158 s)."""
LONGEST_READ_S: Final = 899.0


def _reading_times() -> list[int]:
    """Tabulate the mixture's quantiles, so that one chance draws a reading time."""
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
"""How often the next article is of the section just read."""

REFERRERS: Final[dict[ReferrerType, float]] = {"search": 0.394, "direct": 0.392, "social": 0.214}
"""Of a session's first view; later ones are internal, but for `OUTSIDE_AGAIN`. Source: the
shares of Adressa's January 2017, renormalised: internal 62, search 15, direct 15, social 8 %."""
OUTSIDE_AGAIN: Final = 0.10
SHARE_CHANNELS: Final = {"messenger": 0.42, "social": 0.33, "email": 0.15, "link": 0.10}

NEWCOMER_SHARE: Final = 0.02
"""Visits of people who were never there before, as a share of all visits."""

CURVE: Final = (
    0.36, 0.26, 0.21, 0.19, 0.19, 0.30, 0.62, 0.98, 1.22, 1.36, 1.46, 1.58,
    1.66, 1.52, 1.38, 1.30, 1.26, 1.28, 1.36, 1.48, 1.52, 1.30, 0.92, 0.60,
)  # fmt: skip
"""Visits by hour of the UTC day, 1 on average: a midday peak, an evening bump, a night."""
WEEKEND: Final = {"mobile": 1.35, "desktop": 0.60, "tablet": 1.25}
EVENING: Final = {"mobile": 1.15, "desktop": 0.75, "tablet": 1.35}
"""How devices' weights shift on Saturday and Sunday, and from 19 to 23 o'clock."""


def persona_of(seed: int, number: int) -> str:
    """Name the persona of a reader."""
    return _NAMES[_index(_SHARES, _chance(seed, number, 1))]


def visits_per_day(seed: int, number: int) -> float:
    """Say how often a reader comes, on average over days."""
    sigmas = _NORMAL.inv_cdf(min(max(_chance(seed, number, 2), 1e-9), 1 - 1e-9))
    median = PERSONAS[persona_of(seed, number)].visits_per_day
    return float(min(MOST_VISITS_PER_DAY, median * math.exp(VISITS_SIGMA * sigmas)))


def expected_events(persona: Persona) -> float:
    """Work out the mean number of events of a session, from the transition rows."""
    reached: dict[EventType, float] = {"login": 1.0}
    total = 0.0
    while (mass := sum(reached.values())) > 1e-9:
        total += mass
        after: dict[EventType, float] = {}
        for event_type, probability in reached.items():
            for following, p in persona.rows.get(event_type, {}).items():
                after[following] = after.get(following, 0.0) + probability * p
        reached = after
    return total


def cumulative(weights: list[float]) -> list[float]:
    """Turn relative weights into cumulative probabilities that end at 1."""
    total = sum(weights)
    return [*(part / total for part in accumulate(weights[:-1])), 1.0]


def _index(cumulative_weights: list[float], chance: float) -> int:
    return next(i for i, bound in enumerate(cumulative_weights) if chance < bound)


def _chance(seed: int, number: int, salt: int) -> float:
    """Hash to [0, 1): the finalizer of SplitMix64 (Steele, Lea, Flood 2014)."""
    x = (seed * 0x9E3779B97F4A7C15 + number * 0xD1342543DE82EF95 + salt * 0x2545F4914F6CDD1D) & _64
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _64
    return ((x ^ (x >> 31)) >> 11) / (1 << 53)


_64: Final = (1 << 64) - 1
_NORMAL: Final = NormalDist()


def check(personas: dict[str, Persona]) -> None:
    """Look the tables over.

    Raises:
        ConfigError: an entry is wrong; the message names it.
    """
    for name, persona in personas.items():
        for event_type, row in persona.rows.items():
            where = f"persona {name!r}, row {event_type!r}"
            _check_names(where, [event_type, *row], EVENT_TYPES)
            if min(row.values()) < 0 or sum(row.values()) > 1:
                msg = f"{where}: its probabilities add up to {sum(row.values()):.3f}, at most 1"
                raise ConfigError(msg)
            if missing := set(row) - set(persona.rows) - {"logout"}:
                msg = f"{where}: leads to {', '.join(sorted(missing))}, which has no row"
                raise ConfigError(msg)
        _check_names(f"persona {name!r}, devices", persona.devices, DEVICE_TYPES)
        _check_names(f"persona {name!r}, tastes", persona.tastes, CATEGORIES)
    if abs(sum(persona.share for persona in personas.values()) - 1) > 1e-9:
        msg = "personas: their shares do not add up to 1"
        raise ConfigError(msg)


def _check_names(where: str, found: Iterable[str], valid: tuple[str, ...]) -> None:
    unknown = [name for name in found if name not in valid]
    if unknown:
        msg = f"{where}: unknown {unknown[0]!r}; there is {', '.join(valid)}"
        raise ConfigError(msg)


check(PERSONAS)
_NAMES: Final = list(PERSONAS)
_SHARES: Final = cumulative([persona.share for persona in PERSONAS.values()])
