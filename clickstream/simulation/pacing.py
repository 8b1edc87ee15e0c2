"""When each event is due: a Poisson process at a rate that may change between any two events.

The k-th event of the crowd happens at the k-th point of the process. A new rate makes the
crowd's clock faster or slower; the crowd stays the same, and every open session continues. This
module sends nothing, and its clock is an argument.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from numbers import Real
from random import Random

from clickstream.errors import ConfigError, require_count
from clickstream.events import Event
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic

logger = logging.getLogger(__name__)

SLOWEST, FASTEST = 0.2, 5_000.0
"""The supported rates, in events per second."""

_LONGEST_WAIT_S = 0.2
_SHORTEST_WAIT_S = 0.002
"""Shorter sleeps are not worth their cost: at 5,000 events/s ten events share one sleep."""
_MOST_BEHIND_S = 1.0
"""A longer delay (a sleeping laptop, a stalled broker) is skipped, not caught up."""


def parse_rate(text: str) -> float:
    """Parse a rate as typed: events per second, or `max`.

    Raises:
        ConfigError: it is neither, or out of range.
    """
    if text == "max":
        return math.inf
    try:
        rate = float(text)
    except ValueError as error:
        msg = f"--rate {text!r} is neither a number of events per second nor max"
        raise ConfigError(msg) from error
    if not SLOWEST <= rate <= FASTEST:
        msg = f"--rate {text}: it must be {SLOWEST:g} to {FASTEST:,.0f} events per second, or max"
        raise ConfigError(msg)
    return rate


def live_now(
    *, seed: int | None = None, past_s: float = 0.0, now: Callable[[], float] = time.time
) -> Simulator:
    """Make a crowd without a daily pattern that acts from now on, at its natural rate.

    Args:
        seed: the seed of the readers; by default a different one every millisecond.
        past_s: let the first reader come this many seconds ago, for `PacedEvents(past_first=True)`.
        now: returns the time (seconds since 1970).
    """
    now_ms = int(now() * 1000)
    start_ms = now_ms - round(1000 * past_s)
    seed = now_ms if seed is None else seed
    return Simulator(seed=seed, start_ms=start_ms, live_from_ms=start_ms)


class Pace:
    """The points in time at which events are due; the rate may change between any two.

    Args:
        events_per_second: 0.2 to 5,000, or `math.inf` for no limit.
        rng: draws the gaps.
        monotonic: the clock, in seconds.

    Raises:
        ConfigError: the rate is out of range.
    """

    def __init__(
        self,
        events_per_second: float,
        *,
        rng: Random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rng = rng
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # The next point, as the area under the rate that remains from `_since_s` on.
        self._remaining = rng.expovariate(1.0)
        self._since_s = monotonic()
        self._rate = self._checked(events_per_second)

    @staticmethod
    def _checked(rate: float) -> float:
        is_number = isinstance(rate, Real)
        if not is_number or (rate != math.inf and not SLOWEST <= rate <= FASTEST):
            msg = f"a rate of {rate!r:.30} events/s: it must be {SLOWEST:g} to {FASTEST:,.0f}"
            raise ConfigError(
                msg,
                "change it, or use no limit: `math.inf` in Python, `max` in a terminal",
            )
        return rate

    @property
    def events_per_second(self) -> float:
        """The requested rate; a new value also applies to the event that is due next."""
        return self._rate

    @events_per_second.setter
    def events_per_second(self, rate: float) -> None:
        rate = self._checked(rate)
        with self._lock:
            now_s = self._monotonic()
            if self._rate != math.inf:
                # The wait so far counts at the old rate.
                waited = (now_s - self._since_s) * self._rate
                self._remaining = max(0.0, self._remaining - waited)
            self._since_s, self._rate = now_s, rate

    def begin(self) -> None:
        """Start waiting for the next event now; earlier time is not caught up."""
        with self._lock:
            self._since_s = self._monotonic()

    def wait_s(self) -> float:
        """Return the seconds until the next event is due; 0 or less if it is due."""
        with self._lock:
            return self._since_s + self._remaining / self._rate - self._monotonic()

    def step(self) -> None:
        """Move to the next point; skip any delay of more than one second."""
        with self._lock:
            if self._rate == math.inf:
                self._since_s = self._monotonic()
                return
            earliest_s = self._monotonic() - _MOST_BEHIND_S
            self._since_s = max(self._since_s + self._remaining / self._rate, earliest_s)
            self._remaining = self._rng.expovariate(1.0)


class PacedEvents:
    """The events of readers and scenarios, each when it is due; None while none is due.

    A crowd that starts in the past keeps its own event times, at the requested pace, until it
    reaches the present and continues at its natural rate. From then on, and for a crowd that
    starts live, the timestamp of every event is the moment it was due. No event is in the future.

    Args:
        traffic: the source of the events. Events that scenarios add do not count for the pace.
        pace: decides when each event is due; set `pace.events_per_second` to change the rate.
        past_first: send a live crowd's past, up to now, at once: with its own event times, without
            scenarios, and whatever the pace. It does not count for `num_events`.
        num_events: stop after this many events of the crowd, without those of scenarios.
        now: returns the time (seconds since 1970).
        wait: waits this many seconds or less, 0.2 at most.

    Raises:
        ConfigError: `num_events` is not a whole number of 1 or more.
    """

    def __init__(
        self,
        traffic: Traffic,
        pace: Pace,
        *,
        past_first: bool = False,
        num_events: int | None = None,
        now: Callable[[], float] = time.time,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        if num_events is not None:
            require_count(f"produce {num_events} events", num_events)
        self._traffic, self._pace, self._num_events = traffic, pace, num_events
        self.is_in_past = past_first
        """Whether events of the past are yet to come; any thread may read it."""
        self.num_past = 0
        """Events of the past that were yielded so far."""
        self._now, self._wait = now, wait
        self._is_live = traffic.crowd.start_ms >= traffic.crowd.live_from_ms
        self._due: deque[Event] = deque()
        """Taken from the crowd and not yielded yet: one step may return several events."""

    def __iter__(self) -> Iterator[Event | None]:
        """Yield every event; yield None at least every 0.2 s, so that the caller can stop."""
        if self.is_in_past:
            yield from self._take_past()
            self.is_in_past = False
        traffic, pace = self._traffic, self._pace
        num_steps = 0
        pace.begin()
        while num_steps != self._num_events or traffic.took_added:
            # Events that a scenario inserts do not count as events of the crowd.
            wait_s = 0.0 if traffic.took_added else pace.wait_s()
            if wait_s > 0:
                if self._is_live and traffic.running:  # scenarios may add events meanwhile
                    self._due.extend(traffic.added(self._now_ms()))
                    yield from self._take_due()
                self._wait(min(max(wait_s, _SHORTEST_WAIT_S), _LONGEST_WAIT_S))
                yield None
                continue
            if not traffic.took_added:
                pace.step()
                num_steps += 1
            self._due.extend(traffic.step(self._stamp_ms(wait_s)))
            if not self._due:  # a scenario removed it, or holds it back
                yield None
            yield from self._take_due()

    def _take_past(self) -> Iterator[Event]:
        crowd = self._traffic.crowd
        while crowd.peek_ms() < self._now_ms():
            if (event := crowd.take()) is not None:
                self.num_past += 1
                yield event

    def finish(self) -> list[Event]:
        """End all scenarios, and return the events not yielded yet; the past ends where it is."""
        self.is_in_past = False
        return [*self._take_due(), *self._traffic.close()]

    def _stamp_ms(self, wait_s: float) -> int | None:
        """Return the timestamp for the next event: the moment it was due, or None for its own."""
        crowd, now_ms = self._traffic.crowd, self._now_ms()
        if not self._is_live and crowd.peek_ms() >= now_ms:
            self._is_live = True
            self._pace.events_per_second = crowd.natural_rate
            logger.info("reached the present, continuing at rate=%.1f", crowd.natural_rate)
        return now_ms + min(0, round(wait_s * 1000)) if self._is_live else None

    def _take_due(self) -> Iterator[Event]:
        while self._due:
            yield self._due.popleft()

    def _now_ms(self) -> int:
        return int(self._now() * 1000)
