"""How fast messages arrive in Kafka: counts taken now and then, a rate and a line of them."""

from __future__ import annotations

import time
from collections import deque
from datetime import datetime, timedelta
from typing import Final

import plotly.graph_objects as go

from clickstream import look

LINE_S: Final = 120.0
"""What the line shows."""

_RATE_OVER_S = 1.0

_Sample = tuple[float, int]
"""When (s since 1970), and how many messages the topic held."""


class Arrivals:
    """Remembers what the topic held at its latest looks.

    Args:
        every_s: seconds from one look to the next.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._samples: deque[_Sample] = deque(maxlen=round(LINE_S / every_s))

    def note(self, messages: int) -> None:
        """Take down what the topic holds now."""
        self._samples.append((time.time(), messages))

    def per_second(self) -> float:
        """Give the messages a second, over the latest second; 0 where nobody looked."""
        since = time.time() - _RATE_OVER_S - self._every_s
        latest = [each for each in list(self._samples) if each[0] > since]
        return _rate(latest[0], latest[-1]) if len(latest) > 1 else 0.0

    def figure(self) -> go.Figure:
        """Draw the messages of each second of the latest two minutes; empty at first."""
        samples = list(self._samples)
        step = round(_RATE_OVER_S / self._every_s)
        pairs = list(zip(samples, samples[step:], strict=False))
        figure = look.figure("Messages arriving in Kafka, per second")
        figure.add_scatter(
            x=[datetime.fromtimestamp(after[0]) for _, after in pairs],
            y=[round(_rate(before, after), 1) for before, after in pairs],
            mode="lines",
            line={"width": 4, "color": look.colour(0)},
            fill="tozeroy",
            fillcolor="rgba(0, 114, 178, 0.15)",
            hovertemplate="%{y:,.0f} messages/s at %{x|%H:%M:%S}<extra></extra>",
        )
        end = datetime.now()
        figure.update_xaxes(range=[end - timedelta(seconds=LINE_S), end], tickformat="%H:%M:%S")
        figure.update_yaxes(rangemode="tozero")
        return figure


def _rate(before: _Sample, after: _Sample) -> float:
    seconds = after[0] - before[0]
    return max(0.0, (after[1] - before[1]) / seconds) if seconds > 0 else 0.0
