"""The lag over time, with marks for what was done: a line chart."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.charts.marks import Marks, write_all

_SHOWN: Final = timedelta(minutes=3)
"""The lag chart shows this period."""
_LEAST_SHOWN: Final = timedelta(seconds=30)
_KEPT: Final = 3_600


class Timeline:
    """Samples of the lag over the latest half hour, and marks; any thread may add some."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: deque[tuple[datetime, int]] = deque(maxlen=_KEPT)
        self._marks = Marks()

    def sample(self, lag: int) -> None:
        """Record the current lag."""
        with self._lock:
            self._samples.append((datetime.now(UTC), lag))

    def mark(self, what: str) -> None:
        """Record an action at the current time."""
        self._marks.add(datetime.now(UTC), what)

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
            samples = list(self._samples)
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
        end = write_all(figure, self._marks.since(first), window)
        figure.update_xaxes(title="time (UTC)", range=[window[0], end], tickformat="%H:%M:%S")
        figure.update_xaxes(nticks=6, tickangle=0)
        figure.update_yaxes(title="messages", rangemode="tozero")
        return figure
