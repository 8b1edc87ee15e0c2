"""The event model: its fields, and encoding and decoding of its JSON.

`Event` is the only place that defines the fields. A new field is one line in it: the type check
in the consumer and the index mapping are derived from the annotations.

This module decides neither which events happen (`simulation/`) nor where they go.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from clickstream.errors import EventError

EventType = Literal["register", "login", "page_view", "like", "comment", "share", "logout"]
DeviceType = Literal["mobile", "desktop", "tablet"]
ReferrerType = Literal["internal", "search", "direct", "social"]
Category = Literal["politics", "tech", "sports", "health", "entertainment"]
"""The headlines of each category are in `simulation/sections.py`."""

EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
DEVICE_TYPES: Final[tuple[DeviceType, ...]] = get_args(DeviceType)
CATEGORIES: Final[tuple[Category, ...]] = get_args(Category)
REACTIONS: Final[tuple[EventType, ...]] = ("like", "comment", "share")
"""Events by which readers react to an article while they read it."""

DATE: Final = {
    "type": "date",
    "format": "strict_date_time||strict_date_optional_time||epoch_millis",
}
"""OpenSearch's default with the format of our dates in front: trying the many formats of the
default on every date takes a seventh of the server's work for an event."""

Timestamp = Annotated[str, Meta(min_length=24, max_length=24, extra={"mapping": DATE})]
"""ISO 8601 in UTC: `YYYY-MM-DDTHH:MM:SS.mmmZ`, 24 characters, of the years 0001 to 9999. `decode`
checks the rest: a pattern here would cost more than the whole decode."""

FIRST_MS: Final = -62_135_596_800_000
LAST_MS: Final = 253_402_300_799_999
"""The first and the last `Timestamp`, in milliseconds since 1970."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

EventId = Annotated[
    str,
    # Searches use `_id`, so this field is only kept in the source. That saves an inverted
    # index and doc values for the field with the most distinct values.
    Meta(
        min_length=36,
        max_length=36,
        extra={"mapping": {"type": "keyword", "index": False, "doc_values": False}},
    ),
]


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One action of one reader, as a flat object; the JSON leaves out null fields."""

    event_id: EventId
    """In the form of a UUIDv7. It is the document's `_id`, so OpenSearch recognises a replay."""
    event_type: EventType
    timestamp: Timestamp
    """Event time."""
    user_id: str
    """Such as `reader-0042`. It is the message key, so one reader's events stay in order."""
    session_id: str
    session_seq: int
    """0, 1, 2 … without gaps within a session."""
    device_type: DeviceType
    """One per session."""
    article_id: str | None = None
    """This field and the next three are set on page_view, like, comment and share."""
    article_category: Category | None = None
    article_title: str | None = None
    article_published_at: Timestamp | None = None
    referrer_type: ReferrerType | None = None
    """The origin of a page_view."""
    share_channel: str | None = None
    scenario: str | None = None
    """Set on events that a scenario adds or delays, and on whole sessions during an A/B test."""
    variant: str | None = None
    """The arm of an A/B test; for dirty data, the kind of defect."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)

encode = _encoder.encode
"""Encode an event as JSON bytes: one line, fields in the order of `Event`, no nulls."""


def decode(data: bytes) -> Event:
    """Decode JSON bytes into an event and check the type of every field.

    Raises:
        EventError: not JSON, not UTF-8, a field missing, unknown or of the wrong type, or a time
            that does not exist or has another form; the message names the field.
    """
    try:
        event = _decoder.decode(data)
        _check_timestamp(event.timestamp)
        if (published_at := event.article_published_at) is not None:
            _check_published_at(published_at)
    except (msgspec.DecodeError, ValueError) as error:
        msg = f"not an event: {error}"
        raise EventError(msg) from error
    return event


_parse = datetime.fromisoformat


def _check_timestamp(text: str, field: str = "timestamp") -> None:
    """Check that 24 characters are a `Timestamp`, and that this time exists.

    `fromisoformat` is the fastest parser, and accepts other forms, too: week dates, any character
    for T, times without colons, a comma, other time zones, and 24:00 from Python 3.14 on.
    """
    try:
        _parse(text)
    except ValueError as error:
        raise _wrong_time(text, field) from error
    is_form = text[7] == "-" and text[10] == "T" and text[19] == "." and text[23] == "Z"
    if not is_form or (text[11] == "2" and text[12] == "4"):
        raise _wrong_time(text, field)


def _wrong_time(text: str, field: str) -> ValueError:
    return ValueError(f"Expected a time as YYYY-MM-DDTHH:MM:SS.mmmZ, got {text!r} - at `$.{field}`")


# Many events are about one article.
_check_published_at = lru_cache(4096)(partial(_check_timestamp, field="article_published_at"))


def id_ms(event_id: str) -> int:
    """Read the event time (ms since 1970) from an event's id: its first 48 bits, as in a UUIDv7.

    Source: RFC 9562, section 5.7.
    """
    return int(event_id[:8] + event_id[9:13], 16)


def format_timestamp(at_ms: int) -> str:
    """Write milliseconds since 1970 as the 24 characters of `Timestamp`."""
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def moment(at_ms: float) -> datetime:
    """Turn milliseconds since 1970 into a time, limited to the years of `Timestamp`."""
    return _EPOCH + timedelta(milliseconds=min(max(at_ms, FIRST_MS), LAST_MS))


def parse_timestamp(timestamp: str) -> int:
    """Parse a `Timestamp` into milliseconds since 1970."""
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)
