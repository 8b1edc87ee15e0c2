"""The way back from the dead-letter topic: letters are mended and sent to their topic again.

The letters stay: the dead-letter topic is a log, and one that was sent back still lies in it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Final

from clickstream import events, producer
from clickstream.errors import EventError
from clickstream.kafka import dead_letters
from clickstream.kafka.dead_letters import NO_EVENT, REPLAYED_FROM, DeadLetter
from clickstream.kafka.messages import printable
from clickstream.settings import KafkaSettings

_REASON_CHARACTERS: Final = 200

Repair = Callable[[DeadLetter], bytes | None]
"""Gives a letter's value mended, or None to leave it where it is."""


@dataclass(frozen=True)
class ReplayReport:
    """What became of the dead letters; all that count here lie in their topic as before."""

    topic: str
    letters: int
    sent: int
    """Events now, sent back and acknowledged."""
    no_events: int
    """No events still."""
    unrepaired: int
    """Events, but with the very value that OpenSearch refused, or that came back already."""
    left: int
    """Not to be sent: the repair gave None."""
    reason: str = ""
    """Why those that are no events are none, most often."""

    def __str__(self) -> str:
        parts = [f"{self.sent:,} of {self.letters:,} dead letters sent back to {self.topic}"]
        if self.no_events:
            reason = printable(self.reason.removeprefix(NO_EVENT)[:_REASON_CHARACTERS])
            parts.append(f"{self.no_events:,} still no events (most often: {reason})")
        if self.unrepaired:
            parts.append(f"{self.unrepaired:,} unrepaired (as they are they only come back)")
        if self.left:
            parts.append(f"{self.left:,} left alone")
        return ", ".join(parts)

    def _repr_html_(self) -> str:
        return f"<b>{escape(str(self))}</b>"


def replay(settings: KafkaSettings, repair: Repair | None = None) -> ReplayReport:
    """Send those dead letters back to the topic that are events now, mended or as they are.

    Delivery: every value is made and checked before the first is sent; then as the producer,
    with the event's `user_id` as key, the message's own headers, and `REPLAYED_FROM` on top.
    The letters stay. Sending one back again stores nothing twice, since a document's id is
    its event's.

    It never goes in circles: what OpenSearch refused is sent back only with another value,
    and so is what came back from a replay and failed again.

    Args:
        settings: where.
        repair: gives each letter's value mended, or None to leave it. By default values stay
            as they are, and those go that the event model has learnt to read since.

    Raises:
        ConfigError: no such topic.
        DeliveryError: Kafka did not take all of them; do it again, for nothing doubles.
        Interrupted: by the notebook's stop button; what was sent has been flushed.
        ServerError: Kafka did not answer.
    """
    found = dead_letters.read(settings)
    failed_again = {letter.value for letter in found if letter.replayed_from is not None}
    batch: list[producer.Raw] = []
    reasons: Counter[str] = Counter()
    unrepaired = left = 0
    for letter in found:
        value = repair(letter) if repair else letter.value or b""
        if value is None:
            left += 1
            continue
        try:
            event = events.decode(value)
        except EventError as error:
            reasons[str(error)] += 1
            continue
        was_refused = value == letter.value and letter.error_type != EventError.__name__
        if was_refused or value in failed_again:
            unrepaired += 1
            continue
        headers = [each for each in letter.headers if each[0] != REPLAYED_FROM]
        headers.append((REPLAYED_FROM, str(letter.place).encode()))
        batch.append((value, event.user_id, headers))
    if batch:
        producer.send_raw(settings, batch)
    return ReplayReport(
        topic=settings.topic,
        letters=len(found),
        sent=len(batch),
        no_events=reasons.total(),
        unrepaired=unrepaired,
        left=left,
        reason=reasons.most_common(1)[0][0] if reasons else "",
    )
