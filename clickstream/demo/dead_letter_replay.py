"""Replay dead letters: repair them and send them to their topic again.

The dead-letter topic is a log, so it keeps the letters, also those that were sent again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from clickstream import events, producer
from clickstream.errors import EventError
from clickstream.kafka import dead_letters
from clickstream.kafka.dead_letters import NO_EVENT, REPLAYED_FROM, DeadLetter
from clickstream.kafka.messages import printable
from clickstream.reports import BoldLine
from clickstream.settings import KafkaSettings

_REASON_CHARACTERS: Final = 200

Repair = Callable[[DeadLetter], bytes | None]
"""Returns the repaired value of a letter, or None to skip the letter."""


@dataclass(frozen=True)
class ReplayReport(BoldLine):
    """The outcome of the dead letters; their topic still contains all of them."""

    topic: str
    letters: int
    sent: int
    """Letters that are valid events now, sent again and acknowledged."""
    no_events: int
    """Letters that are still not valid events."""
    unrepaired: int
    """Valid events whose unchanged value OpenSearch refused, or whose replay already failed."""
    left: int
    """Letters that the repair skipped by returning None."""
    reason: str = ""
    """The most frequent reason of the letters that are not valid events."""

    def __str__(self) -> str:
        parts = [f"{self.sent:,} of {self.letters:,} dead letters sent back to {self.topic}"]
        if self.no_events:
            reason = printable(self.reason.removeprefix(NO_EVENT)[:_REASON_CHARACTERS])
            parts.append(f"{self.no_events:,} still not valid events (most often: {reason})")
        if self.unrepaired:
            parts.append(f"{self.unrepaired:,} not sent (unchanged, they would fail again)")
        if self.left:
            parts.append(f"{self.left:,} skipped")
        return ", ".join(parts)


def replay_dead_letters(
    settings: KafkaSettings,
    repair: Repair | None = None,
    letters: Sequence[DeadLetter] | None = None,
) -> ReplayReport:
    """Send dead letters that are valid events now to the topic again, repaired or unchanged.

    Delivery: all values are repaired and validated before the first is sent. Then the guarantees of
    the producer apply, with the event's `user_id` as key, the original headers, and
    `REPLAYED_FROM`. The dead-letter topic keeps the letters. Replaying one twice stores nothing
    twice, because the id of a document is the id of its event.

    It never loops: a value that OpenSearch refused, or whose replay failed, is only sent again
    after a repair has changed it.

    Args:
        settings: the Kafka and the topic.
        repair: returns the repaired value of a letter, or None to skip it. By default values
            stay unchanged, which helps if the event model has gained a field since.
        letters: by default all of the dead-letter topic.

    Raises:
        ConfigError: no such topic.
        DeliveryError: Kafka did not accept all messages; repeat the call, it stores no duplicates.
        Interrupted: the notebook's stop button; everything sent has been flushed.
        ServerError: Kafka did not answer.
    """
    found = dead_letters.read(settings) if letters is None else letters
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
