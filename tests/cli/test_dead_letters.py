"""The lines that dead letters are mended in, and those a terminal shows, without a server."""

import json
import re
from datetime import UTC, datetime

import pytest

from clickstream import cli_letters, events
from clickstream.errors import ConfigError
from clickstream.letters import DeadLetter, Place
from clickstream.simulator import Simulator

MOMENT = datetime(2026, 1, 5, tzinfo=UTC)
EVENT = Simulator(seed=3, start_ms=1_767_571_200_000).take()
GOOD = events.encode(EVENT)
BAD = GOOD.replace(b'"session_seq":0', b'"session_seq":"none"')


def letter(offset: int, value: bytes | None, reason: str = "why") -> DeadLetter:
    """A letter that lies at an offset."""
    source = Place("clickstream-events", 1, 70 + offset)
    place = Place("clickstream-events-dlq", 0, offset)
    return DeadLetter(place, source, "EventError", reason, MOMENT, b"\xffkey", value)


LETTERS = [letter(0, BAD), letter(1, b"\xff\xfe\x1b"), letter(2, None), letter(3, b"{ not json")]


def test_lines_written_and_read_back_change_nothing() -> None:
    """Whatever the bytes are; in ASCII, so that no terminal is driven by them."""
    lines = [cli_letters.to_line(each) for each in LETTERS]
    repair = cli_letters.from_lines([line.encode() + b"\r\n" for line in [*lines, " "]], LETTERS)

    assert [repair(each) for each in LETTERS] == [each.value for each in LETTERS]
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


def test_a_mended_line_needs_no_more_than_offset_and_value() -> None:
    """Letters without a line are left where they are."""
    line = json.dumps({"offset": 3, "value": GOOD.decode()}).encode()
    repair = cli_letters.from_lines([line], LETTERS)

    assert [repair(each) for each in LETTERS] == [None, None, None, GOOD]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"0:3  EventError", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[3]", "no JSON object with a text as value"),
        (b'{"offset": 3}', "no JSON object with a text as value"),
        (b'{"offset": 3, "value": {}}', "no JSON object with a text as value"),
        (b'{"value": "x"}', "no dead letter at offset None"),
        (b'{"offset": 9, "value": "x"}', "no dead letter at offset 9"),
        (b'{"offset": true, "value": "x"}', "no dead letter at offset True"),
        (b'{"offset": 3.0, "value": "x"}', "no dead letter at offset 3.0"),
        (b'{"offset": [], "value": "x"}', r"no dead letter at offset \[\]"),
        (b'{"offset": 3, "partition": 1, "value": "x"}', "no dead letter at offset 3"),
        (b'{"offset": 3, "value": "x", "value_base64": "eA=="}', "at once"),
        (b'{"offset": 3, "value_base64": "e!"}', "base64|padding"),
        (b'{"offset": 3, "value": "\\ud800"}', "surrogates"),
        (b'{"offset": 3, "value": "{}"}', "not an event: .* missing required field `event_id`"),
        (b'{"offset": 3, "value": "{\\"\\\\u001b[2J\\": 1}"}', r"unknown field `\\x1b\[2J`"),
        (b'{"offset": 0, "value": null}', "offset 0 has a line above already"),
    ],
    ids=lambda value: value[:40].decode("ascii", "replace") if isinstance(value, bytes) else "",
)
def test_a_wrong_line_is_named_by_its_number(line: bytes, why: str) -> None:
    """Whatever is wrong with it, in one line that is safe in a terminal."""
    good = json.dumps({"offset": 0, "value": GOOD.decode()}).encode()
    with pytest.raises(ConfigError) as raised:
        cli_letters.from_lines([good, b"", line, b"more"], LETTERS)

    said = str(raised.value)
    assert re.search(rf"line 3 of .*{why}.*nothing was sent", said)
    assert said.isprintable()


@pytest.mark.parametrize("columns", [80, 160])
def test_a_letter_is_a_line_that_fits_the_terminal(columns: int) -> None:
    """Place, type, reason and how the value begins, in columns; what is cut says so."""
    reason = "not an event: Object contains unknown field `\x1b[2J`" + "!" * 900
    shown = cli_letters._lines([letter(7, b"\x07" * 2_000_000, reason), *LETTERS], columns)

    assert shown[0].startswith(r"0:7  EventError  Object contains unknown field `\x1b[")
    assert all(len(line) <= columns and line.isprintable() for line in shown)
    assert "…" in shown[0]
    assert shown[2].split() == ["0:1", "EventError", "why", r"\xff\xfe\x1b"]
    assert shown[3].split() == ["0:2", "EventError", "why"]


def test_a_narrow_terminal_still_shows_a_line_a_letter() -> None:
    """It wraps rather than to hide the cause."""
    (line,) = cli_letters._lines([letter(7, BAD, "malformed")], 20)
    assert line == '0:7  EventError  malformed  {"event_id"…'
