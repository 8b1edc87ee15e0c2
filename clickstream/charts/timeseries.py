"""Time series and their line charts: the lag, and the rate of messages arriving in Kafka."""

from __future__ import annotations

import threading
import time
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
LINE_S: Final = 120.0
"""The chart of arrivals shows this period."""

_MARK_SHARE: Final = 0.015
"""The share of the width of a narrow chart that a character takes."""
_MARK_ROW_PX: Final = 26
_RATE_OVER_S: Final = 1.0
_FORGOTTEN_S: Final = 3.0

_Sample = tuple[float, int]
"""Time (s since 1970), and the number of messages in the topic."""


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


class Arrivals:
    """Remembers the latest samples of the number of messages in the topic.

    Args:
        every_s: seconds between two samples.
        now_s: the clock, in seconds since 1970.
    """

    def __init__(self, every_s: float, *, now_s: Callable[[], float] = time.time) -> None:
        self._every_s, self._now_s = every_s, now_s
        self._samples: deque[_Sample] = deque(maxlen=round(LINE_S / every_s))

    def note(self, messages: int) -> None:
        """Record the current number of messages."""
        self._samples.append((self._now_s(), messages))

    def per_second(self) -> float:
        """Return the messages per second over the latest second.

        If the previous sample is older, the rate covers the time since then; 0 if the latest
        sample is three seconds old.
        """
        samples = list(self._samples)
        if not samples or self._now_s() - samples[-1][0] > _FORGOTTEN_S:
            return 0.0
        since = samples[-1][0] - _RATE_OVER_S
        before = next((each for each in reversed(samples) if each[0] <= since), samples[0])
        return _rate(before, samples[-1])

    def figure(self) -> go.Figure:
        """Draw the messages per second over the latest two minutes.

        The chart is empty at first. The rate is 0 where samples are missing: after a stop, or
        without Kafka, no message arrives.
        """
        # Limit by time, too: after a pause, the kept samples reach further back, and old ones
        # would stretch the axis.
        samples = [each for each in list(self._samples) if each[0] > self._now_s() - LINE_S]
        step = round(_RATE_OVER_S / self._every_s)
        # One offset for all samples, so that no hour repeats when the clocks go back.
        zone = datetime.now().astimezone().tzinfo
        times: list[datetime] = []
        rates: list[float] = []
        for before, last, now in zip(samples, samples[step - 1 :], samples[step:], strict=False):
            if now[0] - before[0] < _FORGOTTEN_S:
                times.append(datetime.fromtimestamp(now[0], zone))
                rates.append(round(_rate(before, now), 1))
            elif now[0] - last[0] >= _FORGOTTEN_S:
                times += [datetime.fromtimestamp(each[0], zone) for each in (last, now)]
                rates += [0.0, 0.0]
        figure = theme.figure("Messages arriving in Kafka, per second")
        figure.add_scatter(
            x=times,
            y=rates,
            mode="lines",
            hovertemplate="%{y:,.0f} messages/s at %{x|%H:%M:%S}<extra></extra>",
            **theme.LINE_WITH_AREA,
        )
        end = datetime.now(zone)
        window = [end - timedelta(seconds=LINE_S), end]
        figure.update_xaxes(type="date", range=window, tickformat="%H:%M:%S")
        figure.update_yaxes(rangemode="tozero")
        return figure


def _rate(before: _Sample, after: _Sample) -> float:
    seconds = after[0] - before[0]
    return max(0.0, (after[1] - before[1]) / seconds) if seconds > 0 else 0.0
