"""Draws one complete visit of one reader: the actions, their times and their articles.

A session takes its next event only from its own list, so it cannot produce an illegal event (a
like of an unread article, anything after a logout). `simulator.py` decides when visits begin and
merges them into one stream.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from random import Random
from typing import Final

from clickstream.events import DEVICE_TYPES, REACTIONS, DeviceType, Event, EventType
from clickstream.simulation import personas
from clickstream.simulation.articles import DAY_MS, HOUR_MS, TABLE_MS, Article, AvailableArticles

_THURSDAY: Final = 3  # the weekday of 1 January 1970
_MOST_TURNS: Final = 400
"""A session ends here at the latest; sessions of 100 are already rare."""

Action = tuple[int, EventType, Article | None, str | None]
"""Simulated time, event type, article, and the referrer or the share channel."""


class Added(tuple):  # type: ignore[type-arg]
    """An `Action` that a scenario inserted into a session, with the label of its event."""

    label: tuple[str, str | None]


@dataclass(eq=False, slots=True)
class Session:
    """An open session: its reader, its device, and its remaining actions."""

    device_type: DeviceType
    actions: list[Action]
    id_suffix: str
    next: int = 0
    """The index in `actions`, and so the `session_seq`, of the next event."""
    user_id: str = ""
    session_id: str = ""
    label: tuple[str, str | None] | None = None
    """`scenario` and `variant` of its events from now on."""
    is_silent: bool = False
    """Whether its remaining events are suppressed."""

    def identify(self, user_id: str) -> None:
        """Set the reader, and a session id that no other session of that reader has."""
        self.user_id = user_id
        # By simulated time: two visits of a reader never begin at the same moment.
        self.session_id = f"{user_id.removeprefix('reader-')}-{self.actions[0][0]:x}"

    def step(self, event_id: str, timestamp: str) -> Event:
        """Make the next event, and advance.

        Args:
            event_id: the prefix of the id; the session and the number in it are appended.
            timestamp: event time.
        """
        seq = self.next
        self.next = seq + 1
        action = self.actions[seq]
        _, event_type, article, detail = action
        event_id = f"{event_id}{self.id_suffix}{_SEQ[seq]}"
        event = Event(
            event_id=event_id,
            event_type=event_type,
            timestamp=timestamp,
            user_id=self.user_id,
            session_id=self.session_id,
            session_seq=seq,
            device_type=self.device_type,
        )
        if article is not None:
            event.article_id = article.article_id
            event.article_category = article.category
            event.article_title = article.title
            event.article_published_at = article.published_at
            if event_type == "page_view":
                event.referrer_type = detail  # type: ignore[assignment]
            elif event_type == "share":
                event.share_channel = detail
        if self.label is not None:
            event.scenario, event.variant = self.label
        elif type(action) is Added:
            event.scenario, event.variant = action.label
        return event


class Habits:
    """A persona's habits, precomputed for drawing."""

    def __init__(self, persona: personas.Persona) -> None:
        self.rows = {
            event_type: (list(accumulate(row.values())), list(row))
            for event_type, row in persona.rows.items()
        }
        tastes = personas.tastes_of(persona)
        stay = personas.STAY_IN_SECTION
        # By the section just read; the last entry is for a session's first view.
        self.sections = [
            *(
                personas.cumulative(
                    [stay * (i == section) + (1 - stay) * taste for i, taste in enumerate(tastes)]
                )
                for section in range(len(tastes))
            ),
            personas.cumulative(tastes),
        ]
        # By weekend, then by evening.
        self.devices = [
            [
                personas.cumulative(
                    [
                        persona.devices[device]
                        * (personas.WEEKEND[device] if is_weekend else 1)
                        * (personas.EVENING[device] if is_evening else 1)
                        for device in DEVICE_TYPES
                    ]
                )
                for is_evening in (False, True)
            ]
            for is_weekend in (False, True)
        ]
        self.expected_events = personas.expected_events(persona)
        # Views are a share of the events of a session; the mean view takes a little over a
        # minute.
        self.expected_ms = 0.85 * self.expected_events * 72_000


