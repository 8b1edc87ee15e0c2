"""A person as a reader: the front page, an open article, and where the own events are.

Here a click's event is sent directly, and found again in the topic, as in notebook 02. In the
control room (`room_reader.py`) it goes through the traffic that runs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, cast

from clickstream import producer
from clickstream.demo.demo import Demo
from clickstream.errors import ClickstreamError, ConfigError, EventError, shown
from clickstream.events import (
    REACTIONS,
    Category,
    DeviceType,
    Event,
    EventType,
    decode,
    id_ms,
    parse_timestamp,
)
from clickstream.kafka.messages import TopicMessage, printable
from clickstream.kafka.tail import follow
from clickstream.opensearch import client, site
from clickstream.opensearch.site import Headline, Reader
from clickstream.simulation.articles import Article
from clickstream.simulation.visitor import IDLE_MS, Visitor, user_id_of
from clickstream.widgets.reader_view import ReaderView
from clickstream.widgets.station import cut

_HEADLINES: Final = 8
_SHOWN_EVENTS: Final = 12
_NEWEST: Final = 2_000
"""Messages of the topic that the front page is made of."""
_READ_BACK_S: Final = 5.0
IN_WORDS: Final[dict[EventType, str]] = {
    "register": "registers",
    "login": "logs in",
    "page_view": "reads",
    "like": "likes",
    "comment": "comments on",
    "share": "shares",
    "logout": "logs out",
}


@dataclass
class OwnEvent:
    """An event of the reader, as it was read back from Kafka; times are seconds since it."""

    event: Event
    partition: int
    offset: int
    in_kafka_s: float
    stored_s: float | None = None
    searchable_s: float | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the event."""
        return max(0.0, time.time() - id_ms(self.event.event_id) / 1000)

    @property
    def what(self) -> str:
        """The event in words."""
        words = IN_WORDS.get(self.event.event_type, self.event.event_type)
        return f"{words} {self.event.article_title}" if self.event.article_title else words

    @property
    def way(self) -> str:
        """The places where it is, and when it was there."""
        places = [
            self.event.timestamp[11:19],
            f"partition {self.partition}, offset {self.offset:,} ({self.in_kafka_s:.1f} s)",
        ]
        for name, after_s in (("stored", self.stored_s), ("searchable", self.searchable_s)):
            places += [] if after_s is None else [f"{name} ({after_s:.1f} s)"]
        return " → ".join(places)


