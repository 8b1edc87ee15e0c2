"""Scenarios that change how often readers react to the pages they view."""

from __future__ import annotations

from random import Random
from typing import ClassVar, Final

from clickstream.events import REACTIONS, EventType
from clickstream.simulation import personas
from clickstream.simulation.scenario_base import DAY_S, Number, Scenario
from clickstream.simulation.sessions import Action, Session
from clickstream.simulation.simulator import Simulator

_LAST_PAGE_MS: Final = 900
"""A reaction to the last view of a session is added within this time, because the reader's next
visit may begin a second later."""


def chance(persona: str, event: EventType, lift: float) -> float:
    """Return the share of views without a reaction that must get one to lift its rate.

    Args:
        persona: the name of the persona.
        event: `like`, `comment` or `share`.
        lift: 0.3 means 30 % more; a negative lift returns a negative number.
    """
    usual = personas.reaction_rate(personas.PERSONAS[persona], event)
    return min(1.0, lift * usual / (1 - usual)) if usual < 1 else 0.0


def react(
    session: Session, event: EventType, chance: float, lift: float, rng: Random
) -> int | None:
    """Add a reaction to the next page view, or remove it.

    Args:
        session: the session; if its next action is not a view, nothing happens.
        event: the reaction.
        chance: the result of `chance`.
        lift: if negative, the reaction is removed from that share of the views that have it.
        rng: the source of randomness.

    Returns:
        The index of the added action in the session's actions; None if nothing was added.
    """
    actions, place = session.actions, session.next
    at_ms, event_type, article, _ = actions[place]
    if event_type != "page_view":
        return None
    end = place + 1
    while end < len(actions) and actions[end][1] in REACTIONS:
        end += 1
    found = [i for i in range(place + 1, end) if actions[i][1] == event]
    if chance > 0 and not found and rng.random() < chance:
        left_ms = actions[end][0] if end < len(actions) else at_ms + _LAST_PAGE_MS
        moment_ms = at_ms + int(rng.random() * (left_ms - at_ms))
        extra: Action = (moment_ms, event, article, rng.choice(list(personas.SHARE_CHANNELS)))
        where = place + 1 + sum(actions[i][0] <= moment_ms for i in range(place + 1, end))
        actions.insert(where, extra)
        return where
    if found and rng.random() < -lift:
        for i in reversed(found):
            del actions[i]
    return None


class Engagement(Scenario):
    """All readers react more or less often; no event is labelled.

    It is a setting, not an incident: its events belong to the crowd and count for the pace.
    """

    name = "engagement"
    keys: ClassVar = {
        "times": Number(1, 0, 10, "factor on the usual rate; 0 means none"),
        "seconds": Number(14 * DAY_S, 1, 14 * DAY_S, "seconds until it ends"),
    }

    def begin(self, crowd: Simulator, at_ms: int) -> None:
        """Compute how often to add each reaction, by persona."""
        super().begin(crowd, at_ms)
        self._lift = self._number("times") - 1
        self._chances = {
            name: [(event, chance(name, event, self._lift)) for event in REACTIONS]
            for name in personas.PERSONAS
        }

    def before_event(self, session: Session) -> None:
        """Change the reactions to the next page view."""
        for event, odds in self._chances[self._crowd.persona_of(session.user_id)]:
            react(session, event, odds, self._lift, self._rng)
