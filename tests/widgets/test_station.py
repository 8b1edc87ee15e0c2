"""What a click on a station of the pipeline shows, read from real servers."""

import json

import pytest

from clickstream.demo.demo import Demo
from clickstream.kafka import messages
from clickstream.settings import Settings
from clickstream.widgets.station import html, look
from tests.support.by_id import send, send_raw

HOSTILE = b'<img src=x onerror="alert(1)"><b>\x1b[31m\xe2\x80\xae</script>' + b"x" * 1_000_000


def test_a_station_shows_what_is_there_now(made: Settings) -> None:
    """The newest event, message, document and report are those that the servers have."""
    send(made, 200)
    demo = Demo(made)
    demo.consume()
    demo.documents()
    newest = messages.peek(made.kafka, 1, partition=1)[0]

    assert look(demo, "site")[0] == "The newest event"
    title, lines = look(demo, "kafka", 1)
    assert title == "The newest message"
    assert lines[0] == f"partition 1, offset {newest.offset:,}"
    assert lines[1] == f"key {newest.key}"
    assert json.loads("\n".join(lines[3:])) == json.loads(newest.value or b"")
    title, lines = look(demo, "index")
    assert (title, lines[0]) == (
        "The newest document",
        f"_id {json.loads(''.join(lines[1:]))['event_id']}",
    )
    title, lines = look(demo, "consumers")
    assert "200 stored" in " ".join(lines)
    assert " ".join(lines).rstrip().endswith(" ms"), "to its end"
    assert max(map(len, lines)) <= 40
    assert look(demo, "dead letters") == ("There are no dead letters", [])


def test_a_station_of_empty_servers_says_so(made: Settings) -> None:
    """Nothing is there yet, and that is no error."""
    demo = Demo(made)
    demo.ensure()
    assert look(demo, "site") == look(demo, "kafka", 2) == ("No message is here", [])
    assert look(demo, "index") == ("The index is empty", [])
    assert look(demo, "consumers")[1] == []


@pytest.mark.parametrize("station", ["kafka", "dead letters"])
def test_what_comes_from_outside_is_shown_as_text_and_cut(made: Settings, station: str) -> None:
    """Markup, control characters and a megabyte become a line of 80 characters."""
    send_raw(made, HOSTILE)
    demo = Demo(made)
    demo.consume()
    title, lines = look(demo, station)

    assert title.startswith("The newest")
    assert all(line.isprintable() and len(line) <= 80 for line in lines)
    assert any(line.startswith("<img src=x") for line in lines)
    if station == "dead letters":
        assert any(line.startswith("clickstream.error.reason: ") for line in lines)
    shown = html(title, lines)
    assert "&lt;img src=x" in shown
    assert "<img" not in shown


def test_json_that_is_nested_too_deeply_is_shown_as_text(made: Settings) -> None:
    """Python's parser gives up; the drawer shows the bytes."""
    send_raw(made, b"[" * 100_000)
    _, lines = look(Demo(made), "kafka")
    assert lines[-1].startswith("[[[[")


def test_a_partition_that_is_gone_has_no_message(made: Settings) -> None:
    """As on a page that still shows a topic with more partitions; the others are not read."""
    send(made, 20)
    assert look(Demo(made), "kafka", 9) == ("No message is here", [])
