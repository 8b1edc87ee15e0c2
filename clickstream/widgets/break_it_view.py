"""The buttons and lines of `BreakIt` in the drawer, and the badge with its latest count."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Final

import ipywidgets as widgets

from clickstream.widgets.break_it import BreakIt, Count

STOP: Final = "Stop OpenSearch"
START: Final = "Start it"
_ABOUT: Final = "All of it is real. After each recovery, every event is counted by its id."


class BreakItView:
    """Shows one `BreakIt`; `paint` writes to the widgets.

    Args:
        broken: does what is clicked on.
        queue: called with what a click asks for; does it in another thread.
    """

    def __init__(self, broken: BreakIt, queue: Callable[[Callable[[], None]], None]) -> None:
        self._broken = broken
        self.badge = widgets.HTML().add_class("clickstream-badge")
        self._opensearch, self._consumer, self._poison = (widgets.HTML() for _ in range(3))
        self._count, self._problem = widgets.HTML(), widgets.HTML()

        def button(title: str, action: Callable[[], None]) -> widgets.Button:
            made = widgets.Button(description=title)
            made.on_click(lambda _: queue(partial(broken.do, action)))
            return made

        # What the button said when it was clicked: a double click must not start it again.
        self._server = widgets.Button(description=STOP)
        self._server.on_click(
            lambda made: queue(partial(broken.do, self._action_of(made.description)))
        )
        self._add = button("Add a consumer", broken.add_consumer)
        self._kill = button("Kill it", broken.kill_consumer)
        poison = button("Send poison", broken.send_poison)
        self.buttons = (self._server, self._add, self._kill, poison)
        self.drawer = widgets.VBox(
            [
                *(widgets.HTML(f"<b>Break it</b><br>{_ABOUT}"), self._problem),
                *(widgets.HBox([self._server]), self._opensearch),
                *(widgets.HBox([self._add, self._kill]), self._consumer),
                *(widgets.HBox([poison]), self._poison, self._count),
            ]
        ).add_class("clickstream-break-it")
        self.paint()

    def _action_of(self, title: str) -> Callable[[], None]:
        return self._broken.stop_opensearch if title == STOP else self._broken.start_opensearch

    def paint(self) -> None:
        """Show everything as it is now."""
        broken = self._broken
        is_up = broken.is_opensearch_up and not broken.is_outage
        self._server.description = STOP if is_up else START
        self._add.disabled, self._kill.disabled = broken.has_consumer, not broken.has_consumer
        for line, text in (
            *((self._opensearch, broken.opensearch), (self._consumer, broken.consumer)),
            *((self._poison, broken.poison), (self._count, broken.counted)),
        ):
            line.value = escape(text[:1].upper() + text[1:])
        self._problem.value = f"<span class='trouble'>{escape(broken.problem)}</span>"
        self.badge.layout.display = "none" if broken.count is None else None
        self.badge.value = "" if broken.count is None else badge(broken.count)


def badge(count: Count) -> str:
    """Draw a count: grey without an outcome, red if anything is lost or doubled."""
    found = count.found
    if found is None:
        text, about = "not counted" if count.problem else "counting …", count.span
    else:
        text = f"{len(found.lost):,} lost · {len(found.doubled):,} doubled"
        about = f"{count.span}, {found.messages:,} messages"
    state = "unknown" if found is None else "bad" if found.lost or found.doubled else "good"
    return f"<div data-badge='{state}'><b>{text}</b><br>{escape(about)}</div>"
