"""The crowd's engagement: more or fewer reactions, and no other change."""

from collections import Counter

import pytest

from clickstream.events import REACTIONS
from clickstream.simulation.reactions import Engagement
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic

MONDAY_MS = 1_767_571_200_000
HOURS_MS = 6 * 3_600_000


def counted(times: float) -> Counter[str]:
    """Count six hours of a crowd with that engagement by event type."""
    traffic = Traffic(Simulator(seed=4, start_ms=MONDAY_MS))
    traffic.start(Engagement(times=times))
    return Counter(event.event_type for event in traffic.events(until_ms=MONDAY_MS + HOURS_MS))


@pytest.fixture(scope="module")
def usual() -> Counter[str]:
    """The same hours without the setting."""
    return counted(1)


def test_an_engagement_of_1_changes_no_event(usual: Counter[str]) -> None:
    """An engagement of 1 changes no event."""
    crowd = Simulator(seed=4, start_ms=MONDAY_MS)
    plain = Counter(event.event_type for event in crowd.events(until_ms=MONDAY_MS + HOURS_MS))
    assert usual == plain


@pytest.mark.parametrize("times", [0, 0.5, 3])
def test_reactions_come_so_many_times_as_often(usual: Counter[str], times: float) -> None:
    """Each reaction is scaled within a tenth, and views, logins and logouts do not change."""
    found = counted(times)
    for kind in REACTIONS:
        assert found[kind] == pytest.approx(times * usual[kind], rel=0.1, abs=0.5)
    for kind in ("login", "page_view", "logout", "register"):
        assert found[kind] == usual[kind]


def test_nothing_is_labelled() -> None:
    """Events of changed engagement carry no label."""
    traffic = Traffic(Simulator(seed=4, start_ms=MONDAY_MS))
    traffic.start(Engagement(times=5))
    found = list(traffic.events(until_ms=MONDAY_MS + HOURS_MS // 6))
    assert {event.scenario for event in found} == {None}
