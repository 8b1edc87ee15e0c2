"""A reader whose clicks a person makes, event by event, in the middle of the crowd."""

from __future__ import annotations

import math
import re
import threading
from collections import deque
from random import Random
from typing import ClassVar, Final

from clickstream.errors import ConfigError
from clickstream.events import REACTIONS, DeviceType, Event, EventType
from clickstream.simulation.articles import Article
from clickstream.simulation.scenario_base import Scenario
from clickstream.simulation.sessions import Session, draw_id_suffix
from clickstream.simulation.simulator import Simulator

MOST_EVENTS: Final = 200
"""A session is logged out with its last event."""
IDLE_MS: Final = 30 * 60_000
"""Without a click for this long, a session is logged out."""

_NAME: Final = re.compile(r"[a-z]{2,16}")
_DETAILS: Final[dict[EventType, str]] = {"page_view": "internal", "share": "link"}
"""Where a view came from, and how an article is shared."""


def user_id_of(name: str) -> str:
    """Return the reader with a person's name.

    Raises:
        ConfigError: it has not 2 to 16 letters from a to z, or is the name of the bot.
    """
    if not _NAME.fullmatch(name) or name == "bot":
        msg = f"log in as {name!r:.40}: a name has 2 to 16 letters from a to z, and is not bot"
        raise ConfigError(msg)
    return f"reader-{name}"


class Visitor(Scenario):
    """One session of a person; `Traffic` adds its events when they are clicked, without a label.

    Any thread may click. The session ends with a logout: by a click, by itself with the last of
    `MOST_EVENTS` or after `IDLE_MS`, or when the traffic stops.

    Args:
        name: 2 to 16 letters from a to z.
        device: of the whole session.
        is_new: whether nobody ever had this name: then the session begins with `register`.

    Raises:
        ConfigError: the name is not possible.
    """

    keys: ClassVar = {}

    def __init__(self, name: str, *, device: DeviceType, is_new: bool) -> None:
        super().__init__()
        self.user_id = user_id_of(name)
        self.name = self.user_id  # type: ignore[misc]  # one per person, not per class
        self.article: Article | None = None
        """The article that is open; None on the front page."""
        self.is_open = True
        """Whether the person is logged in; False as soon as the logout is clicked, or due."""
        self._liked: set[str] = set()
        self._lock = threading.Lock()
        self._session = Session(device, [], draw_id_suffix(Random()))
        self._clicks: deque[tuple[EventType, Article | None]] = deque()
        """Clicked, and no event yet."""
        self.num_clicks = 0
        """The events of the session, with those that are still to be made."""
        self._last_ms = math.inf
        """Event time of the latest event."""
        if is_new:
            self._click("register")
        self._click("login")

    @property
    def session_id(self) -> str:
        """The id of the session; empty before its first event."""
        return self._session.session_id

    @property
    def has_liked(self) -> bool:
        """Whether the open article was liked in this session."""
        return self.article is not None and self.article.article_id in self._liked

    def read(self, article: Article) -> None:
        """Open an article.

        Raises:
            ConfigError: the session has ended.
        """
        with self._lock:
            self._require_open()
            self.article = article
            self._click("page_view")

    def go_back(self) -> None:
        """Return to the front page, which is no event."""
        self.article = None

    def react(self, reaction: EventType) -> None:
        """Like, comment or share the open article.

        Raises:
            ConfigError: there is no such reaction, no article is open, it is liked already, or the
                session has ended.
        """
        if reaction not in REACTIONS:
            msg = f"{reaction!r:.40}: no such reaction"
            raise ConfigError(msg, f"valid: {', '.join(REACTIONS)}")
        with self._lock:
            self._require_open()
            if self.article is None:
                msg = f"{reaction}: no article is open"
                raise ConfigError(msg, "open one first")
            if reaction == "like":
                if self.has_liked:
                    msg = f"like {self.article.title!r:.80}: it is liked already"
                    raise ConfigError(msg)
                self._liked.add(self.article.article_id)
            self._click(reaction)

    def log_out(self) -> None:
        """End the session; if it has ended, nothing happens."""
        with self._lock:
            self._log_out()

    def _log_out(self) -> None:
        if self.is_open:
            self.is_open, self.article = False, None
            self._click("logout")

    def _require_open(self) -> None:
        if not self.is_open:
            msg = f"the session of {self.user_id} has ended"
            raise ConfigError(msg, "log in again")

    def _click(self, event_type: EventType) -> None:
        self._clicks.append((event_type, self.article))
        self.num_clicks += 1
        if self.num_clicks == MOST_EVENTS - 1:
            self._log_out()

    def begin(self, crowd: Simulator, at_ms: int) -> None:
        """Begin; the session ends by itself."""

    def added(self, until_ms: float) -> list[Event]:
        """Return the events of what was clicked: they happen now."""
        if not self._clicks and until_ms - self._last_ms <= IDLE_MS:
            return []  # as nearly always
        with self._lock:
            if not self._clicks:
                self._log_out()
            at_ms, session = int(until_ms), self._session
            while self._clicks:
                event_type, article = self._clicks.popleft()
                session.actions.append((at_ms, event_type, article, _DETAILS.get(event_type)))
            if not self.is_open:
                self.ends_ms = until_ms
        if session.next == len(session.actions):
            return []
        if not session.user_id:
            session.identify(self.user_id)
        self._last_ms = at_ms
        self._visits = [(at_ms, 0, session)]
        return super().added(until_ms)

    def end(self, at_ms: int) -> list[Event]:
        """Log out, because the traffic stops."""
        self.log_out()
        return self.added(at_ms)
