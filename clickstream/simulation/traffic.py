"""A crowd and its scenarios: starts them, stops them, and merges all events into one stream.

Scenarios do not change the crowd's own events, except those that a scenario removes, holds back or
labels. A scenario adds its events at their event time: simulated time, or the clock's time in live
traffic. The scenarios are in `scenarios.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from operator import attrgetter

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
        self._is_changed = False  # whether the wanted scenarios differ from the running ones
        self._playing: list[Scenario] = []
        self._until_ms = 0

    def start(self, scenario: Scenario) -> None:
        """Start a scenario with the next event; it replaces one of the same name."""
        with self._lock:
            self._wanted[scenario.name] = scenario
            self._is_changed = True

    def stop(self, name: str) -> None:
        """End a scenario before the next event; without it nothing happens."""
        with self._lock:
            self._wanted.pop(name, None)
            self._is_changed = True

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the scenarios that run, or will run from the next event on."""
        return tuple(self._wanted)

    def step(self, at_ms: int | None = None) -> list[Event]:
        """Advance by one event and return the resulting events, in order.

        The last one is an event of the crowd, or one that a scenario inserted into a session
        (`took_added`). The events that scenarios add before it come first. If a scenario removes
        the event, only those are returned.

        Args:
            at_ms: event time of the event; see `Simulator.take`.
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
        """Whether a scenario added the last event, so that it does not count for the pace."""
        return bool(self._playing) and self.crowd.took_added

    def events(self, *, until_ms: int | None = None) -> Iterator[Event]:
        """Yield all events, including added ones.

        Args:
            until_ms: stop before the crowd's first event at this simulated time.
        """
        while until_ms is None or self.crowd.peek_ms() < until_ms:
            yield from self.step()

    def added(self, until_ms: int) -> list[Event]:
        """Return the events that scenarios add up to an event time, before the next event.

        Args:
            until_ms: event time (ms since 1970). One before the last is raised to it: the clock may
                have been set back, or an event may be due a moment before the last wait ended.
        """
        if until_ms < self._until_ms:  # noqa: PLR1730 - max() would take longer
            until_ms = self._until_ms
        self._until_ms = until_ms
        for scenario in self._playing:
            if until_ms >= scenario.ends_ms:
                self._drop(scenario)
        events = self._change(until_ms) if self._is_changed else []
        if not self._playing:
            return events
        for scenario in self._playing:
            events += scenario.added(until_ms)
        return sorted(events, key=attrgetter("timestamp"))

    def close(self) -> list[Event]:
        """End all scenarios, and return the events held back.

        One that was started since the last event begins and ends: a person may have clicked.
        """
        events = self._change(self._until_ms)
        with self._lock:
            self._wanted.clear()
        return events + self._change(self._until_ms)

    def _drop(self, over: Scenario) -> None:
        """End a scenario that is over, unless it was replaced."""
        with self._lock:
            if self._wanted.get(over.name) is over:
                del self._wanted[over.name]
            self._is_changed = True

    def _change(self, at_ms: int) -> list[Event]:
        """End running scenarios that are not wanted, and begin wanted ones that do not run."""
        with self._lock:
            wanted, self._is_changed = list(self._wanted.values()), False
        events = []
        for scenario in [each for each in self._playing if each not in wanted]:
            self._playing.remove(scenario)
            events += scenario.added(min(at_ms, scenario.ends_ms))
            events += scenario.end(at_ms)
            logger.info("ended scenario=%r", scenario)
        for scenario in [each for each in wanted if each not in self._playing]:
            if at_ms < self.crowd.start_ms + 1000 * scenario.earliest_s:
                self._is_changed = True  # check again
                continue
            scenario.begin(self.crowd, at_ms)
            self._playing.append(scenario)
            logger.info("began scenario=%r", scenario)
        self.crowd.hooks[:] = [scenario.before_event for scenario in self._playing]
        return events
