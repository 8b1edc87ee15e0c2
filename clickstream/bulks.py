"""A batch of messages → OpenSearch: sent, and sent again, until nothing of it is open.

Promise: when `BulkSender.send` returns, every message of the batch is stored under its
event's own id, was there already, or is acknowledged by the dead-letter topic.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass

from confluent_kafka import Message

from clickstream import index
from clickstream.dead_letters import DeadLetters, Letter
from clickstream.settings import Settings

logger = logging.getLogger(__name__)

FIRST_RETRY_S, LONGEST_RETRY_S = 0.05, 5.0
"""Full jitter between: the longest wait is what a returned server may stand unused."""

_STORED = index.Outcome.STORED


@dataclass
class IndexReport:
    """What became of the messages read; a message counts once it is settled."""

    index: str
    stored: int = 0
    replayed: int = 0
    """Documents that were there already, under the same id."""
    dead_lettered: int = 0
    retried: int = 0
    """Documents sent again, each time counted."""
    bulks: int = 0
    bytes: int = 0
    """Of the bulk bodies that OpenSearch answered."""
    seconds: float = 0.0

    def add(self, part: IndexReport) -> None:
        """Count a part's documents as one's own; the seconds stay, since parts run side by side."""
        self.stored += part.stored
        self.replayed += part.replayed
        self.dead_lettered += part.dead_lettered
        self.retried += part.retried
        self.bulks += part.bulks
        self.bytes += part.bytes

    @property
    def messages(self) -> int:
        """Messages settled: stored, replayed or dead-lettered."""
        return self.stored + self.replayed + self.dead_lettered

    @property
    def documents_per_second(self) -> float:
        """Documents acknowledged, stored and replayed, over the whole run."""
        return (self.stored + self.replayed) / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        return (
            f"{self.stored:,} documents stored in {self.index}, {self.replayed:,} replayed, "
            f"{self.dead_lettered:,} dead-lettered, {self.retried:,} retried "
            f"in {self.seconds:.1f} s ({self.documents_per_second:,.0f} documents/s)"
        )

    def _repr_html_(self) -> str:
        return f"<b>{self}</b>"


@dataclass(frozen=True)
class Batch:
    """What one poll brought: the actions of one bulk, and the dead letters."""

    actions: list[bytes]
    messages: list[Message]
    """Those of the actions, in order."""
    dead: list[Letter]


class GivenUp(Exception):
    """The consumer stops while OpenSearch is away: what was not stored is not committed."""


class BulkSender:
    """Sends batches of one run of the consumer. Any thread may call `send`."""

    def __init__(self, settings: Settings) -> None:
        self._name = settings.opensearch.index
        self._client = index.connect(settings.opensearch)
        self._dead_letters = DeadLetters(settings.kafka)
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """End every wait: what is still open stays open. To be called before `close`."""
        self._given_up.set()

    def close(self) -> None:
        """Let the connections go; nobody may be sending any more."""
        self._dead_letters.close()
        self._client.close()

    def send(self, batch: Batch) -> IndexReport:
        """Return once every message of the batch is settled: what became of them, in numbers.

        OpenSearch out of reach, overloaded or read-only is waited for as long as it takes.

        Raises:
            BulkError: OpenSearch refuses to work with us.
            DeliveryError: the dead-letter topic takes nothing.
            GivenUp: `give_up` was called while it waited.
        """
        started_s = time.monotonic()
        part = IndexReport(self._name)
        dead = list(batch.dead)
        waiting = list(range(len(batch.actions)))
        attempt = 0
        while waiting:
            answers = self._bulk([batch.actions[i] for i in waiting], part)
            answered = zip(waiting, answers, strict=True)
            others = [(i, each) for i, each in answered if each.outcome is not _STORED]
            part.stored += len(answers) - len(others)
            rejected = []
            for i, answer in others:
                match answer.outcome:
                    case index.Outcome.REPLAYED:
                        part.replayed += 1
                    case index.Outcome.REFUSED:
                        dead.append((batch.messages[i], answer.error_type, answer.reason))
                    case index.Outcome.REJECTED:
                        rejected.append(i)
            # Progress starts the waits anew: only a server that takes nothing is left alone.
            attempt = attempt + 1 if len(rejected) == len(waiting) else 0
            waiting = rejected
            if waiting:
                part.retried += len(waiting)
                self._wait_before_retry(attempt)
        if dead:
            self._dead_letters.send(dead, self._given_up)
            part.dead_lettered = len(dead)
        part.seconds = time.monotonic() - started_s
        if logger.isEnabledFor(logging.DEBUG):
            for message in batch.messages:
                logger.debug("settled offset=%d %s", message.offset(), message.value().decode())
        return part

    def _bulk(self, actions: list[bytes], part: IndexReport) -> list[index.ItemAnswer]:
        """Send the actions once, in parts where they are too large, and answer for each."""
        try:
            answers = index.bulk(self._client, self._name, actions)
        except index.Unavailable as error:
            logger.warning("bulk not answered, trying again index=%s: %s", part.index, error)
            return [index.ItemAnswer(index.Outcome.REJECTED)] * len(actions)
        except index.TooLarge as error:
            if len(actions) == 1:
                return [index.ItemAnswer(index.Outcome.REFUSED, "too_large", str(error))]
            half = len(actions) // 2
            return self._bulk(actions[:half], part) + self._bulk(actions[half:], part)
        part.bulks += 1
        part.bytes += sum(map(len, actions))
        return answers

    def _wait_before_retry(self, attempt: int) -> None:
        longest_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(attempt, 20))
        if self._given_up.wait(random.uniform(0, longest_s)):
            raise GivenUp
