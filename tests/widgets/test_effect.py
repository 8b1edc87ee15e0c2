"""What a scenario changes: the line "before → now", from events that are known."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from clickstream import producer
from clickstream.demo.demo import Demo
from clickstream.events import Event, format_timestamp
from clickstream.settings import Settings
from clickstream.simulation.scenarios import SCENARIOS
from clickstream.simulation.simulator import Simulator
from clickstream.widgets.activity_log import Play
from clickstream.widgets.effect import Effect
from tests.support.by_id import MONDAY_MS

UNTIL = datetime.fromtimestamp(int(time.time()), UTC)
BEGAN = UNTIL - timedelta(seconds=100)
VIEW = next(
    event
    for event in Simulator(seed=1, start_ms=MONDAY_MS).events()
    if event.event_type == "page_view"
)

# By period, in seconds before `UNTIL`: number, type and other fields of the events.
EVENTS: dict[tuple[float, float], list[tuple[int, str, dict[str, Any]]]] = {
    (171, 161.1): [(40, "logout", {"user_id": "too-early"})],
    (161, 101.1): [
        (
            30,
            "page_view",
            {"scenario": "ab-test", "variant": "A", "user_id": "reader-a", "device_type": "mobile"},
        ),
        (90, "page_view", {"device_type": "desktop"}),
        (6, "comment", {"device_type": "mobile"}),
    ],
    (101, 10.1): [(500, "comment", {"user_id": "neither-nor", "device_type": "mobile"})],
    (10, 0.1): [
        (50, "page_view", {"scenario": "ab-test", "variant": "A", "user_id": "reader-bot"}),
        (50, "page_view", {"scenario": "ab-test", "variant": "B"}),
        (2, "like", {"scenario": "ab-test", "variant": "A"}),
        (6, "share", {"scenario": "ab-test", "variant": "B"}),
        (12, "comment", {}),
        (25, "logout", {"user_id": "reader-bot"}),
    ],
    (0, -5): [(70, "page_view", {"user_id": "too-late"})],
}
LINES = {
    "breaking-news": "2.0 → 10 views a second",
    "bot": "24 % → 52 % of all events by the leader",
    "ab-test": "5.0 → A 4.0, B 12 reactions in 100 views",
    "device-outage": "0.6 → 0.0 events a second on mobile",
    "comment-storm": "0.1 → 1.2 comments a second",
    "logout-wave": "0.0 → 2.5 logouts a second",
    "dirty-data": "0.1 → 3.0 dead letters a second",
}


def known() -> Iterator[Event]:
    """All events of `EVENTS`, spread evenly over their periods, desktop if nothing else is said."""
    number = 0
    for (since_s, until_s), kinds in EVENTS.items():
        for count, kind, fields in kinds:
            for place in range(count):
                ago_s = since_s + (until_s - since_s) * (place + 0.5) / count
                at = UNTIL - timedelta(seconds=ago_s)
                number += 1
                values = {"user_id": f"reader-{number}", "device_type": "desktop"} | fields
                yield msgspec.structs.replace(
                    VIEW,
                    event_id=f"{VIEW.event_id[:-4]}{number:04x}",
                    event_type=kind,
                    timestamp=format_timestamp(round(1000 * at.timestamp())),
                    **values,
                )


@pytest.fixture(scope="module")
def effect(shared_settings: Settings) -> Effect:
    """Compares over an index with known events, and known counts of dead letters."""
    demo = Demo(shared_settings)
    producer.send(shared_settings.kafka, known())
    demo.consume()
    assert demo.documents() == len(list(known()))
    effect = Effect(demo.search)
    for ago_s, count in ((165, 5), (162, 5), (102, 11), (50, 20), (11, 20), (0.5, 50)):
        effect.note_dead_letters(UNTIL - timedelta(seconds=ago_s), count)
    return effect


@pytest.mark.parametrize(("scenario", "line"), LINES.items())
def test_the_minute_before_is_compared_with_the_latest_seconds(
    effect: Effect, scenario: str, line: str
) -> None:
    """Every scenario has its number: the mean of 60 s before its begin, and of the last 10 s."""
    title = SCENARIOS[scenario].title
    play = Play(scenario, BEGAN)

    assert effect.compare(play, UNTIL) == f"{title}, before → now: {line}"
    over = Play(scenario, BEGAN, UNTIL - timedelta(seconds=20))
    assert effect.compare(over, UNTIL) == f"{title} has ended, before → now: {line}"


def test_every_scenario_is_compared() -> None:
    """No scenario is left out."""
    assert set(LINES) == set(SCENARIOS)


def test_nothing_is_compared_too_early(effect: Effect) -> None:
    """A scenario needs five seconds to show; then only its own seconds count."""
    play = Play("breaking-news", UNTIL - timedelta(seconds=5))

    assert effect.compare(play, UNTIL - timedelta(seconds=0.1)) == ""
    assert effect.compare(play, UNTIL).endswith("→ 10 views a second")


def test_without_events_the_line_says_zero(effect: Effect) -> None:
    """Where nothing happened there is no error."""
    later = UNTIL + timedelta(hours=2)
    for scenario in LINES:
        line = effect.compare(Play(scenario, later - timedelta(seconds=20)), later)
        assert "0.0" in line or "–" in line
