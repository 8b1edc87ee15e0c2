"""The lag over time, with what was done to the servers: samples, and their chart."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import plotly.graph_objects as go

from clickstream.charts import theme

_SHOWN = timedelta(minutes=3)
_KEPT = 3_600


@dataclass(frozen=True)
class Mark:
    """Something that was done, and when."""

    at: datetime
    what: str


class Timeline:
    """Samples of the lag, the latest half hour of them, and marks. Any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._samples: deque[tuple[datetime, int]] = deque(maxlen=_KEPT)
        self._marks: list[Mark] = []

    def sample(self, lag: int) -> None:
        """Note how many messages wait now."""
        with self._lock:
            self._samples.append((datetime.now(UTC), lag))

    def mark(self, what: str) -> None:
        """Note that something is done now."""
        with self._lock:
            self._marks.append(Mark(datetime.now(UTC), what))

    @property
    def lag(self) -> int | None:
        """The latest sample; None before the first, and where it is older than five seconds."""
        with self._lock:
            if not self._samples:
                return None
            at, lag = self._samples[-1]
        return lag if datetime.now(UTC) - at < timedelta(seconds=5) else None

    def record(
        self, look_at: Callable[[], int | None], every_s: float
    ) -> Callable[[threading.Event], None]:
        """Give work for a thread: sample until it is told to stop; None is no sample."""

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
            return theme.figure("Nothing was measured yet", "Run this cell again in a moment")
        most, now = max(lag for _, lag in shown), shown[-1][1]
        title = f"{now:,} messages wait"
        if now <= most / 20:
            title = f"Up to {most:,} messages waited, now {now:,}" if most else "Nothing waits"
        figure = theme.figure(title, "The lag: messages in the topic that are not indexed yet")
        figure.add_scatter(
            x=[at for at, _ in shown],
            y=[lag for _, lag in shown],
            mode="lines",
            line={"width": 4, "color": theme.colour(0), "shape": "hv"},
            fill="tozeroy",
        )
        # Names stand above the plot, in turns on three heights, so that none covers another.
        for place, mark in enumerate(each for each in marks if each.at > shown[0][0]):
            top = 1.06 + 0.09 * (place % 3)
            line = {"width": 2, "dash": "dot", "color": theme.INK}
            figure.add_shape(
                type="line", x0=mark.at, x1=mark.at, y0=0, y1=top, yref="paper", line=line
            )
            figure.add_annotation(
                x=mark.at,
                y=top,
                yref="paper",
                text=mark.what,
                showarrow=False,
                xanchor="left",
                yanchor="middle",
                xshift=4,
                bgcolor=theme.PAPER,
            )
        figure.update_layout(margin_t=200, title_y=0.96, title_yanchor="top")
        figure.update_xaxes(title="time, UTC", nticks=6, tickangle=0)
        figure.update_yaxes(title="messages", rangemode="tozero")
        return figure
