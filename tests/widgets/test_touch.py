"""A click on a chart of the control room filters all charts."""

import time
from collections import Counter
from dataclasses import replace

import msgspec
import pytest

from clickstream import events, producer
from clickstream.charts.chart import Point
from clickstream.demo.demo import Demo
from clickstream.events import Event
from clickstream.settings import Settings
from clickstream.simulation.pacing import live_now
from clickstream.widgets.control_room import ControlRoom
from clickstream.widgets.reader_sessions import sessions
from tests.support.by_id import wait_until
from tests.support.faults import FaultProxy

HOSTILE = "<img src=x onerror=alert(1)>" + "x" * 100


def recent(num_events: int) -> list[Event]:
    """The latest events of a crowd, until now."""
    now_ms = time.time() * 1000
    found = [*live_now(past_s=240).events(until_ms=now_ms - 5_000)]
    return found[-num_events:]


@pytest.fixture
def indexed(made: Settings) -> list[Event]:
    """Events in the index, one of them by a reader with a hostile name."""
    found = recent(400)
    found[-1] = msgspec.structs.replace(found[-1], user_id=HOSTILE)
    producer.send(made.kafka, found)
    Demo(made).consume()
    return found


@pytest.fixture
def room(made: Settings, indexed: list[Event]) -> ControlRoom:
    """A room that shows them."""
    return ControlRoom(Demo(made))


def touch(room: ControlRoom, chart: str, point: Point) -> None:
    """Click on a point, and wait until it was handled."""
    room._charts[chart]._handle_custom_msg(dict(point), [])
    wait_until(lambda: not room._is_busy, 10)


def chips(room: ControlRoom) -> list[str]:
    """The names of the filters."""
    shown = [chip for chip in room._filters.buttons.values() if chip.layout.display != "none"]
    return [chip.description for chip in shown]


def total(room: ControlRoom) -> int:
    """The events that the charts count."""
    assert room.pipeline.answer is not None
    return room.pipeline.answer.total


def test_clicks_on_slice_and_cell_filter_all_charts_and_a_second_click_takes_them_back(
    room: ControlRoom, indexed: list[Event]
) -> None:
    """Filters are joined by AND, one value a field; a chip names each and removes it."""
    assert total(room) == len(indexed)
    types = Counter(each.event_type for each in indexed)
    (pie,) = room.charts["event-types"].data
    label = next(each for each in pie.labels if "page_view" in each)
    touch(room, "event-types", {"label": label})
    assert (total(room), chips(room)) == (types["page_view"], ["type page_view ×"])
    assert len(room.charts["event-types"].data[0].labels) == 1

    cell: Point = {"x": "mobile", "y": "sports"}
    touch(room, "device-category", cell)
    expected = [
        each
        for each in indexed
        if (each.event_type, each.device_type, each.article_category)
        == ("page_view", "mobile", "sports")
    ]
    assert total(room) == len(expected) > 0
    assert chips(room) == ["type page_view ×", "section sports ×", "device mobile ×"]
    touch(room, "device-category", {"x": "tablet", "y": "sports"})
    assert chips(room) == ["type page_view ×", "section sports ×", "device tablet ×"]

    room._filters.buttons["device_type"].click()
    wait_until(lambda: chips(room) == ["type page_view ×", "section sports ×"], 10)
    touch(room, "event-types", {"label": label})
    assert chips(room) == ["section sports ×"]
    assert total(room) == sum(each.article_category == "sports" for each in indexed)
    touch(room, "volume", {"x": "2026-01-01"})
    assert chips(room) == ["section sports ×"]


def test_a_click_on_a_reader_opens_the_sessions_of_the_window(
    room: ControlRoom, indexed: list[Event]
) -> None:
    """Each event in order, the newest session first; values from outside are text."""
    own = [each for each in indexed if each.user_id == HOSTILE]
    user_id = room.charts["top-users"].data[0].y[0]  # of several with as many events
    count = sum(each.user_id == user_id for each in indexed)
    touch(room, "top-users", {"y": user_id})
    assert (total(room), chips(room)) == (count, [f"reader {user_id} ×"])
    assert f"{user_id}: {count} events in " in room._station.value
    assert room._drawer.widget.layout.display is None

    since, until = (events.moment(events.parse_timestamp(own[0].timestamp) + ms) for ms in (0, 1))
    title, lines = sessions(room._demo, HOSTILE, since, until)
    assert title.endswith(": 1 event in 1 session")
    assert lines[0] == f"on {own[0].device_type}, 1 event"
    assert own[0].event_type in lines[1]
    assert all(len(line) <= 80 for line in lines)


def test_a_filter_without_events_says_so(room: ControlRoom) -> None:
    """A login has no article: the heatmap says that nothing has these filters."""
    (pie,) = room.charts["event-types"].data
    touch(room, "event-types", {"label": next(each for each in pie.labels if "login" in each)})
    figure = room.charts["device-category"]
    assert [each.text for each in figure.layout.annotations] == ["No events with these filters."]
    room.pipeline.reset()
    assert room.pipeline.only == {}


def test_a_click_while_opensearch_is_away_says_so_and_keeps_the_charts(
    made: Settings, indexed: list[Event]
) -> None:
    """The charts stay, and so do the filters."""
    with FaultProxy(made.opensearch.url) as proxy:
        target = replace(made, opensearch=replace(made.opensearch, url=proxy.url))
        room = ControlRoom(Demo(target))
        before = room.charts
    touch(room, "device-category", {"x": "mobile", "y": "sports"})
    assert "OpenSearch" in room._status.value
    assert room.charts is before
    assert (room.pipeline.only, chips(room)) == ({}, [])
