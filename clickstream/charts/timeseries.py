"""The lag over time, with marks for what was done: a line chart."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import plotly.graph_objects as go

from clickstream.charts import theme

_SHOWN: Final = timedelta(minutes=3)
"""The lag chart shows this period."""
_LEAST_SHOWN: Final = timedelta(seconds=30)
_KEPT: Final = 3_600
_MARK_SHARE: Final = 0.015
"""The share of the width of a narrow chart that a character takes."""
_MARK_ROW_PX: Final = 26


class Timeline:
    """Samples of the lag over the latest half hour, and marks; any thread may add some."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: deque[tuple[datetime, int]] = deque(maxlen=_KEPT)
        self._marks: list[tuple[datetime, str]] = []

    def sample(self, lag: int) -> None:
        """Record the current lag."""
        with self._lock:
            self._samples.append((datetime.now(UTC), lag))

    def mark(self, what: str) -> None:
        """Record an action at the current time."""
        with self._lock:
            self._marks.append((datetime.now(UTC), what))

    @property
    def lag(self) -> int | None:
        """The latest sample; None before the first, or if it is older than five seconds."""
        with self._lock:
            if not self._samples:
                return None
            at, lag = self._samples[-1]
        return lag if datetime.now(UTC) - at < timedelta(seconds=5) else None

    def record(
        self, look_at: Callable[[], int | None], every_s: float
    ) -> Callable[[threading.Event], None]:
        """Return the work of a sampling thread: it samples until stopped and ignores None."""

        def work(stop: threading.Event) -> None:
            while not stop.wait(every_s):
                lag = look_at()
                if lag is not None:
                    self.sample(lag)

        return work

    def figure(self) -> go.Figure:
        """Draw the latest three minutes; without a sample, an empty chart that says so."""
        with self._lock:
            samples, marks = list(self._samples), list(self._marks)
        since = datetime.now(UTC) - _SHOWN
        shown = [(at, lag) for at, lag in samples if at > since]
        if not shown:
            return theme.empty("No measurement yet", "Run this cell again in a moment")
        most, now = max(lag for _, lag in shown), shown[-1][1]
        title = f"The lag is {now:,} messages"
        if now <= most / 20:
            title = f"The lag rose to {most:,}, and is {now:,} now" if most else "The lag is 0"
        figure = theme.figure(title, "The lag: messages in the topic that are not indexed yet")
        figure.add_scatter(
            x=[at for at, _ in shown],
            y=[lag for _, lag in shown],
            mode="lines",
            line={"width": 4, "color": theme.colour(0), "shape": "hv"},
            fill="tozeroy",
        )
        first, last = shown[0][0], shown[-1][0]
        window = min(first, last - _LEAST_SHOWN), last
        end = _write_marks(figure, [mark for mark in marks if mark[0] > first], window)
        figure.update_xaxes(title="time (UTC)", range=[window[0], end], tickformat="%H:%M:%S")
        figure.update_xaxes(nticks=6, tickangle=0)
        figure.update_yaxes(title="messages", rangemode="tozero")
        return figure


def _write_marks(
    figure: go.Figure, marks: list[tuple[datetime, str]], window: tuple[datetime, datetime]
) -> datetime:
    """Draw a line for each mark, up to its name in the lowest row above the plot with room.

    From the last mark to the first, so that no line crosses the name of another mark.

    Returns:
        The end of the time axis: that of the window, or later to have room for the last names.
    """
    start, span = window[0], window[1] - window[0]
    widths = [_MARK_SHARE * (len(what) + 2) for _, what in marks]
    ends = [(at - start) / (1 - width) for (at, _), width in zip(marks, widths, strict=True)]
    span = max([span, *ends])
    rows: list[float] = []
    """Where the names of each row begin, as a share of the width."""
    for (at, what), width in reversed([*zip(marks, widths, strict=True)]):
        left = (at - start) / span
        row = next((row for row, begin in enumerate(rows) if left + width <= begin), len(rows))
        rows[: row + 1] = [left] * (row + 1)  # no lower name crosses the line to this one
        line = {"width": 2, "dash": "dot", "color": theme.INK}
        figure.add_shape(type="line", x0=at, x1=at, y0=0, y1=1, yref="paper", line=line)
        # A line from the top of the plot to the name.
        figure.add_annotation(
            **{"x": at, "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "middle"},
            **{"text": what, "ax": 6, "ay": -12 - _MARK_ROW_PX * row},
            **{"arrowside": "none", "arrowwidth": 1, "arrowcolor": theme.INK},
        )
    figure.layout.annotations = figure.layout.annotations[::-1]  # in the order of time
    figure.update_layout(margin_t=theme.top_px(figure) + 4 + _MARK_ROW_PX * len(rows))
    return start + span
