"""Moves readers through the site: a stream of events in time order.

The same seed and start give the same events in any process. Nothing here sleeps, reads a clock or
does I/O: for live traffic the caller passes the time of each event (`Simulator.take`).

A visit is drawn completely when it begins (`sessions.py`), from random numbers that belong to this
visit only, so one reader's actions never change another's. One heap with the next event of each
reader merges the visits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from heapq import heapify, heappop, heappush, heapreplace
from itertools import pairwise
from random import Random
from typing import Final

from clickstream.errors import ConfigError
from clickstream.events import Event, format_timestamp
from clickstream.simulation import personas as habits
from clickstream.simulation.articles import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    TABLE_MS,
    AvailableArticles,
    Catalog,
)
from clickstream.simulation.sessions import Added, Habits, Session, draw, habits_of

# Time, reader and visit number in one integer, which is faster to compare than three.
_VISIT_BITS: Final = 24
_WHO_BITS: Final = 56
_VISIT: Final = (1 << _VISIT_BITS) - 1
_WHO: Final = (1 << _WHO_BITS) - 1
_SLOT_MS: Final = 5 * MINUTE_MS
_PEAK: Final = max(habits.CURVE)
_CURVE: Final = [
    (now + (then - now) * minute / 60) / _PEAK
    for now, then in pairwise([*habits.CURVE, habits.CURVE[0]])
    for minute in range(60)
]
"""Activity by minute of the day, linear between the hours, 1 at its peak."""
_CROWDED: Final = sum(share**2 for share in _CURVE) * len(_CURVE) / sum(_CURVE) ** 2
"""How much more likely a visit begins during another visit than at an average minute: readers on
the site cannot start a visit, and most of them are there at busy times."""
_NEVER: Final = 1 << 62
_SEAM_MS: Final = HOUR_MS
"""The daily pattern fades out over this time before live traffic, so that there is no jump."""


def crowd_for(rate: float) -> int:
    """Return how many readers make `rate` events per second, on average over days."""
    return max(1, round(rate / _rate_per_reader()))


class Simulator:
    """A crowd of readers from a start time on, one event after another.

    Args:
        seed: determines readers, articles and every event.
        start_ms: where the simulated clock starts (ms since 1970).
        readers: size of the crowd; by default as many as make 20 events per second.
        live_from_ms: from this simulated time on there is no daily pattern, so the rate is
            the crowd's natural one; open sessions continue. The pattern fades out during the
            hour before. By default the pattern stays.

    Raises:
        ConfigError: a start before 1970, or a crowd without readers.
    """

    def __init__(
        self,
        *,
        seed: int,
        start_ms: int,
        readers: int | None = None,
        live_from_ms: int | None = None,
    ) -> None:
        if start_ms < 0:
            msg = f"simulating from {start_ms} ms: before 1970"
            raise ConfigError(msg, "start later")
        if readers is not None and readers < 1:
            msg = f"simulating {readers} readers: at least one is needed"
            raise ConfigError(msg)
        self.start_ms = start_ms
        self.live_from_ms = _NEVER if live_from_ms is None else live_from_ms
        self.seed = seed
        self._key = (seed << 48 | start_ms) << _WHO_BITS  # then the reader: the seed of a visit
        self.readers = crowd_for(20.0) if readers is None else readers
        self._rng = Random()
        self._reseed = super(Random, self._rng).seed  # without the checks of any type
        self._catalog = Catalog(seed=seed, start_ms=start_ms)
        # Sessions look a few hours ahead at most, and forgotten tables are computed again.
        self._available = lru_cache(maxsize=128)(self._catalog.available)
        self._sessions: dict[int, Session] = {}
        # The next event of each reader: in an open session, or the start of a visit. The heap
        # holds visits that begin before `_filled_ms`; lists by time slot hold later ones: most
        # are hours ahead, and one heap for all of them is slow.
        self._heap: list[int] = []
        self._filled_ms = start_ms - start_ms % _SLOT_MS
        self._later: dict[int, list[int]] = {}
        visits_per_day = [habits.visits_per_day(seed, n) for n in range(self.readers)]
        self._habits = [habits_of(habits.persona_of(seed, n)) for n in range(self.readers)]
        self._cycles_ms = [DAY_MS / visits for visits in visits_per_day]
        self._newcomer_gap_ms = DAY_MS / (sum(visits_per_day) * habits.NEWCOMERS_PER_VISIT)
        # Newcomers share one entry, numbered as the crowd's next reader.
        self._newcomer = self.readers << _VISIT_BITS
        self._newcomers = 0
        self._plan_first_visits()
        self.natural_rate = _events_per_second(visits_per_day, self._habits)
        """Average events per second of the crowd without the daily pattern."""
        self._turned_away: set[int] = set()
        self.hooks: list[Callable[[Session], None]] = []
        """Called with every session before its next event, whose actions they may change; set by
        `Traffic`."""
        self.took_added = False
        """Whether a hook added the last event that was taken."""
        self._stamp_ms: int | None = None
        self._now_ms = start_ms
        self._walk = self._merge()

    def peek_ms(self) -> int:
        """Return the simulated time of the next event."""
        self._fill()
        return self._heap[0] >> _WHO_BITS

    def take(self, at_ms: int | None = None) -> Event | None:
        """Return the next event, and advance; None for an event that a hook silenced.

        Args:
            at_ms: event time to use instead of the simulated one. From the first such event
                on, one monotone map, linear between two events, converts simulated time into
                event time, also for the publication of articles. An event time before the last
                one is raised to it.
        """
        self._stamp_ms = at_ms
        return next(self._walk)

    def events(self, *, until_ms: int | None = None) -> Iterator[Event]:
        """Yield events without waiting.

        Args:
            until_ms: stop before the first event at this simulated time (ms since 1970).
        """
        return filter(None, self._walk if until_ms is None else self._walk_until(until_ms))

    def _walk_until(self, until_ms: int) -> Iterator[Event | None]:
        while self.peek_ms() < until_ms:
            yield next(self._walk)

    def number_of(self, user_id: str) -> int:
        """Return a reader's number; newcomers are numbered after the crowd."""
        place, _, newcomer = user_id.removeprefix("reader-").partition("-")
        return self.readers + int(newcomer) if newcomer else int(place)

    def persona_of(self, user_id: str) -> str:
        """Return the name of a reader's persona."""
        return habits.persona_of(self.seed, self.number_of(user_id))

    def open_sessions(self) -> list[Session]:
        """Return the open sessions."""
        return list(self._sessions.values())

    def available_articles(self) -> AvailableArticles:
        """Return the articles available at the time of the last event."""
        return self._available(self._now_ms // TABLE_MS)

    def _merge(self) -> Iterator[Event | None]:
        """Yield the events of all readers in time order; None for an event of a silent session.

        It is a generator, because its state is then in local variables, which are fast.
        """
        heap, sessions, hooks = self._heap, self._sessions, self.hooks
        last_ms = last_at_ms = self.start_ms  # the last event, in simulated and in event time
        filled = -1
        # The common parts of the texts within a minute, and within 2^16 ms, are formatted once.
        minute_ms = block_ms = 0
        minute_text = block_text = ""
        while True:
            if not heap or heap[0] >= filled:
                filled = self._fill()
            now_ms, who = heap[0] >> _WHO_BITS, heap[0] & _WHO
            if who in sessions:
                session = sessions[who]
            elif who == self._newcomer:
                self._admit(now_ms)
                continue
            else:
                session = self._begin(now_ms, who)
            at_ms = now_ms
            if self._stamp_ms is not None:
                at_ms, self._stamp_ms = self._stamp_ms, None
            if at_ms < last_at_ms:  # noqa: PLR1730 - max() would take 2 % of the time
                at_ms = last_at_ms
            if at_ms != now_ms:
                self._stamp_articles(last_ms, now_ms, last_at_ms, at_ms)
            last_ms, last_at_ms = now_ms, at_ms

            self._now_ms = now_ms
            if hooks:
                for hook in hooks:
                    hook(session)
                self.took_added = type(session.actions[session.next]) is Added
            if at_ms - minute_ms >= MINUTE_MS:
                minute_ms, minute_text = at_ms - at_ms % MINUTE_MS, format_timestamp(at_ms)[:17]
            if at_ms - block_ms >= 1 << 16:
                block_ms, block_text = at_ms & ~0xFFFF, f"{at_ms >> 16:08x}-"
            event = session.step(
                block_text + _HEX[at_ms - block_ms], minute_text + _MILLISECONDS[at_ms - minute_ms]
            )
            if session.next < len(session.actions):
                heapreplace(heap, session.actions[session.next][0] << _WHO_BITS | who)
            else:
                heappop(heap)
                del sessions[who]
            if not session.is_silent:
                yield event
                continue
            if event.event_type == "register":
                self._turned_away.add(who >> _VISIT_BITS)
            yield None

    def _plan_first_visits(self) -> None:
        for n, cycle_ms in enumerate(self._cycles_ms):
            self._reseed(self._key | n << _VISIT_BITS)
            first_ms = self._open_hour(self.start_ms, cycle_ms, self._rng)
            self._plan(first_ms, (n << _VISIT_BITS) + 1)
        self._plan_newcomer(self.start_ms, self._newcomer)

    def _plan_newcomer(self, after_ms: int, who: int) -> None:
        rng = Random(self._key | who)
        self._plan(self._open_hour(after_ms, self._newcomer_gap_ms, rng), self._newcomer)

    def _plan(self, at_ms: int, who: int) -> None:
        entry = at_ms << _WHO_BITS | who
        if at_ms < self._filled_ms:
            heappush(self._heap, entry)
        else:
            self._later.setdefault(at_ms // _SLOT_MS, []).append(entry)

    def _fill(self) -> int:
        """Move visits that may begin before the heap's first entry into the heap.

        Returns:
            The lowest entry that would need more visits to be moved.
        """
        while not self._heap or self._heap[0] >= self._filled_ms << _WHO_BITS:
            slot = min(self._later)
            self._filled_ms = (slot + 1) * _SLOT_MS
            self._heap += self._later.pop(slot)
            heapify(self._heap)
        return self._filled_ms << _WHO_BITS

    def _admit(self, at_ms: int) -> None:
        """Admit one newcomer under a new number, and plan the next one."""
        self._newcomers += 1
        who = self._newcomer + (self._newcomers << _VISIT_BITS)
        heapreplace(self._heap, at_ms << _WHO_BITS | who + 1)
        self._plan_newcomer(at_ms, who)

    def _begin(self, start_ms: int, who: int) -> Session:
        """Draw the visit of this reader, and plan the next one."""
        number, rng = who >> _VISIT_BITS, self._rng
        self._reseed(self._key | who)
        if number < self.readers:
            persona, cycle_ms = self._habits[number], self._cycles_ms[number]
            session = draw(start_ms, persona, rng, self._available, registers=False)
            session.identify(f"reader-{number:04d}")
        else:
            persona = habits_of(habits.persona_of(self.seed, number))
            cycle_ms = DAY_MS / habits.visits_per_day(self.seed, number)
            is_first = who & _VISIT == 1
            session = draw(start_ms, persona, rng, self._available, registers=is_first)
            # A newcomer who could not register does not come again.
            session.is_silent = number in self._turned_away
            # Starts differ, so nobody registers twice in two runs into one topic.
            session.identify(f"reader-{base36(self.start_ms // 1000)}-{number - self.readers}")
        if number < self.readers or rng.random() < habits.STAY_SHARE:
            end_ms = session.actions[-1][0]
            stay_ms = persona.expected_ms * (_CROWDED if end_ms < self.live_from_ms else 1.0)
            gap_ms = max(60_000.0, cycle_ms - stay_ms)
            # At least a second later: a reader has one session at a time.
            self._plan(self._open_hour(end_ms + 1_000, gap_ms, rng), who + 1)
        self._sessions[who] = session
        return session

    def _open_hour(self, after_ms: int, mean_gap_ms: float, rng: Random) -> int:
        """Draw the next visit: a Poisson process, thinned by the daily pattern.

        Source: Lewis and Shedler 1979, thinning.
        """
        at_ms, gap_ms = float(after_ms), mean_gap_ms / _PEAK
        while True:
            at_ms -= math.log(1.0 - rng.random()) * gap_ms
            share = _CURVE[int(at_ms / MINUTE_MS) % len(_CURVE)]
            if (early_ms := self.live_from_ms - at_ms) < _SEAM_MS:
                part = max(0.0, early_ms / _SEAM_MS)
                share = part * share + (1 - part) / _PEAK
            if rng.random() < share:
                return int(at_ms)

    def _stamp_articles(self, last_ms: int, now_ms: int, last_at_ms: int, at_ms: int) -> None:
        """Map the publication time of articles published since the last event."""
        speed = (at_ms - last_at_ms) / (now_ms - last_ms) if now_ms > last_ms else 0.0
        for article in self._catalog.take_published(now_ms):
            since_ms = article.published_ms - last_ms
            if since_ms > 0:  # articles published before the map began keep their time
                article.published_at = format_timestamp(last_at_ms + int(since_ms * speed))


@cache
def _rate_per_reader() -> float:
    """Events per second of the average reader, including newcomers, over a large crowd."""
    sample = range(20_000)
    visits_per_day = [habits.visits_per_day(0, n) for n in sample]
    people = [habits_of(habits.persona_of(0, n)) for n in sample]
    return _events_per_second(visits_per_day, people) / len(sample)


def _events_per_second(visits_per_day: list[float], people: list[Habits]) -> float:
    """Compute the average events per second of readers, including the newcomers they attract."""
    pairs = zip(visits_per_day, people, strict=True)
    per_day = sum(visits * reader.expected_events for visits, reader in pairs)
    return per_day * (1 + habits.NEWCOMER_SHARE) / 86_400


_HEX: Final = [f"{number:04x}" for number in range(1 << 16)]
_MILLISECONDS: Final = [f"{ms // 1000:02d}.{ms % 1000:03d}Z" for ms in range(MINUTE_MS)]
"""Seconds and milliseconds of a minute, formatted."""


def base36(number: int) -> str:
    """Format a number in base 36, with lower-case letters."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
