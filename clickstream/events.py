"""What an event is: its fields, its exact JSON bytes both ways, and the mapping that follows.

`Event` is the one place that knows the fields. A new field is one line in it: the typed
check of the consumer and the index mapping are derived from the annotations.

This module does not decide which events happen (`simulation/`) nor where they go.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta, inspect

from clickstream.errors import ConfigError, EventError

EventType = Literal["register", "login", "page_view", "like", "comment", "share", "logout"]
DeviceType = Literal["mobile", "desktop", "tablet"]
ReferrerType = Literal["internal", "search", "direct", "social"]
Category = Literal["politics", "tech", "sports", "health", "entertainment"]
"""Each has its headlines in `simulation/sections.py`."""

EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)
DEVICE_TYPES: Final[tuple[DeviceType, ...]] = get_args(DeviceType)
CATEGORIES: Final[tuple[Category, ...]] = get_args(Category)
REACTIONS: Final[tuple[EventType, ...]] = ("like", "comment", "share")
"""What readers do to an article while they read it."""

DATE: Final = {
    "type": "date",
    "format": "strict_date_time||strict_date_optional_time||epoch_millis",
}
"""OpenSearch's own default with the form of our dates before it: to try the many forms of the
default on each is a seventh of all that the server does for an event."""

Timestamp = Annotated[str, Meta(min_length=24, max_length=24, extra={"mapping": DATE})]
"""ISO 8601 in UTC with milliseconds and `Z`: 24 characters. A date that does not exist is
OpenSearch's to refuse: a pattern here would cost five times the whole decode."""

EventId = Annotated[
    str,
    # It is searched as `_id`; the field stays in the source alone, which saves an
    # inverted index and doc values over the most distinct value there is.
    Meta(
        min_length=36,
        max_length=36,
        extra={"mapping": {"type": "keyword", "index": False, "doc_values": False}},
    ),
]


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One thing one reader did, flat, with null fields left out of the JSON."""

    event_id: EventId
    """UUIDv7-shaped; the document's `_id`, so a replayed message is recognised."""
    event_type: EventType
    timestamp: Timestamp
    """Event time."""
    user_id: str
    """`reader-0042`; the message's key, so one reader's events stay in order."""
    session_id: str
    session_seq: int
    """0, 1, 2 … without gaps in a session."""
    device_type: DeviceType
    """One per session."""
    article_id: str | None = None
    """Set, as the three below, on page_view, like, comment and share."""
    article_category: Category | None = None
    article_title: str | None = None
    article_published_at: Timestamp | None = None
    referrer_type: ReferrerType | None = None
    """Where a page_view came from."""
    share_channel: str | None = None
    scenario: str | None = None
    """Set on what a scenario adds or holds back, and on all of a session while an A/B runs."""
    variant: str | None = None
    """The arm, while an A/B test runs; of dirty data, in which way it is dirty."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)

encode = _encoder.encode
"""Turn an event into its JSON bytes: one line, fields in the order of `Event`, no nulls."""


def decode(data: bytes) -> Event:
    """Turn JSON bytes into an event, checking every field's type.

    Raises:
        EventError: not JSON, not UTF-8, a field missing, unknown or of the wrong type;
            the message names the field.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"not an event: {error}"
        raise EventError(msg) from error


def mapping(model: type[msgspec.Struct] = Event) -> dict[str, Any]:
    """Derive the index mapping from the model: `dynamic: strict`, every field of one word.

    A field whose annotation carries a mapping uses that; otherwise text is a `keyword`, and
    whole numbers, fractions and truth values have types of their own.

    Raises:
        ConfigError: a field is of a type that has no mapping; the message names it.
    """
    fields = inspect.type_info(model).fields  # type: ignore[attr-defined]
    properties = {field.name: _field_mapping(field.name, field.type) for field in fields}
    return {"dynamic": "strict", "properties": properties}


_MAPPED: Final[dict[type[inspect.Type], str]] = {
    inspect.StrType: "keyword",
    inspect.LiteralType: "keyword",
    inspect.IntType: "integer",
    inspect.FloatType: "double",
    inspect.BoolType: "boolean",
}


def _field_mapping(name: str, kind: inspect.Type) -> dict[str, Any]:
    match kind:
        case inspect.Metadata(extra={"mapping": found}):
            return dict(found)
        case inspect.Metadata(type=inner) | inspect.UnionType(types=(inner, inspect.NoneType())):
            return _field_mapping(name, inner)
    if type(kind) not in _MAPPED:
        msg = f"field {name!r} of an event: {kind} has no mapping"
        raise ConfigError(msg, "give it one with Meta(extra=…)")
    return {"type": _MAPPED[type(kind)]}


mapping()  # a field that cannot be mapped is told when it is written, not when it is indexed


def id_ms(event_id: str) -> int:
    """Read the event time (ms since 1970) off an event's id: its first 48 bits, as in a UUIDv7.

    Source: RFC 9562, section 5.7.
    """
    return int(event_id[:8] + event_id[9:13], 16)


def format_timestamp(at_ms: int) -> str:
    """Write milliseconds since 1970 as the 24 characters of `Timestamp`."""
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def parse_timestamp(timestamp: str) -> int:
    """Read a `Timestamp` back as milliseconds since 1970."""
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)
