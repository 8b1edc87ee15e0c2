"""A reader whose clicks a person makes, event by event, in the middle of the crowd."""

from __future__ import annotations

import math
import re
import threading
from collections import deque
from random import Random
from typing import Final

from clickstream.errors import ConfigError
from clickstream.events import DeviceType, Event, EventType, format_timestamp
from clickstream.simulation.articles import Article
from clickstream.simulation.scenario_base import Scenario
from clickstream.simulation.sessions import Action, Session, draw_id_suffix
from clickstream.simulation.simulator import Simulator

PREFIX: Final = "reader-"
MOST_EVENTS: Final = 200
"""A session is logged out with its last event."""
IDLE_MS: Final = 30 * 60_000
"""Without a click for this long, a session is logged out."""
SHARE_CHANNEL: Final = "link"

_NAME: Final = re.compile(r"[a-z]{2,16}")


def user_id_of(name: str) -> str:
    """Return the reader of a person's name.

    Raises:
        ConfigError: not 2 to 16 letters from a to z, or the name of the bot.
    """
    if not _NAME.fullmatch(name) or name == "bot":
        msg = f"log in as {name!r:.40}: a name has 2 to 16 letters from a to z, and is not 'bot'"
        raise ConfigError(msg)
    return PREFIX + name


class Visitor(Scenario):
    """One session of a person; `Traffic` adds its events as they are clicked.

    They have no label. Any thread may click. A session ends with a logout: by a click, by itself
    after `MOST_EVENTS` or `IDLE_MS`, or when the traffic stops.

    Args:
        name: 2 to 16 letters from a to z.
        device: of all events of the session.
        is_new: whether the name was never seen: then the session begins with `register`.

    Raises:
        ConfigError: such a name is not possible.
    """

    title = "Your own reader"
    what = "a person logs in and clicks"
    watch = "the newest events"
    keys = {}  # noqa: RUF012 - as in every scenario
    strengths = ()

    def __init__(self, name: str, *, device: DeviceType, is_new: bool) -> None:
        super().__init__()
        self.user_id = self.name = user_id_of(name)  # type: ignore[misc]
        self._lock = threading.Lock()
        self._clicks: deque[tuple[EventType, Article | None, str | None]] = deque()
        self._num_clicks = 0
        self._article: Article | None = None
        self._liked: set[str] = set()
        self.is_open = True
        """Whether the person is logged in; as soon as the logout is clicked, it is not."""
        self._session = Session(device, [], draw_id_suffix(Random()))
        self._last_ms = -math.inf
        if is_new:
            self._click("register")
        self._click("login")

    @property
    def article(self) -> Article | None:
        """The article that is open; None on the front page."""
        return self._article

    @property
    def liked(self) -> frozenset[str]:
        """The ids of the articles that the person liked."""
        return frozenset(self._liked)

    def read(self, article: Article) -> None:
        """Open an article.

        Raises:
            ConfigError: the session has ended.
        """
        with self._lock:
            self._require_open("open an article")
            self._article = article
            self._click("page_view", article, "internal")

    def react(self, reaction: EventType) -> None:
        """Like, comment or share the open article.

        Raises:
            ConfigError: no article is open, it is liked already, or the session has ended.
        """
        with self._lock:
            self._require_open(f"{reaction} an article")
            if self._article is None:
                msg = f"{reaction}: no article is open"
                raise ConfigError(msg, "open one first")
            if reaction == "like":
                if self._article.article_id in self._liked:
                    msg = f"like {self._article.title!r}: it is liked already"
                    raise ConfigError(msg)
                self._liked.add(self._article.article_id)
            self._click(reaction, self._article, SHARE_CHANNEL if reaction == "share" else None)

    def log_out(self) -> None:
        """End the session; without one nothing happens."""
        with self._lock:
            self._log_out()

    def _log_out(self) -> None:
        if self.is_open:
            self._click("logout")
            self.is_open = False

    def _require_open(self, doing: str) -> None:
        if not self.is_open:
            msg = f"{doing} as {self.user_id}: the session has ended"
            raise ConfigError(msg, "log in again")

    def _click(
        self, event_type: EventType, article: Article | None = None, detail: str | None = None
    ) -> None:
        self._clicks.append((event_type, article, detail))
        self._num_clicks += 1
        if self._num_clicks == MOST_EVENTS - 1 and event_type != "logout":
            self._clicks.append(("logout", None, None))
            self.is_open = False

    def begin(self, crowd: Simulator, at_ms: int) -> None:
        """Begin; the session lasts until it ends by itself."""
        self._last_ms = at_ms

    def added(self, until_ms: float) -> list[Event]:
        """Return the events that were clicked; they happen now."""
        with self._lock:
            if self._clicks:
                self._last_ms = until_ms
            elif until_ms - self._last_ms > IDLE_MS:
                self._log_out()
            clicks = list(self._clicks)
            self._clicks.clear()
            if not self.is_open:
                self.ends_ms = until_ms
        return [self._event(round(until_ms), *click) for click in clicks]

    def end(self, at_ms: int) -> list[Event]:
        """Log out, because the traffic stops."""
        self.log_out()
        return self.added(at_ms)

    def _event(
        self, at_ms: int, event_type: EventType, article: Article | None, detail: str | None
    ) -> Event:
        action: Action = (at_ms, event_type, article, detail)
        self._session.actions.append(action)
        if not self._session.user_id:
            self._session.identify(self.user_id)
        event_id = f"{at_ms >> 16:08x}-{at_ms & 0xFFFF:04x}"
        return self._session.step(event_id, format_timestamp(at_ms))
