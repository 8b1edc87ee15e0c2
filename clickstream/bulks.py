"""A batch of messages → OpenSearch: sent, and sent again, until nothing of it is open.

Promise: when the future of a batch has a result, every message of it is stored under its
event's own id, was there already, or is acknowledged by the dead-letter topic.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue

from confluent_kafka import Message

from clickstream import index
from clickstream.dead_letters import DeadLetters, Letter
from clickstream.settings import Settings

logger = logging.getLogger(__name__)

FIRST_RETRY_S, LONGEST_RETRY_S = 0.05, 5.0
"""Full jitter between: the longest wait is what a returned server may stand unused."""

_LEAVE_S = 0.5
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
    """Sends batches of one run of the consumer, several side by side.

    Its threads are daemons, and nobody waits for them: a server that takes a request and
    never answers holds up neither a stop nor the end of the process.
    """

    def __init__(self, settings: Settings, *, num_threads: int) -> None:
        self._name = settings.opensearch.index
        self._client = index.connect(settings.opensearch)
        self._dead_letters = DeadLetters(settings.kafka)
        self._given_up = threading.Event()
        self._jobs: SimpleQueue[tuple[Batch, Future[IndexReport]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"clickstream-bulk-{n}", daemon=True)
            for n in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: Batch) -> Future[IndexReport]:
        """Send a batch as soon as a thread is free: what becomes of it, in numbers.

        OpenSearch out of reach, overloaded or read-only is waited for as long as it takes.
        The future raises `BulkError` where OpenSearch refuses to work with us,
        `DeliveryError` where the dead-letter topic takes nothing, and `GivenUp` after `close`.
        """
        future: Future[IndexReport] = Future()
        self._jobs.put((batch, future))
        return future

    def close(self) -> None:
        """End every wait, and let go: what is still open stays open."""
        self._given_up.set()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(_LEAVE_S)
        self._dead_letters.close()
        self._client.close()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, future = job
            try:
                future.set_result(self._send(batch))
            except Exception as error:
                future.set_exception(error)

    def _send(self, batch: Batch) -> IndexReport:
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
            rejected: dict[int, str] = {}
            for i, answer in others:
                match answer.outcome:
                    case index.Outcome.REPLAYED:
                        part.replayed += 1
                    case index.Outcome.REFUSED:
                        dead.append((batch.messages[i], answer.error_type, answer.reason))
                    case index.Outcome.REJECTED:
                        rejected[i] = f"{answer.error_type} {answer.reason}".strip()
            # Progress starts the waits anew: only a server that takes nothing is left alone.
            attempt = attempt + 1 if len(rejected) == len(waiting) else 0
            waiting = list(rejected)
            if waiting:
                part.retried += len(waiting)
                (why, _), *_ = Counter(rejected.values()).most_common(1)
                logger.warning(
                    "bulk rejected, sending again index=%s documents=%d attempt=%d why=%r",
                    *(part.index, len(waiting), attempt, why),
                )
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
            return [index.ItemAnswer(index.Outcome.REJECTED, "", str(error))] * len(actions)
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
