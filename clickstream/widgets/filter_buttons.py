"""The filters of the control room's charts, each as a button that removes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import ipywidgets as widgets

from clickstream.kafka.messages import printable
from clickstream.widgets.room_frame import handle_at_once
from clickstream.widgets.station import cut

_NAMES: Final = {
    "event_type": "type",
    "article_category": "section",
    "article_id": "article",
    "device_type": "device",
    "user_id": "reader",
}
"""What a filter is called, by its field."""


class FilterButtons:
    """One button for each field, hidden without a filter.

    Args:
        remove: called with the field of a button that was clicked.
    """

    def __init__(self, remove: Callable[[str], None]) -> None:
        self.buttons = {field: widgets.Button(tooltip="Count all again") for field in _NAMES}
        for field, button in self.buttons.items():
            button.button_style = "info"
            button.on_click(lambda _, field=field: remove(field))
            handle_at_once(button)

    def show(self, only: Mapping[str, str]) -> None:
        """Show these filters: a value for each field."""
        for field, button in self.buttons.items():
            if field in only:
                button.description = f"{_NAMES[field]} {cut(printable(only[field]))} ×"
            button.layout.display = None if field in only else "none"
