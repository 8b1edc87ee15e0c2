"""What is at a station of the pipeline now, as text: an event, a message, a document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from textwrap import wrap
from typing import Final

from clickstream.demo.demo import Demo
from clickstream.kafka import messages
from clickstream.kafka.messages import TopicMessage, printable

CHARS: Final = 80
"""Longer lines are cut, because values may come from anybody."""
_NARROW = 40
"""Characters of a line that fits into the drawer."""
_LINES = 40


def look(demo: Demo, station: str, partition: int | None = None) -> tuple[str, list[str]]:
    """Read what is at a station now.

    Args:
        demo: names the topic and the index.
        station: `site`, `kafka`, `consumers`, `index` or `dead letters`.
        partition: of the topic; without it, the newest message of all.

    Returns:
        A title, and the lines below it: printable, at most 80 characters each.

    Raises:
        ServerError: a server did not answer.
    """
    title, lines = _look(demo, station, partition)
    return title, [cut(line) for line in lines[:_LINES]]


def cut(line: str, most: int = CHARS) -> str:
    """Return the line, or its beginning if it has more than 80 characters, or `most`."""
    return line if len(line) <= most else f"{line[: most - 2]} …"


def _look(demo: Demo, station: str, partition: int | None) -> tuple[str, list[str]]:
    kafka = demo.settings.kafka
    if station == "consumers":
        reports = (wrap(printable(str(each)), _NARROW) for each in demo.members())
        return "The consumers' latest reports", [line for each in reports for line in (*each, "")]
    if station == "index":
        found = demo.newest_document()
        if found is None:
            return "The index is empty", []
        return "The newest document", [f"_id {printable(found[0])}", *_pretty(found[1])]
    is_dead = station == "dead letters"
    topic = kafka.dead_letter_topic if is_dead else kafka.topic
    newest = messages.peek(kafka, 1, topic=topic, partition=partition)
    if not newest:
        return "There are no dead letters" if is_dead else "No message is here", []
    if station == "site":
        return "The newest event", list(_value(newest[0]))
    what = "The newest dead letter" if is_dead else "The newest message"
    return what, list(_message(newest[0]))


def _message(found: TopicMessage) -> Iterator[str]:
    yield f"partition {found.partition}, offset {found.offset:,}"
    yield f"key {printable(found.key or '')}"
    yield f"Kafka's time {found.timestamp:%H:%M:%S}"
    for name, value in found.headers.items():
        yield f"{printable(name)}: {printable(value)}"
    yield from _value(found)


def _value(found: TopicMessage) -> Iterator[str]:
    raw = found.value or b""
    try:
        yield from _pretty(json.loads(raw))
    except (ValueError, RecursionError):  # not JSON, or nested thousands of times
        yield messages.text(raw)


def _pretty(value: object) -> list[str]:
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return [printable(line) for line in text.splitlines()]


def html(title: str, lines: list[str]) -> str:
    """Draw a title and lines; whatever they contain is text."""
    text = "\n".join(map(escape, lines))
    return f"<b>{escape(title)}</b><pre class='clickstream-station'>{text}</pre>"
