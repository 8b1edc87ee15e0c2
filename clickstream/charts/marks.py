"""Marks on a chart over time: what was done when, as lines with names above the plot."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import datetime
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

import plotly.graph_objects as go

from clickstream.charts import theme

_KEPT: Final = 500
_CHAR_SHARE: Final = 0.017
"""The share of the width of a narrow chart that a character takes."""
_MOST_ROWS: Final = 2
"""Rows of names above a chart that has other charts beside it."""
_ROW_PX: Final = 26
_LIFT_PX: Final = 12
"""From the top of the plot to the middle of the lowest row."""


class Mark(NamedTuple):
    """Something that was done or that happened."""

    at: datetime
    what: str


class Marks:
    """The latest marks; any thread may add one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._marks: deque[Mark] = deque(maxlen=_KEPT)

    def add(self, at: datetime, what: str) -> None:
        """Add a mark."""
        with self._lock:
            self._marks.append(Mark(at, what))

    def since(self, start: datetime) -> list[Mark]:
        """Return the marks after a time, in the order of time."""
        with self._lock:
            found = [mark for mark in self._marks if mark.at > start]
        return sorted(found, key=attrgetter("at"))


def write_all(
    figure: go.Figure, marks: Sequence[Mark], window: tuple[datetime, datetime]
) -> datetime:
    """Draw a line for each mark, with its name to the right above the plot.

    Args:
        figure: a chart over time.
        marks: those of the window, in the order of time.
        window: start and end of the time axis.

    Returns:
        The end of the time axis: that of the window, or later to have room for the last names.
    """
    start, span = window[0], window[1] - window[0]
    ends = [(mark.at - start) / (1 - _width(mark)) for mark in marks]
    span = max([span, *ends])
    rows = _rows([((mark.at - start) / span, _width(mark)) for mark in reversed(marks)])
    _draw(figure, marks, rows[::-1], "left")
    return start + span


def write_newest(
    figure: go.Figure, marks: Sequence[Mark], window: tuple[datetime, datetime]
) -> None:
    """Draw a line for each mark, and the newest names to the left of it, in two rows.

    So the axis ends with the window, whatever was done last. A name without room is left out.

    Args:
        figure: a chart over time.
        marks: those of the window, in the order of time.
        window: start and end of the time axis.
    """
    start, end = window
    places = [((end - mark.at) / (end - start), _width(mark)) for mark in marks]
    row_of: dict[int, int] = {}
    for number, (place, width) in reversed([*enumerate(places)]):
        named = [number, *row_of]
        rows = _rows([places[each] for each in named])
        if place + width <= 1 and max(rows) < _MOST_ROWS:
            row_of = dict(zip(named, rows, strict=True))
    _draw(figure, marks, [row_of.get(number) for number in range(len(marks))], "right")


def _width(mark: Mark) -> float:
    return _CHAR_SHARE * (len(mark.what) + 2)


def _rows(names: Iterable[tuple[float, float]]) -> list[int]:
    """Put each name into the lowest row with room, so that no line crosses another mark's name.

    Args:
        names: the distance of each mark from the side of the chart to which no name points, and
            the width of its name, as shares of the width of the chart; the farthest first.
    """
    rows: list[int] = []
    begins: list[float] = []
    """Where the names of each row begin."""
    for place, width in names:
        row = next((n for n, begin in enumerate(begins) if place + width <= begin), len(begins))
        begins[: row + 1] = [place] * (row + 1)  # no lower name crosses the line to this one
        rows.append(row)
    return rows


def _draw(
    figure: go.Figure,
    marks: Sequence[Mark],
    rows: Sequence[int | None],
    anchor: Literal["left", "right"],
) -> None:
    """Draw lines and names, and raise title and legend above them."""
    line: dict[str, Any] = {"type": "line", "y0": 0, "y1": 1, "yref": "paper"}
    line["line"] = {"width": 2, "dash": "dot", "color": theme.INK}
    # With a line from the top of the plot to the name.
    name: dict[str, Any] = {"y": 1, "yref": "paper", "xanchor": anchor, "yanchor": "middle"}
    name |= {"arrowside": "none", "arrowwidth": 1, "arrowcolor": theme.INK}
    name["ax"] = 6 if anchor == "left" else -6
    named = [(mark, row) for mark, row in zip(marks, rows, strict=True) if row is not None]
    top_px = theme.top_px(figure)
    if figure.layout.showlegend:
        bottom = 1 - (top_px - 8) / theme.HEIGHT_PX
        figure.update_layout(legend={"yref": "container", "yanchor": "bottom", "y": bottom})
    # All at once: plotly checks the earlier ones again with each that is added.
    figure.update_layout(
        shapes=[line | {"x0": at, "x1": at} for at, _ in marks],
        annotations=[
            name | {"x": at, "text": what, "ay": -_LIFT_PX - _ROW_PX * row}
            for (at, what), row in named
        ],
        margin_t=top_px + 4 + _ROW_PX * (1 + max((row for _, row in named), default=-1)),
    )
