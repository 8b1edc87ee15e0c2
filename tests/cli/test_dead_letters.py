"""Dead letters as lines of JSON and as lines in a terminal, without a server."""

import json
from datetime import UTC, datetime

import pytest

from clickstream import events
from clickstream.cli import dead_letters
from clickstream.kafka.dead_letters import DeadLetter, Place
from clickstream.simulation.simulator import Simulator

MOMENT = datetime(2026, 1, 5, tzinfo=UTC)
EVENT = Simulator(seed=3, start_ms=1_767_571_200_000).take()
BAD = events.encode(EVENT).replace(b'"session_seq":0', b'"session_seq":"none"')


def letter(offset: int, value: bytes | None, reason: str = "why") -> DeadLetter:
    """A dead letter at an offset."""
    source = Place("clickstream-events", 1, 70 + offset)
    place = Place("clickstream-events-dlq", 0, offset)
    return DeadLetter(place, source, "EventError", reason, MOMENT, b"\xffkey", value)


LETTERS = [letter(0, BAD), letter(1, b"\xff\xfe\x1b"), letter(2, None), letter(3, b"{ not json")]


def test_a_letter_is_a_line_of_json() -> None:
    """Any letter becomes one line of ASCII JSON, which cannot control a terminal."""
    lines = [dead_letters.to_line(each) for each in LETTERS]

    assert all(line.isascii() and line.isprintable() for line in lines)
    assert json.loads(lines[0]) == {
        "partition": 0,
        "offset": 0,
        "error_type": "EventError",
        "reason": "why",
        "source": {"topic": "clickstream-events", "partition": 1, "offset": 70},
        "timestamp": "2026-01-05T00:00:00.000Z",
        "key": r"\xffkey",
        "value": BAD.decode(),
    }
    assert json.loads(lines[1])["value_base64"] == "//4b"
    assert "value" not in json.loads(lines[1])
    assert json.loads(lines[2])["value"] is None


@pytest.mark.parametrize("columns", [80, 160])
def test_a_letter_is_a_line_that_fits_the_terminal(columns: int) -> None:
    """A line has position, type, reason and start of the value; truncated text is marked."""
    reason = "not an event: Object contains unknown field `\x1b[2J`" + "!" * 900
    shown = dead_letters._lines([letter(7, b"\x07" * 2_000_000, reason), *LETTERS], columns)

    assert shown[0].startswith(r"0:7  EventError  Object contains unknown field `\x1b[")
    assert all(len(line) <= columns and line.isprintable() for line in shown)
    assert "…" in shown[0]
    assert shown[2].split() == ["0:1", "EventError", "why", r"\xff\xfe\x1b"]
    assert shown[3].split() == ["0:2", "EventError", "why"]


def test_a_narrow_terminal_still_shows_a_line_a_letter() -> None:
    """In a narrow terminal a line wraps, but always shows the reason."""
    (line,) = dead_letters._lines([letter(7, BAD, "malformed")], 20)
    assert line == '0:7  EventError  malformed  {"event_id"…'