class ReaderPage:
    """The page, shown as the last expression of a cell.

    A person logs in with a name, opens an article of the front page, reacts to it, and logs out.
    Only one page can be logged in with a name, as far as the index knows.

    Args:
        demo: provides the topic and the index.
    """

    def __init__(self, demo: Demo) -> None:
        self._demo = demo
        self._client = client.connect(demo.settings.opensearch)
        self.view = ReaderView()
        self.view.on_click(self._on_click)
        self.forget()

    @property
    def is_logged_in(self) -> bool:
        """Whether somebody is logged in on this page."""
        return self._visitor is not None and self._visitor.is_open

    @property
    def standing(self) -> str:
        """The number of events of the person who is logged in, and the place among all."""
        return self._standing if self.is_logged_in else ""

    @property
    def own(self) -> list[OwnEvent]:
        """The events of the person who is logged in, as they were read from Kafka."""
        return [*self._own.values()] if self.is_logged_in else []

    def forget(self) -> None:
        """Forget the reader and the front page."""
        self._visitor: Visitor | None = None
        self._visitors: list[Visitor] = []
        """All sessions on this page."""
        self._headlines: list[Headline] = []
        self._newest: list[Event] = []
        self._own: dict[str, OwnEvent] = {}
        self._unsent: list[Event] = []
        self._message, self._is_trouble, self._standing = "", False, ""

    def _repr_mimebundle_(self, **options: Any) -> Any:
        self.do("back")
        self.paint()
        return self.view._repr_mimebundle_(**options)

    def _on_click(self, action: str, value: str, width: int) -> None:
        self.do(action, value, width)
        self.paint()

    def do(self, action: str, value: str = "", width: int = 0) -> None:
        """Do what a person clicked on, see `ReaderView.on_click`; an error is shown on the page."""
        try:
            self._do(action, value, width)
            self._message, self._is_trouble = "", False
        except ClickstreamError as error:
            self._message, self._is_trouble = self._explain(error), True

    def _do(self, action: str, value: str, width: int) -> None:
        visitor = self._visitor
        if visitor is not None:
            self._pass_on(visitor)  # it may be idle for long
        if action == "back":
            if visitor is not None:
                visitor.go_back()
            self._headlines = self._front_page()
            return
        if action == "log in":
            visitor = self._log_in(value.strip().lower(), width)
        elif visitor is None:
            msg = f"{action:.20}: nobody is logged in"
            raise ConfigError(msg, "log in first")
        elif action == "open":
            visitor.read(self._article(value))
        elif action == "log out":
            visitor.log_out()
        else:
            visitor.react(cast("EventType", action))
        self._pass_on(visitor)

    def _log_in(self, name: str, width: int) -> Visitor:
        if self.is_logged_in:
            msg = f"log in as {name!r:.40}: somebody is logged in on this page"
            raise ConfigError(msg, "log out first")
        user_id = user_id_of(name)
        self._headlines = self._front_page()
        newest = self._newest_of(user_id)
        if newest is not None and not newest.is_logged_out:
            is_recent = time.time() * 1000 - parse_timestamp(newest.timestamp) < IDLE_MS
            if is_recent and not self._is_of_this_page(newest.session_id):
                msg = f"log in as {name!r}: {user_id} is logged in on another page"
                raise ConfigError(msg, "log out there, or take another name")
        is_new = newest is None and all(each.user_id != user_id for each in self._visitors)
        visitor = Visitor(name, device=_device_of(width), is_new=is_new)
        self._own, self._standing = {}, ""
        self._enter(visitor)
        self._visitor = visitor
        self._visitors.append(visitor)
        return visitor

    def _is_of_this_page(self, session_id: str) -> bool:
        return any(each.session_id == session_id for each in self._visitors)

    def _article(self, article_id: str) -> Article:
        for each in self._headlines:
            if each.article_id == article_id:
                at_ms = parse_timestamp(each.published_at)
                section = cast("Category", each.category)
                return Article(article_id, section, each.title, at_ms, each.published_at, 0.0)
        msg = f"open {article_id!r:.60}: it is not on the front page"
        raise ConfigError(msg, "choose a headline")

    def _front_page(self) -> list[Headline]:
        """Return the articles that the newest messages of the topic are about."""
        self._newest = [event for each in self._demo.peek(_NEWEST) for event in event_in(each)]
        views = [event for event in self._newest if event.event_type == "page_view"]
        counts = Counter(event.article_id for event in views)
        newest = {event.article_id: event for event in views}
        return [
            Headline(
                each.article_id or "",
                each.article_category or "",
                each.article_title or "",
                each.article_published_at or each.timestamp,
                number,
            )
            for each, number in ((newest[i], n) for i, n in counts.most_common(_HEADLINES))
        ]

    def _newest_of(self, user_id: str) -> Reader | None:
        """Return the newest event of a reader, from the newest messages or from the index."""
        for each in reversed(self._newest):
            if each.user_id == user_id:
                return Reader(each.session_id, each.timestamp, each.event_type == "logout")
        return site.reader(self._client, self._demo.settings.opensearch.index, user_id)

    def _enter(self, visitor: Visitor) -> None:
        """Let a person onto the site."""

    def _pass_on(self, visitor: Visitor) -> None:
        """Send what was clicked, and find it again in the topic."""
        kafka = self._demo.settings.kafka
        self._unsent += visitor.added(time.time() * 1000)
        if not self._unsent:
            return
        with closing(follow(kafka, key=visitor.user_id)) as arriving:
            next(arriving)
            producer.send(kafka, self._unsent)
            sent = {event.event_id for event in self._unsent}
            self._unsent = []
            ends_s = time.monotonic() + _READ_BACK_S
            while not sent <= self._own.keys() and time.monotonic() < ends_s:
                self._note(next(arriving))

    def _note(self, arrived: Iterable[TopicMessage]) -> None:
        """Note own events that were read from Kafka."""
        for message in arrived:
            for event in event_in(message):
                own = OwnEvent(event, message.partition, message.offset, 0.0)
                own.in_kafka_s = own.age_s
                self._own.setdefault(event.event_id, own)

    def _num_unread(self, visitor: Visitor) -> int:
        """Count what was clicked and was not read back from Kafka yet."""
        own = [each.event.session_id for each in [*self._own.values()]]
        return visitor.num_clicks - own.count(visitor.session_id)

    def _in_words(self, own: OwnEvent) -> str:
        is_here = self._is_of_this_page(own.event.session_id)
        return own.what if is_here else f"{own.what} (on another page)"

    def _explain(self, error: Exception) -> str:
        return shown(error)

    def paint(self) -> None:
        """Show the page as it is now."""
        visitor, is_logged_in = self._visitor, self.is_logged_in
        user_id = "" if visitor is None else visitor.user_id
        num_unread = 0 if visitor is None else self._num_unread(visitor)
        on_the_way = [f"{num_unread} on the way to Kafka"] if num_unread else []
        left = f"{user_id} is logged out." if user_id and not is_logged_in else ""
        self.view.show(
            {
                "user": user_id if is_logged_in else "",
                "message": printable(self._message or left),
                "is_trouble": self._is_trouble,
                "headlines": [
                    {
                        "id": each.article_id,
                        "title": cut(printable(each.title)),
                        "about": cut(printable(f"{each.category} · {each.views:,} views")),
                    }
                    for each in self._headlines
                ],
                "article": None if visitor is None else _drawn(visitor),
                "standing": " · ".join(filter(None, [self._standing, *on_the_way])),
                "events": [
                    {"what": cut(printable(self._in_words(each))), "way": each.way}
                    for each in [*self._own.values()][: -_SHOWN_EVENTS - 1 : -1]
                ],
            }
        )


def _device_of(width: int) -> DeviceType:
    """Return the device that has windows of this width, in pixels."""
    return "mobile" if width < 600 else "tablet" if width < 1_000 else "desktop"


def event_in(message: TopicMessage) -> list[Event]:
    """Return the event in a message; none if it has none, because anybody may send anything."""
    try:
        return [decode(message.value or b"")]
    except EventError:
        return []


def _drawn(visitor: Visitor) -> dict[str, Any] | None:
    """Describe the open article, and what can be done."""
    article = visitor.article
    if article is None:
        return None
    published = article.published_at[:16].replace("T", " ")
    actions: list[tuple[str, str, bool]] = [
        (name.capitalize(), name, name != "like" or not visitor.has_liked) for name in REACTIONS
    ]
    return {
        "title": cut(printable(article.title)),
        "about": cut(printable(f"{article.category} · published {published} UTC")),
        "actions": [*actions, ("Back", "back", True)],
    }
