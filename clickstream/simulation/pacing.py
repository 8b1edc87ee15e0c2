"""When each event is due: a Poisson process at a rate that may change between any two events.

The k-th event of the crowd takes the time of the k-th point: the crowd's clock runs faster or
slower, the crowd itself stays as it is, and every open session goes on. Nothing here is sent
anywhere, and the clock is handed in.
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

from clickstream.errors import ConfigError
from clickstream.events import Event
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic

logger = logging.getLogger(__name__)

SLOWEST, FASTEST = 0.2, 5_000.0
"""The rates, in events per second, that the pace is promised for."""

_LONGEST_WAIT_S = 0.2
_SHORTEST_WAIT_S = 0.002
"""Shorter sleeps cost more than they give: at 5,000 events/s ten events share one."""
_MOST_BEHIND_S = 1.0
"""Further behind than this (a sleeping laptop, a broker that stood still) is not made up for."""


def parse_rate(text: str) -> float:
    """Read a rate as it is typed: events per second, or `max`.

    Raises:
        ConfigError: it is neither.
    """
    if text == "max":
        return math.inf
    try:
        return float(text)
    except ValueError as error:
        msg = f"--rate {text!r} is neither a number of events per second nor max"
        raise ConfigError(msg) from error


def live_now(*, seed: int | None = None, now: Callable[[], float] = time.time) -> Simulator:
    """Make a crowd that acts from this moment on, at its natural rate.

    Args:
        seed: of the readers; by default another one each millisecond.
        now: gives the time (seconds since 1970).
    """
    now_ms = int(now() * 1000)
    return Simulator(seed=now_ms if seed is None else seed, start_ms=now_ms, live_from_ms=now_ms)


class Pace:
    """The points in time at which events are due; the rate may change between any two.

    Args:
        events_per_second: 0.2 to 5,000, or `math.inf` for as fast as events are taken.
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
        # The next point, as the area under the rate that is left from `_since_s` on.
        self._remaining = rng.expovariate(1.0)
        self._since_s = monotonic()
        self._rate = self._checked(events_per_second)

    @staticmethod
    def _checked(rate: float) -> float:
        is_number = isinstance(rate, Real)
        if not is_number or (rate != math.inf and not SLOWEST <= rate <= FASTEST):
            msg = (
                f"a rate of {f'{rate:g}' if is_number else repr(rate)} events/s: the pace goes "
                f"from {SLOWEST:g} to {FASTEST:,.0f}"
            )
            raise ConfigError(
                msg,
                "choose one in between, or for as fast as Kafka takes `math.inf`, in a terminal "
                "`max`",
            )
        return rate

    @property
    def events_per_second(self) -> float:
        """The rate asked for; setting it acts on the event that is waited for now."""
        return self._rate

    @events_per_second.setter
    def events_per_second(self, rate: float) -> None:
        rate = self._checked(rate)
        with self._lock:
            now_s = self._monotonic()
            if self._rate != math.inf:
                # What has been waited so far counts at the old rate.
                waited = (now_s - self._since_s) * self._rate
                self._remaining = max(0.0, self._remaining - waited)
            self._since_s, self._rate = now_s, rate

    def begin(self) -> None:
        """Wait from now on for the next event; what passed before is not made up for."""
        with self._lock:
            self._since_s = self._monotonic()

    def wait_s(self) -> float:
        """Say how long until the next event is due: 0 or less when it is."""
        with self._lock:
            return self._since_s + self._remaining / self._rate - self._monotonic()

    def step(self) -> None:
        """Pass on to the next point; what is more than a second behind is skipped."""
        with self._lock:
            if self._rate == math.inf:
                self._since_s = self._monotonic()
                return
            earliest_s = self._monotonic() - _MOST_BEHIND_S
            self._since_s = max(self._since_s + self._remaining / self._rate, earliest_s)
            self._remaining = self._rng.expovariate(1.0)


class PacedEvents:
    """Readers and scenarios, event by event, each when it is due; None while none is.

    A crowd that starts in the past is given with its own times, at the pace asked for, until
    it reaches now and goes on at its natural rate; from there, and for a crowd that starts
    live, every event carries the moment it was due. No event is ever in the future.

    Args:
        traffic: where the events come from. What its scenarios add comes on top of the pace.
        pace: when each is due; set `pace.events_per_second` meanwhile to change it.
        num_events: stop after so many of the crowd's own, scenarios aside.
        now: gives the time (seconds since 1970).
        wait: waits so many seconds, or less; 0.2 at most.

    Raises:
        ConfigError: no event at all was asked for.
    """

    def __init__(
        self,
        traffic: Traffic,
        pace: Pace,
        *,
        num_events: int | None = None,
        now: Callable[[], float] = time.time,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        if num_events is not None and num_events < 1:
            msg = f"produce {num_events:,} events: ask for 1 or more"
            raise ConfigError(msg)
        self._traffic, self._pace, self._num_events = traffic, pace, num_events
        self._now, self._wait = now, wait
        self._is_live = traffic.crowd.start_ms >= traffic.crowd.live_from_ms
        self._due: deque[Event] = deque()
        """Taken from the crowd and not given yet: one step may give several."""

    def __iter__(self) -> Iterator[Event | None]:
        """Give event after event; None at least every 0.2 s, so that a caller may stop."""
        traffic, pace = self._traffic, self._pace
        num_steps = 0
        pace.begin()
        while num_steps != self._num_events or traffic.took_added:
            # What a scenario put between takes none of the crowd's turns.
            wait_s = 0.0 if traffic.took_added else pace.wait_s()
            if wait_s > 0:
                yield from self._while_waiting()
                self._wait(min(max(wait_s, _SHORTEST_WAIT_S), _LONGEST_WAIT_S))
                yield None
                continue
            if not traffic.took_added:
                pace.step()
                num_steps += 1
            self._due.extend(traffic.step(self._stamp_ms(wait_s)))
            if not self._due:  # a scenario took it away, or holds it back
                yield None
            yield from self._take_due()

    def finish(self) -> list[Event]:
        """End all scenarios, and give what was taken from the crowd and not given yet."""
        return [*self._take_due(), *self._traffic.close()]

    def _stamp_ms(self, wait_s: float) -> int | None:
        """Say which time the next event carries: that at which it was due, or None for its own."""
        crowd, now_ms = self._traffic.crowd, self._now_ms()
        if not self._is_live and crowd.peek_ms() >= now_ms:
            self._is_live = True
            self._pace.events_per_second = crowd.natural_rate
            logger.info("reached now, goes on at rate=%.1f", crowd.natural_rate)
        return now_ms + min(0, round(wait_s * 1000)) if self._is_live else None

    def _while_waiting(self) -> Iterator[Event]:
        """Give what scenarios add while the crowd's next event is waited for."""
        if self._is_live and self._traffic.running:
            self._due.extend(self._traffic.added(self._now_ms()))
            yield from self._take_due()

    def _take_due(self) -> Iterator[Event]:
        while self._due:
            yield self._due.popleft()

    def _now_ms(self) -> int:
        return int(self._now() * 1000)
