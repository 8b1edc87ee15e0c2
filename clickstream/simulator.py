"""Walks readers over the site: a stream of events in the order of their time.

Same seed and start, same events, in any process. Nothing here sleeps, reads a clock or does
I/O: who wants live traffic says what time it is, event by event (`Simulator.take`).

A visit is drawn whole when it begins, from a stream of chance that belongs to this reader's
visit alone, so nobody's doings change anybody else's. Two heaps merge them: the readers by
their next visit, the open sessions by their next event. A session knows its next event only
through its own list, so what is illegal (a like of an unread article, anything after a
logout) cannot be drawn.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterator
from functools import cache
from heapq import heapify, heappop, heappush, heapreplace
from itertools import accumulate
from random import Random
from typing import Final

from clickstream import readers as habits
from clickstream.events import (
    CATEGORIES,
    DEVICE_TYPES,
    DeviceType,
    Event,
    EventType,
    format_timestamp,
)
from clickstream.newsroom import TABLE_MS, Article, Newsroom, Shelf

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_THURSDAY: Final = 3  # the weekday of 1 January 1970
_MOST_EVENTS: Final = 400
"""A session ends here at the latest; the rows make one of 100 a rarity."""
_PEAK: Final = max(habits.CURVE)
_NEVER: Final = 1 << 62

Action = tuple[int, EventType, Article | None, str | None]
"""Simulated time, what, on which article, and the referrer or the channel."""


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
        self._newsroom = Newsroom(seed=seed, start_ms=start_ms)
        self._shelves: dict[int, Shelf] = {}
        self._open: list[tuple[int, int, _Session]] = []
        personas = [habits.persona_of(seed, n) for n in range(self._crowd)]
        visits_per_day = [habits.visits_per_day(seed, n) for n in range(self._crowd)]
        self._habits = [_visit(persona) for persona in personas]
        self._cycles_ms = [_DAY_MS / visits for visits in visits_per_day]
        self._newcomer_gap_ms = _DAY_MS / (sum(visits_per_day) * habits.NEWCOMER_SHARE / 2)
        # Everybody's next visit: when, who, the how-manieth. Newcomers stand in it as one,
        # numbered as the crowd's next reader.
        self._visits = [
            (self._open_hour(start_ms, cycle_ms, Random(self._stream(n, -1))), n, 0)
            for n, cycle_ms in enumerate(self._cycles_ms)
        ]
        self._newcomers = 0
        first = self._open_hour(start_ms, self._newcomer_gap_ms, Random(self._stream(-1, 0)))
        self._visits.append((first, self._crowd, 0))
        heapify(self._visits)
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

    def peek_ms(self) -> int:
        """Say when the next event happens, in simulated time."""
        self._begin_visits()
        return self._open[0][0]

    def take(self, at_ms: int | None = None) -> Event:
        """Give the next event, and step on.

        Args:
            at_ms: event time to stamp it with, in place of the simulated one. From the
                first stamped event on, one monotone map, linear between two events, turns
                simulated into event time, for articles' publication, too. An event time
                before the last one is raised to it.
        """
        self._begin_visits()
        now_ms, number, session = self._open[0]
        at_ms = max(now_ms if at_ms is None else at_ms, self._event_ms)
        if at_ms != now_ms:
            self._stamp_articles(now_ms, at_ms)
        self._simulated_ms, self._event_ms = now_ms, at_ms

        seq = session.next
        _, event_type, article, detail = session.actions[seq]
        session.next = seq + 1
        if session.next < len(session.actions):
            heapreplace(self._open, (session.actions[seq + 1][0], number, session))
        else:
            heappop(self._open)
        if seq == 0:
            session.session_id = f"{session.user_id[7:]}-{at_ms:x}"
        second, milliseconds = divmod(at_ms, 1000)
        if second != self._second:
            self._second, self._second_text = second, format_timestamp(at_ms)[:20]
        time = f"{at_ms:012x}"
        event_id = f"{time[:8]}-{time[8:]}{session.id_suffix}{seq:03x}"
        timestamp = f"{self._second_text}{milliseconds:03d}Z"
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
        while until_ms is None or self.peek_ms() < until_ms:
            yield self.take()

    def _begin_visits(self) -> None:
        """Open every session that begins before the next event of those that are open."""
        while not self._open or self._visits[0][0] <= self._open[0][0]:
            start_ms, number, visit = heappop(self._visits)
            if number == self._crowd:
                self._newcomers += 1
                self._begin(start_ms, number + self._newcomers, 0)
                rng = Random(self._stream(-1, self._newcomers))
                following = self._open_hour(start_ms, self._newcomer_gap_ms, rng)
                heappush(self._visits, (following, number, 0))
            else:
                self._begin(start_ms, number, visit)

    def _begin(self, start_ms: int, number: int, visit: int) -> None:
        rng = self._rng
        rng.seed(self._stream(number, visit))
        if number < self._crowd:
            persona, cycle_ms = self._habits[number], self._cycles_ms[number]
            session = self._draw(start_ms, persona, rng, registers=False)
            session.user_id = f"reader-{number:04d}"
        else:
            persona = _visit(habits.persona_of(self._seed, number))
            cycle_ms = _DAY_MS / habits.visits_per_day(self._seed, number)
            session = self._draw(start_ms, persona, rng, registers=visit == 0)
            # Starts differ, so nobody registers twice in two runs into one topic.
            session.user_id = f"reader-{_base36(self.start_ms // 1000)}-{number - self._crowd}"
        heappush(self._open, (session.actions[0][0], number, session))
        # Half of the newcomers never come back; everybody else does.
        if number < self._crowd or rng.random() < 0.5:
            gap_ms = max(60_000.0, cycle_ms - persona.expected_ms)
            following = self._open_hour(session.actions[-1][0], gap_ms, rng)
            heappush(self._visits, (following, number, visit + 1))

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
                hours = at_ms / _HOUR_MS
                hour = int(hours)
                part = hours - hour
                curve = habits.CURVE
                share = curve[hour % 24] * (1 - part) + curve[(hour + 1) % 24] * part
            if rng.random() * _PEAK < share:
                return int(at_ms)

    def _draw(self, start_ms: int, visit: _Visit, rng: Random, *, registers: bool) -> _Session:
        """Draw a whole visit."""
        chance = rng.random
        hour, day = start_ms // _HOUR_MS % 24, (start_ms // _DAY_MS + _THURSDAY) % 7
        device = bisect(visit.devices[day >= 5][19 <= hour < 23], chance())
        actions: list[Action] = []
        at_ms = start_ms
        if registers:
            actions.append((start_ms, "register", None, None))
            at_ms += 2_000 + int(20_000 * chance())
        actions.append((at_ms, "login", None, None))
        at_ms += 800 + int(5_000 * chance())
        event_type: EventType = "login"
        section = -1
        article: Article | None = None
        turn_ms = at_ms  # when the page now read is left
        reactions: list[tuple[EventType, str | None]] = []
        rows, tastes, stay = visit.rows, visit.tastes, habits.STAY_IN_SECTION
        while len(actions) < _MOST_EVENTS:
            chances, names = rows[event_type]
            choice = bisect(chances, chance())
            if choice == len(names):
                break  # left without a word
            event_type = names[choice]
            if event_type in _REACTIONS:
                channel = None
                if event_type == "share":
                    channel = _CHANNELS[bisect(_CHANNEL_CHANCES, chance())]
                reactions.append((event_type, channel))
                continue
            if reactions:
                actions += _spread(reactions, article, at_ms, turn_ms, rng)
                reactions = []
            at_ms = turn_ms
            if event_type == "logout":
                actions.append((at_ms, "logout", None, None))
                break
            if section < 0 or chance() >= stay:
                section = bisect(tastes, chance())
            article = self._choose(at_ms, section, chance())
            if len(actions) == 1 + registers or chance() < habits.OUTSIDE_AGAIN:
                referrer = _REFERRERS[bisect(_REFERRER_CHANCES, chance())]
            else:
                referrer = "internal"
            actions.append((at_ms, "page_view", article, referrer))
            turn_ms = at_ms + _READING_MS[int(chance() * _NUM_READING)]
        if reactions:
            actions += _spread(reactions, article, at_ms, turn_ms, rng)
        bits = rng.getrandbits(62)
        high, low = f"{bits >> 48:04x}", f"{bits & 0xFFFFFFFFFFFF:012x}"
        suffix = f"-7{high[1:]}-{8 | bits >> 60:x}{low[:3]}-{low[3:]}"
        return _Session(DEVICE_TYPES[device], actions, suffix)

    def _choose(self, at_ms: int, section: int, chance: float) -> Article:
        table = at_ms // TABLE_MS
        shelf = self._shelves.get(table)
        if shelf is None:
            shelf = self._shelves[table] = self._newsroom.shelf(table)
            if len(self._shelves) > 400:
                oldest = self._simulated_ms // TABLE_MS
                self._shelves = {t: s for t, s in self._shelves.items() if t >= oldest}
        cumulative, articles, total = shelf[section]
        return articles[bisect(cumulative, chance * total)]

    def _stamp_articles(self, now_ms: int, at_ms: int) -> None:
        """Map the publication of articles that came out since the last event."""
        span_ms = now_ms - self._simulated_ms
        speed = (at_ms - self._event_ms) / span_ms if span_ms else 0.0
        for article in self._newsroom.take_published(now_ms):
            since_ms = max(0, article.published_ms - self._simulated_ms)
            article.published_at = format_timestamp(self._event_ms + int(since_ms * speed))


def _spread(
    reactions: list[tuple[EventType, str | None]],
    article: Article | None,
    from_ms: int,
    to_ms: int,
    rng: Random,
) -> list[Action]:
    """Give what a reader did to an article its moments within the time of reading it."""
    moments = sorted(from_ms + int((to_ms - from_ms) * rng.random()) for _ in reactions)
    return [
        (moment, reaction, article, detail)
        for moment, (reaction, detail) in zip(moments, reactions, strict=True)
    ]


class _Session:
    """An open session: who, where, and what is still to come."""

    __slots__ = ("actions", "device_type", "id_suffix", "next", "session_id", "user_id")

    def __init__(self, device_type: DeviceType, actions: list[Action], id_suffix: str) -> None:
        self.device_type = device_type
        self.actions = actions
        self.id_suffix = id_suffix
        self.next = 0
        self.user_id = self.session_id = ""


class _Visit:
    """A persona's habits, worked out for drawing."""

    def __init__(self, persona: habits.Persona) -> None:
        self.rows = {
            event_type: (list(accumulate(row.values())), list(row))
            for event_type, row in persona.rows.items()
        }
        self.tastes = habits.cumulative([persona.tastes[name] for name in CATEGORIES])
        # By weekend, then by evening.
        self.devices = [
            [
                habits.cumulative(
                    [
                        persona.devices[device]
                        * (habits.WEEKEND[device] if is_weekend else 1)
                        * (habits.EVENING[device] if is_evening else 1)
                        for device in DEVICE_TYPES
                    ]
                )
                for is_evening in (False, True)
            ]
            for is_weekend in (False, True)
        ]
        self.expected_events = habits.expected_events(persona)
        # Views per session are a share of its events; a mean view is read a little over
        # a minute.
        self.expected_ms = 0.85 * self.expected_events * 72_000


@cache
def _visit(persona: str) -> _Visit:
    return _Visit(habits.PERSONAS[persona])


@cache
def _rate_per_reader() -> float:
    """Events a second of the mean reader, newcomers' added; over enough readers to be one."""
    sample = 20_000
    per_day = sum(
        habits.visits_per_day(0, n) * _visit(habits.persona_of(0, n)).expected_events
        for n in range(sample)
    )
    return per_day / sample * (1 + habits.NEWCOMER_SHARE) / 86_400


_REACTIONS: Final = frozenset({"like", "comment", "share"})
_READING_MS: Final = habits.READING_MS
_NUM_READING: Final = len(habits.READING_MS)
_REFERRERS: Final = list(habits.REFERRERS)
_REFERRER_CHANCES: Final = habits.cumulative(list(habits.REFERRERS.values()))
_CHANNELS: Final = list(habits.SHARE_CHANNELS)
_CHANNEL_CHANCES: Final = habits.cumulative(list(habits.SHARE_CHANNELS.values()))


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
