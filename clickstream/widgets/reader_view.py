"""The page of a person who is a reader, as the browser draws it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets


class ReaderView(anywidget.AnyWidget):
    """Draws what `show` is given, all of it as text."""

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")
    _state = traitlets.Unicode("{}").tag(sync=True)

    def on_click(self, do: Callable[[str, str, int], None]) -> None:
        """Call this with what a viewer clicked on, its value, and the window's width in pixels.

        `log in` with the typed name, `open` with an article's id, `back`, `log out`, or a reaction.
        """
        self.on_msg(
            lambda view, content, buffers: do(
                str(content["action"]), str(content["value"]), int(content["width"])
            )
        )

    def show(self, state: dict[str, Any]) -> None:
        """Show this.

        Args:
            state: `user`: the reader, empty while nobody is logged in; `message`, `is_trouble`;
                `headlines`: `id`, `title` and `about` of each; `article`: None on the front page,
                or `title`, `about` and `actions`, each a name and whether it is possible;
                `standing`: a line; `events`: the way of each own event, `what` and `way`.
        """
        self._state = json.dumps(state)
