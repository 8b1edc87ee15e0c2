"""A crowd, and the scenarios that play with it: started, stopped and merged into one stream.

The crowd's own events stay what they are without scenarios, but for those that a scenario
takes away, holds back or labels. What it adds comes on top, in event time: that is the
simulated one, and live the clock's. What can play is in `scenarios.py`.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from operator import attrgetter
from random import Random
from typing import ClassVar, Final

from clickstream.errors import ConfigError
from clickstream.events import Event, format_timestamp
from clickstream.simulation.sessions import Session
from clickstream.simulation.simulator import Simulator

logger = logging.getLogger(__name__)

DAY_S: Final = 86_400.0


@dataclass(frozen=True)
class Number:
    """A key that takes a number."""

    default: float
    low: float
    high: float
    what: str

    def read(self, value: str | float) -> float | None:
        """Give the value, or None where it is none of the valid ones."""
        try:
            number = float(value)
        except ValueError:
            return None
        return number if self.low <= number <= self.high else None

    @property
    def valid(self) -> str:
        """What it takes, in words."""
        return f"a number from {self.low:,.10g} to {self.high:,.10g}"


@dataclass(frozen=True)
class Choice:
    """A key that takes one of a few words."""

    default: str
    words: tuple[str, ...]
    what: str

    def read(self, value: str | float) -> str | None:
        """Give the value, or None where it is none of the valid ones."""
        return str(value) if value in self.words else None

    @property
    def valid(self) -> str:
        """What it takes, in words."""
        return f"one of {', '.join(self.words)}"


class Scenario:
    """What plays for a while; this one changes nothing, and others say what they do instead.

    Every method is called by whoever takes the events, between two of them.

    Raises:
        ConfigError: a key or a value that is none; the message says what is.
    """

    name: ClassVar[str]
    what: ClassVar[str]
    """What it does, in a line."""
    watch: ClassVar[str]
    """Where it is seen."""
    keys: ClassVar[dict[str, Number | Choice]]
    waits_s: ClassVar[float] = 0.0
    """It begins only when the crowd has acted for so long: before that nobody is there."""

    def __init__(self, **values: str | float) -> None:
        for key, value in values.items():
            if key not in self.keys:
                msg = f"scenario {self.name}: unknown key {key!r}; there is {', '.join(self.keys)}"
                raise ConfigError(msg)
            if self.keys[key].read(value) is None:
                msg = f"scenario {self.name}, {key}={value}: it takes {self.keys[key].valid}"
                raise ConfigError(msg)
        self.values = {
            key: kind.read(values.get(key, kind.default)) for key, kind in self.keys.items()
        }
        self.ends_ms = math.inf
        """Event time at which it is over by itself; set by `begin`."""
        self._visits: list[tuple[int, int, Session]] = []
        self._num_visits = 0

    def __repr__(self) -> str:
        return f"{self.name}:{','.join(f'{key}={value}' for key, value in self.values.items())}"

    def _number(self, key: str) -> float:
        return float(self.values[key] or 0)

    def begin(self, crowd: Simulator, at_ms: int) -> None:
        """Set the scene, at this event time."""
        self._crowd, self._begin_ms, self._visits = crowd, at_ms, []
        self.ends_ms = at_ms + 1000 * self._number("seconds")
        self._rng = Random(f"{self.name}/{crowd.seed}/{at_ms}")

    def meet(self, session: Session) -> None:
        """Look at a session before its next event: label it, silence it, change what follows."""

    def see(self, event: Event) -> None:
        """Look at an event of the crowd before it goes out."""

    def keeps(self, event: Event) -> bool:
        """Say whether to keep it back; then it is given by `added` or `end`."""
        return False

    def added(self, until_ms: float) -> list[Event]:
        """Give what is added up to an event time: here, the events of added sessions."""
        events = []
        while self._visits and self._visits[0][0] <= until_ms:
            at_ms, number, session = heappop(self._visits)
            event_id = f"{at_ms >> 16:08x}-{at_ms & 0xFFFF:04x}"
            events.append(session.step(event_id, format_timestamp(at_ms)))
            if session.next < len(session.actions):
                heappush(self._visits, (session.actions[session.next][0], number, session))
        return events

    def end(self, crowd: Simulator, at_ms: int) -> list[Event]:
        """Undo what is still to come, and give what was kept back."""
        return []

    def _add(self, session: Session) -> None:
        session.label = (self.name, None)
        self._num_visits += 1
        heappush(self._visits, (session.actions[session.next][0], self._num_visits, session))

    def _name(self, session: Session, user_id: str) -> None:
        session.user_id = user_id
        session.session_id = f"{user_id.removeprefix('reader-')}-{session.actions[0][0]:x}"


class Stage:
    """A crowd with scenarios; `start` and `stop` may be called from any thread."""

    def __init__(self, crowd: Simulator) -> None:
        self.crowd = crowd
        self._lock = threading.Lock()
        self._wanted: dict[str, Scenario] = {}
        self._is_changed = False  # what is wanted, since what plays was changed last
        self._playing: list[Scenario] = []
        self._until_ms = 0

    def start(self, scenario: Scenario) -> None:
        """Let a scenario play from the next event on; one of the same name is replaced."""
        with self._lock:
            self._wanted[scenario.name] = scenario
            self._is_changed = True

    def stop(self, name: str) -> None:
        """End a scenario before the next event; where it does not play, nothing happens."""
        with self._lock:
            self._wanted.pop(name, None)
            self._is_changed = True

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the scenarios that play, or will from the next event on."""
        return tuple(self._wanted)

    def step(self, at_ms: int | None = None) -> list[Event]:
        """Let the next thing happen, and give what comes of it, in order.

        That is an event of the crowd, or one that a scenario put into a session
        (`took_added`); before it, what scenarios add until then; and nothing where a scenario
        takes it away.

        Args:
            at_ms: event time to stamp the event with; see `Simulator.take`.
        """
        events = self.added(self.crowd.peek_ms() if at_ms is None else at_ms)
        event = self.crowd.take(None if at_ms is None else max(at_ms, self._until_ms))
        if event is None:
            return events
        for scenario in self._playing:
            scenario.see(event)
        if not any(scenario.keeps(event) for scenario in self._playing):
            events.append(event)
        return events

    @property
    def took_added(self) -> bool:
        """Whether the last step was none of the crowd's own: it comes on top."""
        return bool(self._playing) and self.crowd.took_added

    def events(self, *, until_ms: int | None = None) -> Iterator[Event]:
        """Give event after event, with what is added.

        Args:
            until_ms: stop before the crowd's first event of this simulated time.
        """
        while until_ms is None or self.crowd.peek_ms() < until_ms:
            yield from self.step()

    def added(self, until_ms: int) -> list[Event]:
        """Give what scenarios add up to an event time; for who waits for the next event.

        Args:
            until_ms: event time (ms since 1970), never before that of the last event.
        """
        for scenario in self._playing:
            if until_ms >= scenario.ends_ms:
                self._drop(scenario)
        events = self._change(until_ms) if self._is_changed else []
        if not self._playing:
            return events
        self._until_ms = max(self._until_ms, until_ms)
        for scenario in self._playing:
            events += scenario.added(until_ms)
        return sorted(events, key=_TIMESTAMP)

    def close(self) -> list[Event]:
        """End all that plays, and give what was kept back."""
        with self._lock:
            self._wanted.clear()
        return self._change(self._until_ms)

    def _drop(self, over: Scenario) -> None:
        """End one that is over by itself, unless it has been replaced by now."""
        with self._lock:
            if self._wanted.get(over.name) is over:
                del self._wanted[over.name]
            self._is_changed = True

    def _change(self, at_ms: int) -> list[Event]:
        """End what plays and is not wanted, begin what is wanted and does not play."""
        with self._lock:
            wanted, self._is_changed = list(self._wanted.values()), False
        events = []
        for scenario in [each for each in self._playing if each not in wanted]:
            self._playing.remove(scenario)
            events += scenario.added(min(at_ms, scenario.ends_ms))
            events += scenario.end(self.crowd, at_ms)
            logger.info("ended scenario=%r", scenario)
        for scenario in [each for each in wanted if each not in self._playing]:
            if at_ms < self.crowd.start_ms + 1000 * scenario.waits_s:
                self._is_changed = True  # look again
                continue
            scenario.begin(self.crowd, at_ms)
            self._playing.append(scenario)
            logger.info("began scenario=%r", scenario)
        self.crowd.scenes[:] = self._playing
        return events


_TIMESTAMP: Final = attrgetter("timestamp")
