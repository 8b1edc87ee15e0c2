"""A crowd, and the scenarios that play with it: started, stopped and merged into one stream.

The crowd's own events stay what they are without scenarios, but for those that a scenario
takes away, holds back or labels. What it adds comes on top, in event time: that is the
simulated one, and live the clock's. What can play is in `scenarios.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from operator import attrgetter
from typing import Final

from clickstream.events import Event
from clickstream.simulation.scenario_base import Scenario
from clickstream.simulation.simulator import Simulator

logger = logging.getLogger(__name__)


class Traffic:
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
            scenario.after_event(event)
        if not any(scenario.holds_back(event) for scenario in self._playing):
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
        """Give what scenarios add up to an event time, while the next event is waited for.

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
            if at_ms < self.crowd.start_ms + 1000 * scenario.earliest_s:
                self._is_changed = True  # look again
                continue
            scenario.begin(self.crowd, at_ms)
            self._playing.append(scenario)
            logger.info("began scenario=%r", scenario)
        self.crowd.hooks[:] = self._playing
        return events


_TIMESTAMP: Final = attrgetter("timestamp")
