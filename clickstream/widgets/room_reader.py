"""A person as a reader in the control room: among the crowd, and followed to the index.

While somebody is logged in, and until the last event is searchable, there are two workers: one
reads the own events back from Kafka, one looks for them in the index. They end by themselves ten
seconds after the session at most.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from typing import Final

from clickstream.charts.theme import counted
from clickstream.demo.demo import Demo
from clickstream.errors import ClickstreamError, ConfigError
from clickstream.kafka.messages import TopicMessage
from clickstream.kafka.tail import follow
from clickstream.opensearch import index, site
from clickstream.opensearch.site import Headline, Reader
from clickstream.simulation.visitor import Visitor
from clickstream.widgets import workers
from clickstream.widgets.live_pipeline import LivePipeline
from clickstream.widgets.reader_page import OwnEvent, ReaderPage

WORKERS: Final = ("reader-tail", "reader-index")
_TAIL, _INDEX = WORKERS
_LOOK_EVERY_S: Final = 0.25
_RANK_EVERY_S: Final = 2.0
_PATIENCE_S: Final = 10.0
"""How long the events of a session are followed after its end."""


class RoomReader(ReaderPage):
    """The page in the drawer.

    Args:
        demo: answers within seconds, because a click waits for it.
        pipeline: its traffic gets the events.
        queue: called with what a click asks for; does it in another thread.
    """

    def __init__(
        self, demo: Demo, pipeline: LivePipeline, queue: Callable[[Callable[[], None]], None]
    ) -> None:
        self._pipeline, self._queue = pipeline, queue
        super().__init__(demo)

    def forget(self) -> None:
        """End the session, and forget the reader and the front page."""
        workers.end(*WORKERS)
        self._ends_s = math.inf
        super().forget()

    def _on_click(self, action: str, value: str, width: int) -> None:
        self._queue(partial(self.do, action, value, width))

    def _front_page(self) -> list[Headline]:
        return site.front_page(self._client, self._index, *self._window_ms())

    def _newest_of(self, user_id: str) -> Reader | None:
        return site.reader(self._client, self._index, user_id)

    @property
    def _index(self) -> str:
        return self._demo.settings.opensearch.index

    def _window_ms(self) -> tuple[int, int]:
        now_ms = round(time.time() * 1000)
        return now_ms - 60_000 * self._pipeline.window_minutes, now_ms

    def _enter(self, visitor: Visitor) -> None:
        workers.end(*WORKERS)
        if not self._pipeline.is_running:
            msg = f"log in as {visitor.user_id}: nobody is on the site"
            raise ConfigError(msg, "press Start first")
        self._own, self._ends_s = {}, math.inf
        arriving = follow(self._demo.settings.kafka, key=visitor.user_id)
        next(arriving)  # what is sent from now on will be found
        self._pipeline.add(visitor)
        workers.start(_TAIL, partial(self._follow, visitor, arriving))
        workers.start(_INDEX, partial(self._watch_index, visitor))

    def _pass_on(self, visitor: Visitor) -> None:
        """The traffic sends it."""

    def _follow(
        self,
        visitor: Visitor,
        arriving: Generator[list[TopicMessage]],
        stop: threading.Event,
    ) -> None:
        with closing(arriving):
            for arrived in arriving:
                self._note(arrived)
                if stop.is_set() or self._is_over(visitor):
                    return

    def _watch_index(self, visitor: Visitor, stop: threading.Event) -> None:
        ranked_s = -math.inf
        for _ in workers.ticks(_LOOK_EVERY_S, stop):
            try:
                self._look()
                if time.monotonic() - ranked_s > _RANK_EVERY_S:
                    self._standing, ranked_s = self._rank(visitor.user_id), time.monotonic()
            except ClickstreamError as error:
                self._standing = self._explain(error)
            if self._is_over(visitor):
                return

    def _look(self) -> None:
        """Note which own events are stored, and which a search finds."""
        lanes = {lane.partition: lane for lane in self._pipeline.snapshot().lanes}
        for own in self._waiting():
            lane = lanes.get(own.partition)
            is_stored = lane is not None and own.offset < lane.end_offset - lane.lag
            if is_stored and own.stored_s is None:
                own.stored_s = own.age_s
        waiting = {own.event.event_id: own for own in self._waiting()}
        if waiting:
            for event_id in index.ids(self._client, self._index, among=list(waiting)):
                own = waiting[event_id]
                own.searchable_s = own.age_s
                own.stored_s = own.stored_s or own.searchable_s

    def _waiting(self) -> list[OwnEvent]:
        return [own for own in [*self._own.values()] if own.searchable_s is None]

    def _rank(self, user_id: str) -> str:
        events, place = site.place(self._client, self._index, user_id, *self._window_ms())
        standing = f"{user_id} · {counted(events)}"
        if not events:
            return standing
        where = f"beyond {site.MOST_PLACES:,}" if place is None else f"{place:,}"
        return f"{standing} · place {where}"

    def _is_over(self, visitor: Visitor) -> bool:
        """Say whether the session has ended, and its last event is searchable."""
        if visitor.is_open:
            return False
        self._ends_s = min(self._ends_s, time.monotonic() + _PATIENCE_S)
        is_complete = not self._num_unread(visitor) and not self._waiting()
        return is_complete or time.monotonic() > self._ends_s

    def paint(self) -> None:
        """Show the page as it is now; a person whose traffic has ended is logged out."""
        visitor, pipeline = self._visitor, self._pipeline
        is_there = visitor is None or (pipeline.is_running and visitor.name in pipeline.playing)
        if visitor is not None and visitor.is_open and not is_there:
            pipeline.remove(visitor)
            visitor.log_out()
        try:
            for name in WORKERS:
                workers.is_running(name)
        except Exception as error:  # whatever ended a worker is shown
            self._message, self._is_trouble = self._explain(error), True
        super().paint()

    def _explain(self, error: Exception) -> str:
        return self._pipeline.explain(error)
