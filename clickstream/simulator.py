"""Walks readers over the site: a stream of events in the order of their time.

Same seed and start, same events, in any process. Nothing here sleeps, reads a clock or does
I/O: who wants live traffic says what time it is, event by event (`Simulator.take`).

A visit is drawn whole when it begins (`sessions.py`), from a stream of chance that belongs to
this reader's visit alone, so nobody's doings change anybody else's. Two heaps merge them: the
readers by their next visit, the open sessions by their next event.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from heapq import heapify, heappop, heappush, heapreplace
from random import Random
from typing import Final

from clickstream import readers as habits
from clickstream.events import (
    Event,
    format_timestamp,
)
from clickstream.newsroom import DAY_MS, HOUR_MS, TABLE_MS, Newsroom, Shelf
from clickstream.sessions import Session, draw, habits_of

_NUMBER_BITS: Final = 40
_NUMBER: Final = (1 << _NUMBER_BITS) - 1
_SLOT_MS: Final = 5 * 60_000
_PEAK: Final = max(habits.CURVE)
_NEVER: Final = 1 << 62


def crowd_for(rate: float) -> int:
    """Say how many readers make `rate` events a second, on average over days."""
    return max(1, round(rate / _rate_per_reader()))


class Simulator:
    """A crowd of readers from a start on, one event after the other.

    Args:
        seed: chooses readers, articles and everything that happens.
        start_ms: where the simulated clock starts (ms since 1970).
        readers: size of the crowd; by default as many as make 20 events a second.
        live_from_ms: from this simulated moment on the day has no shape, so that the
            rate is the crowd's natural one; sessions open then go on. Never by default.
    """

    def __init__(
        self,
        *,
        seed: int,
        start_ms: int,
        readers: int | None = None,
        live_from_ms: int | None = None,
    ) -> None:
        self.start_ms = start_ms
        self.live_from_ms = _NEVER if live_from_ms is None else live_from_ms
        self._seed = seed
        self._crowd = crowd_for(20.0) if readers is None else readers
        self._rng = Random()
        self._reseed = super(Random, self._rng).seed  # without the checks of any type
        self._newsroom = Newsroom(seed=seed, start_ms=start_ms)
        self._shelves: dict[int, Shelf] = {}
        # Open sessions by reader, and a heap of their next events: time and reader in one
        # number, which compares in half the time that a pair takes.
        self._sessions: dict[int, Session] = {}
        self._open: list[int] = []
        personas = [habits.persona_of(seed, n) for n in range(self._crowd)]
        visits_per_day = [habits.visits_per_day(seed, n) for n in range(self._crowd)]
        self._habits = [habits_of(persona) for persona in personas]
        self._cycles_ms = [DAY_MS / visits for visits in visits_per_day]
        self._newcomer_gap_ms = DAY_MS / (sum(visits_per_day) * habits.NEWCOMER_SHARE / 2)
        # Everybody's next visit: when, who, the how-manieth. Newcomers stand in it as one,
        # numbered as the crowd's next reader. A heap of those that begin in this slot of
        # time, and lists for later ones: most lie hours ahead, and a heap of all is slow.
        self._visits: list[tuple[int, int, int]] = []
        self._slot = start_ms // _SLOT_MS - 1
        self._later: dict[int, list[tuple[int, int, int]]] = {}
        for n, cycle_ms in enumerate(self._cycles_ms):
            rng = Random(self._stream(n, -1))
            self._plan(self._open_hour(start_ms, cycle_ms, rng), n, 0)
        self._newcomers = 0
        first = self._open_hour(start_ms, self._newcomer_gap_ms, Random(self._stream(-1, 0)))
        self._plan(first, self._crowd, 0)
        self.natural_rate = (
            sum(
                visits * visit.expected_events
                for visits, visit in zip(visits_per_day, self._habits, strict=True)
            )
            * (1 + habits.NEWCOMER_SHARE)
            / 86_400
        )
        """Events a second that the crowd makes where the day has no shape, on average."""
        # The last knot of the map from simulated time to event time.
        self._simulated_ms = self._event_ms = start_ms
        self._second, self._second_text = -1, ""
        self._minute, self._minute_text = -1, ""

    def peek_ms(self) -> int:
        """Say when the next event happens, in simulated time."""
        self._begin_visits()
        return self._open[0] >> _NUMBER_BITS

    def take(self, at_ms: int | None = None) -> Event:
        """Give the next event, and step on.

        Args:
            at_ms: event time to stamp it with, in place of the simulated one. From the
                first stamped event on, one monotone map, linear between two events, turns
                simulated into event time, for articles' publication, too. An event time
                before the last one is raised to it.
        """
        opened = self._open
        if not opened or not self._visits or self._visits[0][0] <= opened[0] >> _NUMBER_BITS:
            self._begin_visits()
        number = opened[0] & _NUMBER
        now_ms = opened[0] >> _NUMBER_BITS
        session = self._sessions[number]
        if at_ms is None:
            at_ms = now_ms
        at_ms = max(at_ms, self._event_ms)
        if at_ms != now_ms:
            self._stamp_articles(now_ms, at_ms)
        self._simulated_ms, self._event_ms = now_ms, at_ms

        seq, actions = session.next, session.actions
        _, event_type, article, detail = actions[seq]
        session.next = seq + 1
        if seq + 1 < len(actions):
            heapreplace(opened, actions[seq + 1][0] << _NUMBER_BITS | number)
        else:
            heappop(opened)
            del self._sessions[number]
        if seq == 0:
            session.session_id = f"{session.user_id[7:]}-{at_ms:x}"
        # Formatting anew only what changes between two events is a tenth of the whole time.
        second, milliseconds = divmod(at_ms, 1000)
        if second != self._second:
            self._second, self._second_text = second, format_timestamp(at_ms)[:20]
        minute, low = at_ms >> 16, at_ms & 0xFFFF
        if minute != self._minute:
            self._minute, self._minute_text = minute, f"{minute:08x}-"
        event_id = f"{self._minute_text}{_HEX[low]}{session.id_suffix}{_HEX[seq][1:]}"
        timestamp = self._second_text + _MILLISECONDS[milliseconds]
        if article is None:
            return Event(
                event_id=event_id,
                event_type=event_type,
                timestamp=timestamp,
                user_id=session.user_id,
                session_id=session.session_id,
                session_seq=seq,
                device_type=session.device_type,
            )
        return Event(
            event_id=event_id,
            event_type=event_type,
            timestamp=timestamp,
            user_id=session.user_id,
            session_id=session.session_id,
            session_seq=seq,
            device_type=session.device_type,
            article_id=article.article_id,
            article_category=article.category,
            article_title=article.title,
            article_published_at=article.published_at,
            referrer_type=detail if event_type == "page_view" else None,  # type: ignore[arg-type]
            share_channel=detail if event_type == "share" else None,
        )

    def events(self, *, until_ms: int | None = None) -> Iterator[Event]:
        """Give event after event, as fast as they are taken.

        Args:
            until_ms: stop before the first event of this simulated time (ms since 1970).
        """
        if until_ms is None:
            return iter(self.take, None)
        return self._events_until(until_ms)

    def _events_until(self, until_ms: int) -> Iterator[Event]:
        while self.peek_ms() < until_ms:
            yield self.take()

    def _plan(self, at_ms: int, number: int, visit: int) -> None:
        slot = at_ms // _SLOT_MS
        if slot > self._slot:
            self._later.setdefault(slot, []).append((at_ms, number, visit))
        else:
            heappush(self._visits, (at_ms, number, visit))

    def _begin_visits(self) -> None:
        """Open every session that begins before the next event of those that are open."""
        while True:
            while not self._visits:
                self._slot = min(self._later)
                self._visits = self._later.pop(self._slot)
                heapify(self._visits)
            start_ms, number, visit = self._visits[0]
            if self._open and start_ms > self._open[0] >> _NUMBER_BITS:
                return
            heappop(self._visits)
            if number == self._crowd:
                self._newcomers += 1
                self._begin(start_ms, number + self._newcomers, 0)
                rng = Random(self._stream(-1, self._newcomers))
                self._plan(self._open_hour(start_ms, self._newcomer_gap_ms, rng), number, 0)
            else:
                self._begin(start_ms, number, visit)

    def _begin(self, start_ms: int, number: int, visit: int) -> None:
        rng = self._rng
        self._reseed(self._stream(number, visit))
        if number < self._crowd:
            persona, cycle_ms = self._habits[number], self._cycles_ms[number]
            session = draw(start_ms, persona, rng, self._shelf, registers=False)
            session.user_id = f"reader-{number:04d}"
        else:
            persona = habits_of(habits.persona_of(self._seed, number))
            cycle_ms = DAY_MS / habits.visits_per_day(self._seed, number)
            session = draw(start_ms, persona, rng, self._shelf, registers=visit == 0)
            # Starts differ, so nobody registers twice in two runs into one topic.
            session.user_id = f"reader-{_base36(self.start_ms // 1000)}-{number - self._crowd}"
        self._sessions[number] = session
        heappush(self._open, session.actions[0][0] << _NUMBER_BITS | number)
        # Half of the newcomers never come back; everybody else does.
        if number < self._crowd or rng.random() < 0.5:
            gap_ms = max(60_000.0, cycle_ms - persona.expected_ms)
            # A second at least: a reader has one session at a time.
            following = self._open_hour(session.actions[-1][0] + 1_000, gap_ms, rng)
            self._plan(following, number, visit + 1)

    def _stream(self, number: int, visit: int) -> int:
        """Number the stream of chance of one reader's one visit."""
        return (
            self._seed * 0x9E3779B97F4A7C15
            ^ self.start_ms * 0xD1342543DE82EF95
            ^ (number + 2) * 0x2545F4914F6CDD1D
            ^ (visit + 2) * 0x5851F42D4C957F2D
        )

    def _open_hour(self, after_ms: int, mean_gap_ms: float, rng: Random) -> int:
        """Draw the next visit: a Poisson process, thinned by the shape of the day.

        Source: Lewis and Shedler 1979, thinning.
        """
        at_ms = float(after_ms)
        while True:
            at_ms -= math.log(1.0 - rng.random()) * mean_gap_ms / _PEAK
            if at_ms >= self.live_from_ms:
                share = 1.0
            else:
                hours = at_ms / HOUR_MS
                hour = int(hours)
                part = hours - hour
                curve = habits.CURVE
                share = curve[hour % 24] * (1 - part) + curve[(hour + 1) % 24] * part
            if rng.random() * _PEAK < share:
                return int(at_ms)

    def _shelf(self, table: int) -> Shelf:
        shelf = self._shelves.get(table)
        if shelf is None:
            shelf = self._shelves[table] = self._newsroom.shelf(table)
            if len(self._shelves) > 400:
                oldest = self._simulated_ms // TABLE_MS
                self._shelves = {t: s for t, s in self._shelves.items() if t >= oldest}
        return shelf

    def _stamp_articles(self, now_ms: int, at_ms: int) -> None:
        """Map the publication of articles that came out since the last event."""
        span_ms = now_ms - self._simulated_ms
        speed = (at_ms - self._event_ms) / span_ms if span_ms else 0.0
        for article in self._newsroom.take_published(now_ms):
            since_ms = max(0, article.published_ms - self._simulated_ms)
            article.published_at = format_timestamp(self._event_ms + int(since_ms * speed))


@cache
def _rate_per_reader() -> float:
    """Events a second of the mean reader, newcomers' added; over enough readers to be one."""
    sample = 20_000
    per_day = sum(
        habits.visits_per_day(0, n) * habits_of(habits.persona_of(0, n)).expected_events
        for n in range(sample)
    )
    return per_day / sample * (1 + habits.NEWCOMER_SHARE) / 86_400


_HEX: Final = [f"{number:04x}" for number in range(1 << 16)]
_MILLISECONDS: Final = [f"{number:03d}Z" for number in range(1000)]


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
