"""Scenarios that a presenter can start by name: `make("bot:per_minute=90")`, then `Traffic.start`.

The crowd's seed and the start time determine each scenario. Scenarios that add events (breaking
news, bot, comment storm, the copies of dirty data) leave the crowd's own events unchanged.
Scenarios that remove events (device outage, logout wave) silence sessions, and an A/B test changes
the sessions of one arm; the readers' later sessions are unchanged. Added and changed events carry
the scenario's name in `scenario`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from copy import copy
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import ClassVar, Final, cast

from clickstream.errors import Command, ConfigError
from clickstream.events import DEVICE_TYPES, REACTIONS, Event, EventType, id_ms
from clickstream.simulation import personas
from clickstream.simulation.reactions import chance, react
from clickstream.simulation.scenario_base import DAY_S, Choice, Number, Scenario
from clickstream.simulation.sessions import Action, Added, Session, draw_id_suffix
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.surges import BreakingNews, CommentStorm


def make(text: str) -> Scenario:
    """Make a scenario from `NAME` or `NAME:key=value,key=value`; other keys have their defaults.

    Raises:
        ConfigError: no such scenario or key, or an invalid value; the message lists valid ones.
    """
    name, _, rest = text.partition(":")
    kind = SCENARIOS.get(name)
    if kind is None:
        there = ", ".join(SCENARIOS)
        msg = f"unknown scenario {name!r}, valid: {there}"
        raise ConfigError(msg, (Command("scenarios"), " describes them"))
    values: dict[str, str | float] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key in values:
            msg = f"scenario {text!r}: {part!r} must be key=value, with each key once"
            raise ConfigError(msg)
        values[key] = value
    return kind(**values)


def make_all(texts: Iterable[str]) -> list[Scenario]:
    """Make several scenarios that run at once, each with a different name.

    Raises:
        ConfigError: a name appears twice; or as `make`.
    """
    plays = [make(text) for text in texts]
    for place, play in enumerate(plays):
        if play.name in [earlier.name for earlier in plays[:place]]:
            msg = f"scenario {play.name!r} is named twice"
            raise ConfigError(msg, "name it once, with all its keys")
    return plays


class Bot(Scenario):
    """One user who reads faster and more regularly than any human."""

    name, title, marks = "bot", "Bot", "added"
    what = "one user opens page after page at an even pace, day and night"
    watch = "top users: reader-bot takes the lead, with evenly spaced events"
    keys: ClassVar = {
        "per_minute": Number(120, 60, 6_000, "actions per minute"),
        "seconds": Number(120, 1, DAY_S, "seconds until it ends"),
    }
    strengths = tuple(f"per_minute={number}" for number in (60, 90, 120, 600, 6000))

    def begin(self, crowd: Simulator, at_ms: int) -> None:
        """Log in at once."""
        super().begin(crowd, at_ms)
        self._next_ms = at_ms

    def added(self, until_ms: float) -> list[Event]:
        """Return its events; it logs in again from time to time."""
        while self._next_ms <= until_ms:
            self._log_in()
        return super().added(until_ms)

    def _log_in(self) -> None:
        articles = [
            article for _, section, _ in self._crowd.available_articles() for article in section
        ]
        actions: list[Action] = [(self._next_ms, "login", None, None)]
        at_ms, gap_ms = float(self._next_ms), 60_000 / self._number("per_minute")
        for _ in range(_BOT_PAGES):
            at_ms += gap_ms * self._rng.uniform(0.97, 1.03)
            actions.append((int(at_ms), "page_view", self._rng.choice(articles), "internal"))
        self._next_ms = int(at_ms + gap_ms)
        session = Session("desktop", actions, draw_id_suffix(self._rng))
        session.identify("reader-bot")
        self._add_visit(session)


_BOT_PAGES: Final = 500
"""Pages per session: far below the 4,096 events that an event id has room for."""


class DeviceOutage(Scenario):
    """The app of one kind of device is down."""

    name, title, earliest_s = "device-outage", "Device outage", 10.0
    what = "events from one kind of device stop; its readers come back in new sessions"
    watch = "volume falls by the device's share; device × category: its column stops growing"
    keys: ClassVar = {
        "device": Choice("mobile", DEVICE_TYPES, "the kind of device"),
        "seconds": Number(60, 1, DAY_S, "seconds until it ends"),
    }
    strengths = tuple(f"seconds={number}" for number in (15, 30, 60, 120, 240))

    def before_event(self, session: Session) -> None:
        """Silence the rest of the session if it is on that device."""
        if session.device_type == self.values["device"]:
            session.is_silent = True


class LogoutWave(Scenario):
    """All readers are logged out."""

    name, title, earliest_s = "logout-wave", "Logout wave", 10.0
    marks = "added"
    what = "open sessions are logged out within seconds, as after a bad deployment"
    watch = "event types: a burst of logout; volume falls, and recovers as readers return"
    keys: ClassVar = {
        "share": Number(1, 0.01, 1, "share of the open sessions"),
        "seconds": Number(5, 1, 60, "seconds until all are logged out"),
    }
    strengths = tuple(f"share={number}" for number in (0.1, 0.25, 0.5, 0.75, 1))

    def begin(self, crowd: Simulator, at_ms: int) -> None:
        """Silence the sessions, and schedule a logout for each."""
        super().begin(crowd, at_ms)
        self._leaving: set[str] = set()
        self._arriving: list[Event] = []
        for session in crowd.open_sessions():
            is_in = session.next > 0 and session.actions[session.next - 1][1] != "register"
            if session.is_silent or not is_in or self._rng.random() >= self._number("share"):
                continue
            session.is_silent = True
            moment_ms = at_ms + int(self._rng.random() * 1000 * self._number("seconds"))
            leaving = copy(session)
            leaving.actions = [*session.actions[: session.next], (moment_ms, "logout", None, None)]
            leaving.is_silent = False
            self._leaving.add(session.user_id)
            self._add_visit(leaving)

    def holds_back(self, event: Event) -> bool:
        """Bring a reader's logout forward if the reader comes again before it."""
        if event.session_seq > 0 or event.user_id not in self._leaving:
            return False
        now_ms = id_ms(event.event_id)
        for place, (at_ms, number, session) in enumerate(self._visits):
            if session.user_id == event.user_id and at_ms > now_ms:
                self._visits[place] = (now_ms, number, session)
                heapify(self._visits)
                self._arriving.append(event)
                return True
        return False

    def added(self, until_ms: float) -> list[Event]:
        """Return the logouts, and then the events of readers who came again."""
        arriving, self._arriving = self._arriving, []
        return super().added(until_ms) + arriving

    def end(self, at_ms: int) -> list[Event]:
        """Log out all remaining readers at once."""
        late = [(min(at_ms, due_ms), number, session) for due_ms, number, session in self._visits]
        self._visits = sorted(late)
        return self.added(math.inf)


