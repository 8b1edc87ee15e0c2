"""Encoding, decoding and mapping of events."""

import json
from typing import Any

import msgspec
import pytest

from clickstream import events
from clickstream.errors import EventError

LOGIN: dict[str, Any] = {
    "event_id": "019b8b74-187b-7fff-bfff-ffffffffffff",
    "event_type": "login",
    "timestamp": "2026-01-05T00:00:00.123Z",
    "user_id": "reader-0042",
    "session_id": "0042-1",
    "session_seq": 0,
    "device_type": "mobile",
}


def test_null_fields_are_left_out_of_the_json() -> None:
    """The bytes hold the fields that are set, in the model's order, and nothing else."""
    assert events.encode(events.Event(**LOGIN)) == json.dumps(LOGIN, separators=(",", ":")).encode()


def test_decoding_gives_back_what_was_encoded() -> None:
    """Decoding an encoded event returns the same event."""
    event = events.Event(**LOGIN, article_title='a "quoted" title', scenario="bot")

    assert events.decode(events.encode(event)) == event


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"session_seq": "0"}, "session_seq"),
        ({"device_type": "toaster"}, "device_type"),
        ({"event_type": None}, "event_type"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"event_id": "short"}, "event_id"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_decode_error_names_the_field(change: dict[str, Any], field: str) -> None:
    """Errors for a wrong type, an unknown value and an unknown field name the field."""
    with pytest.raises(EventError, match=field):
        events.decode(msgspec.json.encode(LOGIN | change))


def test_a_missing_field_is_named() -> None:
    """The error for a missing field names it."""
    without = {name: value for name, value in LOGIN.items() if name != "user_id"}

    with pytest.raises(EventError, match="user_id"):
        events.decode(msgspec.json.encode(without))


@pytest.mark.parametrize(
    "text",
    [
        "+10000-01-01T00:00:00.0Z",
        "0000-12-31T23:59:59.999Z",
        "2026-02-29T00:00:00.000Z",
        "2026-01-05T24:00:00.000Z",
        "2026-01-05T23:59:60.000Z",
        "2026-01-05t00:00:00.000Z",
        "2026-01-05 00:00:00.000Z",
        "2026-01-05T00:00:00.000z",
        "2026-01-05T00:00:00,000Z",
        "2026-01-05T00:00:00.0000",
        "2026-01-05T00:00:00+0000",
        "2026-01-05T000000.00000Z",
        "20260105T000000.0000000Z",
        "2026-W01-1T00:00:00.000Z",
        "2026W01-00:00:00.000000Z",
        "\uff12026-01-05T00:00:00.000Z",
        "2026-01-05T00:00:00.0 0Z",
    ],
)
@pytest.mark.parametrize("field", ["timestamp", "article_published_at"])
def test_a_time_in_another_form_or_that_does_not_exist_is_no_event(field: str, text: str) -> None:
    """24 characters are not enough: the error names the field and the form."""
    assert len(text) == 24
    with pytest.raises(EventError, match=rf"YYYY-MM-DDTHH:MM:SS.mmmZ.*`\$\.{field}`$"):
        events.decode(msgspec.json.encode(LOGIN | {field: text}))


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00.000Z", "2024-02-29T23:00:00.000Z", "9999-12-31T23:59:59.999Z"],
)
def test_every_time_of_the_calendar_is_an_event(text: str) -> None:
    """The years 0001 to 9999 and leap days are accepted, unchanged."""
    event = events.decode(
        msgspec.json.encode(LOGIN | {"timestamp": text, "article_published_at": text})
    )

    assert (event.timestamp, event.article_published_at) == (text, text)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"\xff"', b"null", b'{"event_id": "\xff"}'])
def test_bytes_that_are_no_json_object_are_an_event_error(data: bytes) -> None:
    """Any bytes that are not a JSON object raise a one-line `EventError`."""
    with pytest.raises(EventError, match=r"^not an event: .+$"):
        events.decode(data)


@pytest.mark.parametrize("at_ms", [0, 999, 1_767_571_200_000, 1_767_571_200_123])
def test_timestamps_read_back_to_the_millisecond(at_ms: int) -> None:
    """A timestamp has 24 characters in UTC and parses to the same millisecond."""
    written = events.format_timestamp(at_ms)

    assert len(written) == 24
    assert written.endswith("Z")
    assert events.parse_timestamp(written) == at_ms
