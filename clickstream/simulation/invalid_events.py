"""Invalid messages that can never become documents, one of each kind, made from an event."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from clickstream import events
from clickstream.events import Event


def _with(event: Event, **changed: Any) -> bytes:
    return json.dumps(json.loads(events.encode(event)) | changed).encode()


KINDS: Final[dict[str, Callable[[Event], bytes]]] = {
    "not JSON": lambda event: b"{ " + events.encode(event),
    "truncated": lambda event: events.encode(event)[:-20],
    "text instead of a number": lambda event: _with(event, session_seq="seven"),
    "an unknown field": lambda event: _with(event, colour="red"),
    "a date that does not exist": lambda event: _with(event, timestamp="2026-02-31T00:00:00.000Z"),
    "not UTF-8": lambda event: b"\xff\xfe" + events.encode(event),
    # In a bulk body the newline would start an action that the sender controls.
    "an instruction to delete": lambda event: (
        events.encode(event) + b'\n{"delete":{"_id":"%b"}}' % event.event_id.encode()
    ),
    "empty": lambda event: b"",
}
"""Each defect, and the function that applies it."""


def of_every_kind(event: Event) -> list[bytes]:
    """Return one invalid value of each kind, made from one event."""
    return [make(event) for make in KINDS.values()]
