"""The drawer at the right of the control room, with one of its contents at a time."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from clickstream.widgets.room_frame import handle_at_once


class Drawer:
    """Closed at first.

    Args:
        contents: what it can show.
    """

    def __init__(self, contents: Sequence[widgets.DOMWidget]) -> None:
        self._contents = contents
        close = widgets.Button(description="×", tooltip="Close (Esc)")
        close.on_click(lambda _: self.close())
        handle_at_once(close)
        self.widget = widgets.VBox([close, *contents]).add_class("clickstream-drawer")
        self.close()

    def open(self, shown: widgets.DOMWidget) -> None:
        """Show one of the contents, in place of any other."""
        for each in self._contents:
            each.layout.display = None if each is shown else "none"
        self.widget.layout.display = None
        self.widget.add_class("clickstream-is-open")

    def close(self) -> None:
        """Show nothing."""
        self.widget.layout.display = "none"
        self.widget.remove_class("clickstream-is-open")
