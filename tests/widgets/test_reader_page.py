"""A person as a reader: directly, and in the control room, on real servers."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from clickstream import producer
from clickstream.demo.demo import Demo
from clickstream.events import Event, decode
from clickstream.kafka import messages
from clickstream.settings import Settings
from clickstream.simulation.visitor import Visitor
from clickstream.widgets.live_pipeline import LivePipeline
from clickstream.widgets.reader_page import ReaderPage
from clickstream.widgets.room_reader import RoomReader
from tests.opensearch.test_site import views
from tests.support.by_id import MONDAY_MS, wait_until
from tests.support.faults import FaultProxy
from tests.widgets.conftest import threads

HOSTILE = '<img src=x onerror="document.title=1"><b>\x1b[31m\u202e</script>' + "x" * 900_000


def shown(page: ReaderPage) -> dict[str, Any]:
    """What the page shows now."""
    page.paint()
    state: dict[str, Any] = json.loads(page.view._state)
    return state


def in_topic(settings: Settings, user_id: str = "reader-ada") -> dict[str, Event]:
    """The events of a reader, by partition and offset as the page writes them."""
    return {
        f"partition {each.partition}, offset {each.offset:,}": decode(each.value or b"")
        for each in messages.read(settings.kafka)
        if each.key == user_id
    }


def test_a_click_is_sent_directly_and_read_back(made: Settings) -> None:
    """Each event is in the topic, where the page says; a known name does not register again."""
    producer.send(made.kafka, views(MONDAY_MS + at for at in range(3)))
    page = ReaderPage(Demo(made))
    page.do("back")
    assert shown(page)["user"] == ""
    (headline,) = shown(page)["headlines"]
    assert headline["about"].endswith("· 3 views")

    page.do("open", headline["id"])
    assert "nobody is logged in" in shown(page)["message"]
    page.do("log in", "bot", 1_280)
    assert "a name has 2 to 16 letters" in shown(page)["message"]
    page.do("log in", " Ada ", 500)
    page.do("open", "sports-260105-0930")
    assert "it is not on the front page" in shown(page)["message"]
    assert shown(page)["is_trouble"]
    page.do("open", headline["id"])
    assert shown(page)["article"]["title"] == headline["title"]
    page.do("like")
    assert shown(page)["article"]["actions"][0] == ["Like", "like", False]
    page.do("like")
    assert "it is liked already" in shown(page)["message"]

    found = in_topic(made)
    assert [event.event_type for event in found.values()] == [
        "register",
        "login",
        "page_view",
        "like",
    ]
    assert [event.session_seq for event in found.values()] == [0, 1, 2, 3]
    assert {event.device_type for event in found.values()} == {"mobile"}
    ways = [each["way"] for each in reversed(shown(page)["events"])]
    assert [way.split(" → ")[1].split(" (")[0] for way in ways] == list(found)

    other = ReaderPage(Demo(made))
    other.do("log in", "ada", 1_280)
    assert "reader-ada is logged in on another page" in shown(other)["message"]
    page.do("log out")
    assert shown(page)["message"] == "reader-ada is logged out."
    other.do("log in", "ada", 1_280)
    assert shown(other)["user"] == "reader-ada"
    last = list(in_topic(made).values())[-2:]
    assert [(event.event_type, event.device_type) for event in last] == [
        ("logout", "mobile"),
        ("login", "desktop"),
    ]


def test_what_comes_from_outside_is_text_of_80_characters(made: Settings) -> None:
    """Markup, control characters and 900,000 letters in a title are shown as text, and cut."""
    (view,) = views([MONDAY_MS])
    producer.send(made.kafka, [msgspec.structs.replace(view, article_title=HOSTILE)])
    page = ReaderPage(Demo(made))
    page.do("log in", "ada", 1_280)
    page.do("open", view.article_id or "")

    found = shown(page)
    assert found["user"] == "reader-ada"
    texts = [found["headlines"][0]["title"], found["article"]["title"], found["events"][0]["what"]]
    for text in texts:
        assert len(text) <= 80
        assert text.isprintable()
        assert "<img src=x" in text


@pytest.fixture
def page(pipeline: LivePipeline, made: Settings) -> Iterator[RoomReader]:
    """The page of a room."""
    page = RoomReader(Demo(made), pipeline, lambda do: do())
    yield page
    page.forget()


def way(page: RoomReader) -> list[str]:
    """The ways of the own events, the oldest first."""
    return [each["way"] for each in reversed(shown(page)["events"])]


def test_a_person_in_the_room_is_followed_to_the_index(
    page: RoomReader, pipeline: LivePipeline, made: Settings
) -> None:
    """Clicks go through the traffic, and are seen in Kafka, stored and searchable; none is lost."""
    page.do("log in", "ada", 1_280)
    assert shown(page)["message"].endswith("nobody is on the site; press Start first")
    assert threads() == []
    pipeline.start()
    wait_until(lambda: bool(page.do("back") or shown(page)["headlines"]), 20)
    page.do("log in", "ada", 1_280)
    assert shown(page)["user"] == "reader-ada"
    assert {"reader-tail", "reader-index"} < set(threads())
    page.do("open", shown(page)["headlines"][0]["id"])
    page.do("comment")
    wait_until(lambda: len(way(page)) == 4 and all("searchable" in each for each in way(page)), 20)
    wait_until(lambda: " · 4 events · place " in shown(page)["standing"], 20)
    assert all(" → stored (" in each for each in way(page))

    other = ReaderPage(Demo(made))
    other.do("log in", "ada", 1_280)
    assert "is logged in on another page" in shown(other)["message"]
    page.do("log out")
    wait_until(lambda: "reader-tail" not in threads() and "reader-index" not in threads(), 20)
    assert shown(page)["message"] == "reader-ada is logged out."
    for action in ("log in", "log out", "log in"):
        page.do(action, "ada", 1_280)
        assert not shown(page)["is_trouble"], "the index does not know of the logout yet"
    pipeline.stop()
    assert shown(page)["message"] == "reader-ada is logged out."
    wait_until(lambda: len(way(page)) >= 2 and all("searchable" in each for each in way(page)), 10)
    wait_until(lambda: not {"reader-tail", "reader-index"} & set(threads()), 10)
    assert "another page" not in str(shown(page)["events"])

    found = list(in_topic(made).values())
    assert [event.event_type for event in found] == [
        *("register", "login", "page_view", "comment", "logout"),
        *("login", "logout", "login", "logout"),
    ]
    assert [event.session_seq for event in found] == [0, 1, 2, 3, 4, 0, 1, 0, 1]
    assert {event.scenario for event in found} == {None}


@pytest.mark.slow
def test_while_opensearch_is_away_the_page_says_so_and_keeps_its_headlines(
    pipeline: LivePipeline, made: Settings
) -> None:
    """The last front page stays, and a click on it still reaches Kafka."""
    with FaultProxy(made.opensearch.url) as proxy:
        target = replace(made, opensearch=replace(made.opensearch, url=proxy.url))
        page = RoomReader(Demo(target), pipeline, lambda do: do())
        pipeline.start()
        wait_until(lambda: bool(page.do("back") or shown(page)["headlines"]), 20)
        page.do("log in", "ada", 1_280)
        headlines = shown(page)["headlines"]
        proxy.close()
        page.do("back")
        assert shown(page)["message"].startswith("OpenSearch does not answer")
        assert shown(page)["headlines"] == headlines
        page.do("open", headlines[0]["id"])
        assert shown(page)["message"] == ""
        wait_until(lambda: len(way(page)) == 3, 20)
        wait_until(lambda: "OpenSearch does not answer" in shown(page)["standing"], 20)
        page.forget()


@pytest.mark.slow
def test_an_emptied_room_forgets_the_person(
    page: RoomReader, pipeline: LivePipeline, made: Settings
) -> None:
    """After a reset nobody is logged in, nothing is left, and the name is new again."""
    pipeline.start()
    page.do("log in", "ada", 1_280)
    page.forget()
    pipeline.reset()
    assert shown(page)["user"] == shown(page)["message"] == ""
    assert shown(page)["events"] == shown(page)["headlines"] == []
    assert threads() == []
    pipeline.start()
    page.do("log in", "ada", 1_280)
    wait_until(lambda: len(way(page)) == 2, 20)
    assert [event.event_type for event in in_topic(made).values()] == ["register", "login"]


@pytest.mark.slow
def test_another_page_s_event_is_told_apart(
    page: RoomReader, pipeline: LivePipeline, made: Settings
) -> None:
    """Two pages that logged in at the same moment see each other's events, marked."""
    pipeline.start()
    page.do("log in", "ada", 1_280)
    twin = Visitor("ada", device="mobile", is_new=False)
    producer.send(made.kafka, twin.added(MONDAY_MS))
    wait_until(lambda: len(way(page)) == 3, 20)
    words = [each["what"] for each in shown(page)["events"]]
    assert sorted(words) == ["logs in", "logs in (on another page)", "registers"]
