"""How fast messages arrive in Kafka: counts taken now and then, a rate and a line of them."""

from __future__ import annotations

import time
from collections import deque
from datetime import datetime, timedelta
from typing import Final

import plotly.graph_objects as go

from clickstream.charts import theme

LINE_S: Final = 120.0
"""What the line shows."""

_RATE_OVER_S = 1.0
_FORGOTTEN_S = 3.0

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
        """Give the messages a second, over the latest second.

        Where nobody looked for longer, over all of that time; 0 where the latest look was
        three seconds ago.
        """
        samples = list(self._samples)
        if not samples or time.time() - samples[-1][0] > _FORGOTTEN_S:
            return 0.0
        since = samples[-1][0] - _RATE_OVER_S
        before = next((each for each in reversed(samples) if each[0] <= since), samples[0])
        return _rate(before, samples[-1])

    def figure(self) -> go.Figure:
        """Draw the messages of each second of the latest two minutes.

        Empty at first; 0 where nobody looked: after a stop, or without Kafka, nothing arrives.
        """
        # By time, too: where nobody looked for a while, so many looks reach further back, and
        # what is out of sight would still stretch the axis.
        samples = [each for each in list(self._samples) if each[0] > time.time() - LINE_S]
        step = round(_RATE_OVER_S / self._every_s)
        # One offset for all of them: on the night that an hour comes twice, time goes on.
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
            line={"width": 4, "color": theme.colour(0)},
            fill="tozeroy",
            fillcolor="rgba(0, 114, 178, 0.15)",
            hovertemplate="%{y:,.0f} messages/s at %{x|%H:%M:%S}<extra></extra>",
        )
        end = datetime.now(zone)
        window = [end - timedelta(seconds=LINE_S), end]
        figure.update_xaxes(type="date", range=window, tickformat="%H:%M:%S")
        figure.update_yaxes(rangemode="tozero")
        return figure


def _rate(before: _Sample, after: _Sample) -> float:
    seconds = after[0] - before[0]
    return max(0.0, (after[1] - before[1]) / seconds) if seconds > 0 else 0.0
