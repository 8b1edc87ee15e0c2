"""The base of every scenario: a name, keys with valid values, and hooks into the crowd.

The scenarios are in `scenarios.py`, `surges.py` and `reactions.py`; `traffic.py` starts and stops
them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import ClassVar, Final, Literal

from clickstream.errors import ConfigError
from clickstream.events import Event, format_timestamp
from clickstream.simulation.sessions import Session
from clickstream.simulation.simulator import Simulator

DAY_S: Final = 86_400.0


@dataclass(frozen=True)
class Number:
    """A key that takes a number."""

    default: float
    low: float
    high: float
    what: str

    def read(self, value: str | float) -> float | None:
        """Return the value, or None if it is not valid."""
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        return number if self.low <= number <= self.high else None

    @property
    def valid(self) -> str:
        """A description of the valid values."""
        return f"a number from {self.low:,.10g} to {self.high:,.10g}"


@dataclass(frozen=True)
class Choice:
    """A key that takes one of a few words."""

    default: str
    words: tuple[str, ...]
    what: str

    def read(self, value: str | float) -> str | None:
        """Return the value, or None if it is not valid."""
        return str(value) if value in self.words else None

    @property
    def valid(self) -> str:
        """A description of the valid values."""
        return f"one of {', '.join(self.words)}"


class Scenario:
    """A scenario that changes nothing; subclasses override its methods.

    The thread that takes the events calls every method, between two events.

    Raises:
        ConfigError: a key or a value is not valid; the message lists the valid ones.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """Its name on a button."""
    what: ClassVar[str]
    """What it does, in one line."""
    watch: ClassVar[str]
    """The chart that shows it."""
    keys: ClassVar[dict[str, Number | Choice]]
    marks: ClassVar[Literal["added", "own", "nothing"]] = "nothing"
    """Which events carry its name: the events it adds to the crowd's, which charts show separately;
    events of the crowd, which count as normal traffic; or none."""
    strengths: ClassVar[tuple[str, ...]]
    """Five settings to choose from, weak to strong, each `key=value,key=value`."""
    earliest_s: ClassVar[float] = 0.0
    """It begins only after the crowd has acted for this long; before that the site is empty."""

    def __init__(self, **values: str | float) -> None:
        for key, value in values.items():
            if key not in self.keys:
                msg = f"scenario {self.name}: unknown key {key!r}"
                raise ConfigError(msg, f"valid: {', '.join(self.keys)}")
            if self.keys[key].read(value) is None:
                msg = f"scenario {self.name}, {key}={value}: it must be {self.keys[key].valid}"
                raise ConfigError(msg)
        self.values = {
            key: kind.read(values.get(key, kind.default)) for key, kind in self.keys.items()
        }
        self.ends_ms = math.inf
        """Event time at which it ends by itself; set by `begin`."""
        self._visits: list[tuple[int, int, Session]] = []
        self._num_visits = 0

    def __repr__(self) -> str:
        return f"{self.name}:{','.join(f'{key}={value}' for key, value in self.values.items())}"

    def _number(self, key: str) -> float:
        return float(self.values[key] or 0)

    def begin(self, crowd: Simulator, at_ms: int) -> None:
        """Begin at this event time, in this crowd."""
        self._crowd, self._begin_ms, self._visits = crowd, at_ms, []
        self.ends_ms = at_ms + 1000 * self._number("seconds")
        self._rng = Random(f"{self.name}/{crowd.seed}/{at_ms}")

    def before_event(self, session: Session) -> None:
        """Look at a session before its next event: label it, silence it, change what follows.

        The next action itself must stay: the event that is due is made of it.
        """

    def after_event(self, event: Event) -> None:
        """Look at an event of the crowd before it is returned."""

    def holds_back(self, event: Event) -> bool:
        """Say whether to hold the event back.

        `added` or `end` must return it later, or the session has a gap.
        """
        return False

    def added(self, until_ms: float) -> list[Event]:
        """Return the events added up to an event time: here, those of added sessions."""
        events = []
        while self._visits and self._visits[0][0] <= until_ms:
            at_ms, number, session = heappop(self._visits)
            event_id = f"{at_ms >> 16:08x}-{at_ms & 0xFFFF:04x}"
            events.append(session.step(event_id, format_timestamp(at_ms)))
            if session.next < len(session.actions):
                heappush(self._visits, (session.actions[session.next][0], number, session))
        return events

    def end(self, at_ms: int) -> list[Event]:
        """Undo pending changes, and return the events held back."""
        return []

    def _add_visit(self, session: Session) -> None:
        session.label = (self.name, None)
        self._num_visits += 1
        heappush(self._visits, (session.actions[session.next][0], self._num_visits, session))
