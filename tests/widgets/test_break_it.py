"""The badge with the count by id, and who may break what."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from clickstream.demo.audit import Audit
from clickstream.demo.demo import Demo
from clickstream.settings import Settings
from clickstream.widgets.break_it import Count
from clickstream.widgets.break_it_view import badge
from clickstream.widgets.control_room import ControlRoom
from tests.widgets.conftest import find_button

AT = datetime(2026, 11, 30, 11, 3, 40, tzinfo=UTC)
COUNT = Count(AT - timedelta(seconds=90), AT)
GOOD = Audit(messages=4_812, stored=4_804, repeated=0, dead_lettered=8)


@pytest.fixture
def room(made: Settings) -> Iterator[ControlRoom]:
    """An idle room."""
    room = ControlRoom(Demo(made))
    yield room
    room.close()


def test_a_badge_says_how_many_are_lost_and_doubled_and_its_span() -> None:
    """Anything lost or doubled makes it red; without an outcome it is grey."""
    lost, doubled = replace(GOOD, lost=[(0, 7)]), replace(GOOD, doubled=["an id"])
    assert "0 lost · 0 doubled" in badge(replace(COUNT, found=GOOD))
    assert "1 lost · 0 doubled" in badge(replace(COUNT, found=lost))
    assert f"{COUNT.span}, 4,812 messages" in badge(replace(COUNT, found=GOOD))
    assert [
        badge(replace(COUNT, found=found)).split("'")[1] for found in (GOOD, lost, doubled, None)
    ] == ["good", "bad", "bad", "unknown"]
    assert "counting …" in badge(COUNT)
    assert "not counted" in badge(replace(COUNT, problem="Kafka is gone."))


def test_why_nothing_was_counted_is_text(room: ControlRoom) -> None:
    """A reason that comes from outside is shown as it is, not as HTML; the badge stays grey."""
    view = room._break_it_view
    assert view.badge.layout.display == "none"
    room._broken.count = replace(COUNT, problem="<img src=x onerror=alert(1)>")
    view.paint()

    assert view.badge.layout.display is None
    assert "unknown" in view.badge.value
    assert view._count.value.endswith("not counted: &lt;img src=x onerror=alert(1)&gt;")


def test_a_hosted_target_cannot_be_broken(made: Settings, room: ControlRoom) -> None:
    """The kit never stops a hosted server, so the menu has no *Break it*."""
    find_button(room, "Break it")
    kafka, opensearch = made.kafka, made.opensearch
    hosted = replace(
        made,
        kafka=replace(kafka, is_hosted=True),
        opensearch=replace(opensearch, is_hosted=True),
    )
    other = ControlRoom(Demo(hosted))
    with pytest.raises(AssertionError, match="no button 'Break it'"):
        find_button(other, "Break it")