class ABTest(Scenario):
    """Half of the readers get another page, and react to it more or less often."""

    name, title, marks = "ab-test", "A/B test", "own"
    what = "every reader is assigned to arm A or B for good; B reacts more often"
    watch = "reactions per 100 page views: arm A beside arm B"
    keys: ClassVar = {
        "lift": Number(
            0.3, -1, 5, "how much more often in B: 0.3 means 30 %, 0 no change, 1 shows soonest"
        ),
        "event": Choice("like", REACTIONS, "the reaction that changes"),
        "seconds": Number(DAY_S, 1, 14 * DAY_S, "seconds until it ends"),
    }
    strengths = tuple(f"lift={number}" for number in (-0.5, 0, 0.3, 0.6, 1))

    def begin(self, crowd: Simulator, at_ms: int) -> None:
        """Compute how often to add a reaction, by persona."""
        super().begin(crowd, at_ms)
        self._event = cast("EventType", self.values["event"])
        lift = self._number("lift")
        self._chances = {name: chance(name, self._event, lift) for name in personas.PERSONAS}
        self._arm = lru_cache(maxsize=100_000)(self._arm_of)

    def _arm_of(self, user_id: str) -> tuple[str, float]:
        digest = hashlib.blake2b(f"{self._crowd.seed}/{user_id}".encode(), digest_size=1).digest()
        if digest[0] % 2:
            return "A", 0.0
        return "B", self._chances[self._crowd.persona_of(user_id)]

    def before_event(self, session: Session) -> None:
        """Label the session; in arm B, change the reactions to the next page view."""
        arm, odds = self._arm(session.user_id)
        session.label = (self.name, arm)
        if not odds:
            return
        place = react(session, self._event, odds, self._number("lift"), self._rng)
        if place is not None:
            extra = Added(session.actions[place])
            extra.label = (self.name, arm)
            session.actions[place] = extra

    def end(self, at_ms: int) -> list[Event]:
        """Remove the labels, except those of pending reactions."""
        for session in self._crowd.open_sessions():
            session.label = None
        return []


