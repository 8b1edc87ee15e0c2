"""What happens now, in words: the newest events of the topic, and the most read headlines."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

import ipywidgets as widgets

from clickstream.events import Event
from clickstream.kafka import messages
from clickstream.kafka.messages import TopicMessage, printable
from clickstream.opensearch.site import Headline
from clickstream.widgets.live_pipeline import NEWEST
from clickstream.widgets.reader_page import IN_WORDS, OwnEvent, event_in
from clickstream.widgets.station import CHARS, cut

_PINNED: Final = 2
_FEW: Final = 5
"""Lines of a low room; `room_frame.css` hides the others."""
_IN_TWO_ROWS: Final = 98
"""Characters of a line in the smallest room: a long one goes without its section, or is cut."""
_LEAST: Final = 20
_BYTES: Final = 4 * CHARS
"""More than enough for the characters of a line."""
_TIMES: Final = 10
"""An increase to so many times as many views is told as a factor."""


class Tail:
    """The newest events, the newest on top, but below those of a person who is logged in."""

    def __init__(self) -> None:
        # The number changes more often than the lines.
        self._heading, self._lines = widgets.HTML(), widgets.HTML()
        self.widget = widgets.VBox([self._heading, self._lines])
        self.widget.add_class("clickstream-latest").add_class("clickstream-tail")

    def show(
        self,
        newest: Sequence[TopicMessage],
        *,
        own: Sequence[OwnEvent],
        per_second: float,
        is_stale: bool,
    ) -> None:
        """Show these messages; whatever they contain is text, at most 80 characters of each value.

        Args:
            newest: of the topic, the oldest first.
            own: those of a person, as they were read from Kafka, the oldest first.
            per_second: messages that arrive in the topic.
            is_stale: whether Kafka does not answer, so that they are old.
        """
        pinned = own[-_PINNED:]
        places = {(each.partition, each.offset) for each in pinned}
        others = [each for each in newest if (each.partition, each.offset) not in places]
        lines = [
            *(f"<li class='clickstream-own'>{_event(each.event)}</li>" for each in pinned[::-1]),
            *(f"<li>{_message(each)}</li>" for each in others[::-1]),
        ]
        rate = f"{per_second:,.0f} a second"
        if per_second > NEWEST:
            rate = f"<span>{_FEW}</span><span>{NEWEST}</span> of {rate}"
        self._heading.value = _heading("Newest events", rate if per_second >= 1 else "")
        self._lines.value = _list(lines[:NEWEST], "No events yet.", is_stale=is_stale)


class ReadNow:
    """The most read headlines, with their change against the window before."""

    def __init__(self) -> None:
        self.widget = widgets.HTML()
        self.widget.add_class("clickstream-latest").add_class("clickstream-read-now")

    def show(
        self,
        headlines: Sequence[tuple[Headline, int | None]],
        *,
        is_stale: bool,
        is_filtered: bool = False,
    ) -> None:
        """Show these headlines; their titles are text.

        Args:
            headlines: the most read first, each with its views in the window before, or None.
            is_stale: whether OpenSearch does not answer, so that they are old.
            is_filtered: whether the charts have filters, which do not apply here.
        """
        is_compared = any(before is not None for _, before in headlines)
        what = "views, and their change" if is_compared else "views"
        if is_filtered:
            what = "views, without filters"
        lines = [f"<li>{_headline(each, before)}</li>" for each, before in headlines]
        self.widget.value = _heading("Read now", what) + _list(
            lines, "No events in this window.", is_stale=is_stale
        )


def change(views: int, before: int) -> str:
    """Say how a count has changed, such as `+38 %`, `×12` or `new`."""
    if not before:
        return "new"
    if views >= _TIMES * before:
        return f"×{views / before:,.0f}"
    percent = round(100 * (views / before - 1))
    return f"{percent:+d} %".replace("-", "\N{MINUS SIGN}") if percent else "±0 %"


def _headline(headline: Headline, before: int | None) -> str:
    says = "" if before is None else change(headline.views, before)
    kind = "not-more" if says.startswith(("±", "\N{MINUS SIGN}")) else "more"
    return (
        f"<span>{escape(_value(headline.title))}</span><span><b>{headline.views:,}</b> "
        f"<i class='clickstream-{kind}'>{says}</i></span>"
    )


def _message(message: TopicMessage) -> str:
    for event in event_in(message):
        return _event(event)
    if not message.value:
        return "an empty message"
    return f"<code>{escape(cut(messages.text(message.value[:_BYTES])))}</code>"


def _event(event: Event) -> str:
    reader = f"{_value(event.user_id)} · {event.device_type} ·"
    does = IN_WORDS.get(event.event_type, event.event_type)
    if event.article_title is None:
        return f"<i>{escape(reader)}</i> {does}"
    title, section = _value(event.article_title), f"·\N{NO-BREAK SPACE}{event.article_category}"
    left = _IN_TWO_ROWS - len(f"{reader} {does} ")
    if len(f"{title} {section}") > left:
        section = ""
    title = cut(title, most=max(left, _LEAST))
    return f"<i>{escape(reader)}</i> {does} <b>{escape(title)}</b> <i>{section}</i>"


def _value(value: str) -> str:
    # The beginning first: a value may have a megabyte.
    return cut(printable(value[: CHARS + 1]))


def _heading(what: str, about: str) -> str:
    return f"<h4>{what}{': ' if about else ''}{about}</h4>"


def _list(lines: Sequence[str], if_empty: str, *, is_stale: bool) -> str:
    if not lines:
        return f"<p>{if_empty}</p>"
    age = "stale" if is_stale else "fresh"
    return f"<ol class='clickstream-{age}'>{''.join(lines)}</ol>"
