"""Notebooks without a browser: nbclient, and no reply of a kernel lies unread."""

from __future__ import annotations

from typing import Any

import nbclient
import nbformat
from nbclient.output_widget import OutputWidget


class _Output(OutputWidget):
    """Stands for an output widget, and looks for a reply whenever it has sent something."""

    def _publish_msg(self, *args: Any, **kwargs: Any) -> None:
        super()._publish_msg(*args, **kwargs)
        # It sends past the asyncio socket that waits for the cell's reply. Should that come in
        # the same moment, its one wake-up is used up, and the cell ends only at its timeout.
        self.kernel_client.shell_channel.socket._schedule_remaining_events()  # type: ignore[attr-defined]


class NotebookClient(nbclient.NotebookClient):
    """Runs the cells of a notebook in a kernel of its own; takes what nbclient's takes."""

    def __init__(self, nb: nbformat.NotebookNode, **options: Any) -> None:
        super().__init__(nb, **options)
        self.widget_registry = {"@jupyter-widgets/output": {"OutputModel": _Output}}
