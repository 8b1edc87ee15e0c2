"""The rate of messages arriving in Kafka, from samples of their number."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

KEPT: Final = 240
"""Samples and rates kept: one minute of samples that are taken four times per second."""
_OVER_S: Final = 1.0
_FORGOTTEN_S: Final = 3.0


class Arrivals:
    """Remembers the latest samples of the number of messages; one thread adds them.

    Args:
        now_s: the clock, in seconds since 1970.
    """

    def __init__(self, *, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._samples: deque[tuple[float, int]] = deque(maxlen=KEPT)
        self.rates: deque[float] = deque(maxlen=KEPT)
        """Messages per second at each of the latest samples."""

    def note(self, messages: int) -> None:
        """Record the current number of messages."""
        self._samples.append((self._now_s(), messages))
        self.rates.append(self.per_second())

    def per_second(self) -> float:
        """Return the messages per second over the latest second.

        If the previous sample is older, the rate covers the time since then; 0 if the latest
        sample is three seconds old.
        """
        samples = list(self._samples)
        if not samples or self._now_s() - samples[-1][0] > _FORGOTTEN_S:
            return 0.0
        last_s, last = samples[-1]
        before = (each for each in reversed(samples) if each[0] <= last_s - _OVER_S)
        first_s, first = next(before, samples[0])
        # A recreated topic has fewer messages than before.
        return max(0.0, (last - first) / (last_s - first_s)) if last_s > first_s else 0.0
