"""The frame of the control room: its grid, its height, and its menus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anywidget
import ipywidgets as widgets

ROOM = "clickstream-room"
"""The CSS class of the box that has the frame as a child; `room_frame.css` arranges the others."""
OPENER = "clickstream-opener"
"""Of a button that opens the panel beside it, and closes any other."""
PANEL = "clickstream-panel"
"""Of a box that is hidden until it is opened; Esc, or a click but on its sliders, closes it."""


class RoomFrame(anywidget.AnyWidget):
    """Shows nothing itself; the browser does its work, so that it needs no kernel.

    The room becomes as high as the notebook's window. It scrolls to the top of the window when it
    is displayed, and when told to: JupyterLab scrolls to the next cell when a cell is run, and
    would leave a high output behind.
    """

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")

    def on_escape(self, close: Callable[[], None]) -> None:
        """Call this when a viewer presses Esc in the room."""
        self.on_msg(lambda view, content, buffers: close())

    def scroll(self) -> None:
        """Scroll into sight again, wherever it is displayed."""
        self.send({})


def handle_at_once(control: widgets.Widget) -> None:
    """Handle a control in parallel with the running cell, as the page requests.

    ipykernel 7.4 would pass its messages to the loop that last wrote to the widget: the first click
    would then wait for that cell.
    """
    control.comm._reply_subshell_for = lambda data, asked: asked
