"""How the counts of a control room add up: where messages come from, and what became of them.

The servers and the clients are asked one after another, so each count is of another moment. They
are read against the flow: documents, dead letters and refused repeats first, then the topic, and
last the events that were produced. Each count only grows, so at every moment

    produced here ≥ its part in Kafka,
    in Kafka = there before + produced here + by others,
    in Kafka ≥ indexed + repeats + dead letters;

and when all is read, the last line is an equation. A message that is lost would make it fall
short: repeats are those that OpenSearch refused, not the rest of the sum.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """What was counted, in the order in which it is read."""

    refused: int
    """Documents that OpenSearch refused because it had them, as all consumers report them."""
    documents: int
    dead_letters: int
    unread: int
    """The lag."""
    deleted: int
    """Messages that the topic no longer has: the sum of its first offsets."""
    written: int
    """Messages that the topic ever had: the sum of its end offsets."""
    produced: int
    """Events handed to Kafka here, less those that it did not accept."""


class Balance:
    """The sums since a first count, which must be taken while nothing is produced here."""

    def __init__(self, first: Counts) -> None:
        self._written_before = first.written
        self._by_others = 0
        # Deleted messages whose documents were deleted, too; retention keeps the documents.
        known = first.documents + first.dead_letters
        self._gone = min(first.deleted, first.written - known)
        self._correction = first.written - first.unread - self._gone - known - first.refused
        # Unread messages may be settled already, by a consumer that could not commit them.
        self._most_correction = self._correction + first.unread

    def sources(self, now: Counts) -> tuple[int, int]:
        """Return the messages in the topic that were there before, and those by others since.

        The rest was produced here. Others' messages are at least those that exceed our own; an
        event that Kafka stored without acknowledging it counts among them.
        """
        arrived = now.written - self._written_before
        self._by_others = max(self._by_others, arrived - now.produced)
        messages = now.written - now.deleted
        before = max(0, messages - arrived)
        return before, min(self._by_others, messages - before)

    def repeats(self, now: Counts) -> int:
        """Return the messages that were refused as repeats; each counts once.

        OpenSearch also refuses a message that Kafka delivers again after an outage, and one whose
        first answer was lost. Such a message is a document already, so the count is corrected as
        soon as there would be more outcomes than messages.
        """
        others = now.written - self._gone - now.documents - now.dead_letters - now.refused
        least = min(others - now.unread, self._most_correction)
        self._correction = min(max(self._correction, least), others)
        return max(0, now.refused + self._correction)
