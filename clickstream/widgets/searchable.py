"""How long it takes from a click until a search finds its event."""

from __future__ import annotations

from collections import deque
from typing import Final

_PARTS: Final = 10
_KEPT: Final = 200
"""Those of about twenty refreshes of the index."""


class ClickToSearchable:
    """Collects the times, from regular looks at the newest event that a search finds.

    The events between the newest one of a look and that of the next have become searchable in
    between; they count as found at the second look, so a time is too long by up to the interval of
    the looks. It is assumed that they are spread evenly over their time.
    """

    def __init__(self) -> None:
        self._newest_ms: int | None = None
        self._first_ms = 0
        self._times_ms: deque[float] = deque(maxlen=_KEPT)

    def note(self, newest_ms: int | None, now_ms: int) -> None:
        """Record a look: the event time of the newest event, and the time of the look."""
        if newest_ms is None:  # behind by more than the looks cover, or no traffic
            self.forget(self._first_ms)
            return
        if newest_ms < self._first_ms:
            return
        before_ms, self._newest_ms = self._newest_ms, newest_ms
        if before_ms is None or newest_ms <= before_ms:
            return
        span_ms = newest_ms - before_ms
        self._times_ms.extend(
            now_ms - before_ms - span_ms * (part + 0.5) / _PARTS for part in range(_PARTS)
        )

    def forget(self, first_ms: int = 0) -> None:
        """Forget all times so far, and ignore events before an event time from now on."""
        self._newest_ms, self._first_ms = None, first_ms
        self._times_ms.clear()

    def quantile_ms(self, quantile: float) -> float | None:
        """Return a quantile (0 to 1) of the latest times, in ms; None before the first."""
        ordered = sorted(self._times_ms)
        return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else None