@cache
def habits_of(persona: str) -> Habits:
    """Compute a persona's habits, once."""
    return Habits(personas.PERSONAS[persona])


# Over 60 lines: the loop runs once for every event, and a function for one turn would have to take
# ten local variables and return half of them.
def draw(
    start_ms: int,
    habits: Habits,
    rng: Random,
    available_at: Callable[[int], AvailableArticles],
    *,
    registers: bool,
) -> Session:
    """Draw a complete visit, from the login to the last action.

    Args:
        start_ms: simulated time of its first event.
        habits: the habits of the reader's persona.
        rng: the source of randomness for this visit only.
        available_at: returns the articles available in a popularity table (`articles.TABLE_MS`).
        registers: whether the visit starts with `register`, as a new reader's first visit does.
    """
    chance = rng.random
    hour, day = start_ms // HOUR_MS % 24, (start_ms // DAY_MS + _THURSDAY) % 7
    device = bisect(habits.devices[day >= 5][19 <= hour < 23], chance())
    actions: list[Action] = []
    at_ms = start_ms
    if registers:
        actions.append((start_ms, "register", None, None))
        at_ms += 2_000 + int(20_000 * chance())
    actions.append((at_ms, "login", None, None))
    at_ms += 800 + int(5_000 * chance())
    event_type: EventType = "login"
    first = section = table = -1
    available: AvailableArticles = []
    article: Article | None = None
    turn_ms = at_ms  # when the reader leaves the current page
    reactions: list[tuple[EventType, str | None]] = []
    rows, sections = habits.rows, habits.sections
    for _ in range(_MOST_TURNS):
        chances, names = rows[event_type]
        choice = bisect(chances, chance())
        if choice == len(names):
            break  # left without a logout
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
        if section == first or chance() < _OUTSIDE_AGAIN:
            referrer = _REFERRERS[bisect(_REFERRER_CHANCES, chance())]
        else:
            referrer = "internal"
        section = bisect(sections[section], chance())
        if at_ms // TABLE_MS != table:
            table = at_ms // TABLE_MS
            available = available_at(table)
        cumulative, articles, total = available[section]
        choice = bisect(cumulative, chance() * total)
        while articles[choice] is article and len(articles) > 1:  # just read: draw again
            choice = bisect(cumulative, chance() * total)
        article = articles[choice]
        actions.append((at_ms, "page_view", article, referrer))
        turn_ms = at_ms + _READING_MS[int(chance() * _NUM_READING)]
    if reactions:
        actions += _spread(reactions, article, at_ms, turn_ms, rng)
    return Session(DEVICE_TYPES[device], actions, draw_id_suffix(rng))


def draw_id_suffix(rng: Random) -> str:
    """Draw what the ids of a session's events share after their time; it makes them UUIDv7s."""
    bits = f"{rng.getrandbits(60):015x}"
    return f"-7{bits[:3]}-8{bits[3:6]}-{bits[6:]}"


def _spread(
    reactions: list[tuple[EventType, str | None]],
    article: Article | None,
    from_ms: int,
    to_ms: int,
    rng: Random,
) -> list[Action]:
    """Place the reactions to an article within its reading time."""
    moments = sorted(from_ms + int((to_ms - from_ms) * rng.random()) for _ in reactions)
    return [
        (moment, reaction, article, detail)
        for moment, (reaction, detail) in zip(moments, reactions, strict=True)
    ]


_SEQ: Final = [f"{number:03x}" for number in range(1 << 12)]
_REACTIONS: Final = frozenset(REACTIONS)
_READING_MS: Final = personas.READING_MS
_NUM_READING: Final = len(personas.READING_MS)
_OUTSIDE_AGAIN: Final = personas.OUTSIDE_AGAIN
_REFERRERS: Final = list(personas.REFERRERS)
_REFERRER_CHANCES: Final = personas.cumulative(list(personas.REFERRERS.values()))
_CHANNELS: Final = list(personas.SHARE_CHANNELS)
_CHANNEL_CHANCES: Final = personas.cumulative(list(personas.SHARE_CHANNELS.values()))
