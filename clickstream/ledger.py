"""Which offsets may be committed: the low-water mark of what has been settled.

Messages of one partition settle out of order, because several bulk requests fly at once.
A partition's ledger keeps the delivered offsets in order and moves its mark over those
that are settled (stored, or dead-lettered and acknowledged). Offsets that were never
delivered, as after a transaction marker or compaction, leave no hole: only what was
delivered is waited for.

No Kafka here; `consumer.py` says what was delivered and settled and commits the mark.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(slots=True)
class Span:
    """Offsets of one partition that were delivered and will settle together."""

    partition: int
    next_offset: int
    """The offset after the last of them: what may be committed once they are settled."""
    oldest_ms: int = 0
    """Kafka's timestamp of the first of them."""
    is_settled: bool = False


class Ledger:
    """Spans in the order of delivery, by partition, of one assignment.

    Promise: `committable` never passes a span that has not been settled, whatever the
    order in which spans settle. Not thread-safe: one thread owns it.
    """

    def __init__(self) -> None:
        self._spans: dict[int, deque[Span]] = {}

    def deliver(self, partition: int, next_offset: int, oldest_ms: int = 0) -> Span:
        """Note that every message below `next_offset` has been taken from the partition."""
        span = Span(partition, next_offset, oldest_ms)
        self._spans.setdefault(partition, deque()).append(span)
        return span

    def committable(self) -> dict[int, int]:
        """Take the offsets that may be committed now, by partition; those without news left out."""
        marks: dict[int, int] = {}
        for partition, spans in self._spans.items():
            while spans and spans[0].is_settled:
                marks[partition] = spans.popleft().next_offset
        return marks

    def forget(self, partition: int) -> None:
        """Drop a partition that was taken away: what still settles there is another's to commit."""
        self._spans.pop(partition, None)

    def oldest_ms(self, partition: int) -> int | None:
        """Give Kafka's timestamp of the oldest message not known to be settled; None without."""
        # A span of 0 holds no message: it only says that the partition's end was reached.
        waiting = (each.oldest_ms for each in self._spans.get(partition, ()) if each.oldest_ms)
        return next(waiting, None)