class DirtyData(Scenario):
    """Late, duplicate and malformed messages, as in real data."""

    name, title, marks = "dirty-data", "Dirty data", "own"
    what = "events arrive late or twice, and malformed copies are added"
    watch = "dead letters and repeats: duplicates are never stored twice"
    keys: ClassVar = {
        "late": Number(0.05, 0, 1, "share of events held back"),
        "duplicate": Number(0.05, 0, 1, "share of events sent twice"),
        "malformed": Number(0.01, 0, 1, "share copied malformed; 0.05 stops the consumer"),
        "delay": Number(5, 0.1, 3_600, "seconds that late events are held back"),
        "seconds": Number(DAY_S, 1, 14 * DAY_S, "seconds until it ends"),
    }
    strengths = tuple(
        f"late={share},duplicate={share},malformed={share}"
        for share in (0.01, 0.02, 0.05, 0.1, 0.3)
    )

    def __init__(self, **values: str | float) -> None:
        dials = ("late", "duplicate", "malformed")
        if any(dial in values for dial in dials):  # if one is set, the others default to 0
            values = {"late": 0.0, "duplicate": 0.0, "malformed": 0.0, **values}
        super().__init__(**values)
        self._held: list[tuple[int, int, Event]] = []
        self._num_held = 0

    def holds_back(self, event: Event) -> bool:
        """Hold the event back, or send a copy a moment later, as the keys say."""
        at_ms, chance = id_ms(event.event_id), self._rng.random
        if chance() < self._number("duplicate"):
            self._hold(at_ms + 1_000, copy(event), "duplicate")
        if chance() < self._number("malformed"):
            broken = copy(event)
            broken.event_id = f"{event.event_id[:14]}{self._rng.getrandbits(88):022x}"
            field, value = self._rng.choice(_BROKEN)
            setattr(broken, field, value)
            self._hold(at_ms + 1_000, broken, "malformed")
        if chance() < self._number("late"):
            self._hold(at_ms + int(1000 * self._number("delay")), event, "late")
            return True
        return False

    def _hold(self, until_ms: int, event: Event, variant: str) -> None:
        event.scenario, event.variant = self.name, variant
        self._num_held += 1
        heappush(self._held, (until_ms, self._num_held, event))

    def added(self, until_ms: float) -> list[Event]:
        """Return the events that were held back long enough."""
        events = []
        while self._held and self._held[0][0] <= until_ms:
            events.append(heappop(self._held)[2])
        return events

    def end(self, at_ms: int) -> list[Event]:
        """Return all events held back, so that none is lost."""
        return self.added(math.inf)


_BROKEN: Final = (
    ("timestamp", "today"), ("device_type", "fridge"), ("session_seq", "3rd"), ("session_id", 7),
)  # fmt: skip
"""Defects that the consumer's type check refuses; the message key is still a reader."""

SCENARIOS: Final[dict[str, type[Scenario]]] = {
    kind.name: kind
    for kind in (BreakingNews, Bot, ABTest, DeviceOutage, CommentStorm, LogoutWave, DirtyData)
}

ADDS_EVENTS: Final = {
    name: kind.marks == "added" for name, kind in SCENARIOS.items() if kind.marks != "nothing"
}
"""By name: whether the events that carry a scenario's name were added by it, as charts show."""
