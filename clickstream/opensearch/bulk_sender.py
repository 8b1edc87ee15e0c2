"""A batch of messages → OpenSearch: sent, and sent again, until nothing of it is open.

Promise: when the future of a batch has a result, every message of it is stored under its
event's own id, was there already, or is acknowledged by the dead-letter topic.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from queue import SimpleQueue

from confluent_kafka import Message

from clickstream import events
from clickstream.errors import BulkError, EventError, command
from clickstream.kafka.dead_letters import DeadLetters, Letter
from clickstream.opensearch import bulk as index
from clickstream.opensearch import client
from clickstream.opensearch.backoff import Breaker
from clickstream.reports import BatchReport
from clickstream.settings import Settings

logger = logging.getLogger(__name__)

BULK_BYTES = 10_000_000
"""The largest request: well below what a server takes at most (100 MB by default)."""

_LEAVE_S = 0.5
_LATENCIES = 20
"""So many messages of a batch are measured."""
_STORED = index.Outcome.STORED


def action(value: bytes | None) -> bytes:
    """Turn a message's value into a bulk action, after a typed check.

    Raises:
        EventError: the value is no event.
    """
    if value is None:
        msg = "not an event: the message has no value"
        raise EventError(msg)
    event = events.decode(value)
    if b"\n" in value:
        # Between two fields JSON allows a newline; in a bulk body it would end the document
        # and let what follows be read as an action.
        value = events.encode(event)
    return index.action(event.event_id, value)


@dataclass(frozen=True)
class Batch:
    """What one poll brought: the actions of one bulk, and the dead letters."""

    actions: list[bytes]
    messages: list[Message]
    """Those of the actions, in order."""
    dead: list[Letter]

    @property
    def num_messages(self) -> int:
        """How many settle with it."""
        return len(self.actions) + len(self.dead)

    @cached_property
    def bytes(self) -> int:
        """What it takes in memory, roughly: its messages' values, once."""
        return sum(map(len, self.actions)) + sum(len(each[0]) for each in self.dead)


class FloodGuard:
    """Stops the consumer where so much is poison that dead letters are no answer to it.

    Most likely it is somebody else's topic, or a producer that has gone wrong: writing it
    all to another topic would hide that.
    """

    SHARE, AT_LEAST, WINDOW = 0.05, 100, 2_000
    """A twentieth of the latest 2,000 messages (whole batches), and a hundred of them."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._batches: deque[tuple[int, int]] = deque()

    def check(self, num_messages: int, dead: list[Letter]) -> None:
        """Note a batch, before its letters are written.

        Raises:
            BulkError: it is a flood.
        """
        with self._lock:
            self._batches.append((num_messages, len(dead)))
            while sum(n for n, _ in self._batches) - self._batches[0][0] >= self.WINDOW:
                self._batches.popleft()
            looked_at, poison = map(sum, zip(*self._batches, strict=True))
        # Only what brings poison is refused: old good news falling out of the window is no flood.
        if dead and poison >= max(self.AT_LEAST, self.SHARE * looked_at):
            msg = (
                f"topic {self._topic!r}: {poison:,} of the latest {looked_at:,} messages can never "
                f"be documents (last: {dead[-1][2]!r}); if it is somebody else's topic, name "
                f"another, or {command('reset --yes')} if it is yours; "
                f"{command('consume --no-flood-guard')} makes dead letters of them all"
            )
            raise BulkError(msg)


class BulkSender:
    """Sends batches of one run of the consumer, several side by side.

    Its threads are daemons, and nobody waits for them: a server that takes a request and
    never answers holds up neither a stop nor the end of the process.

    Args:
        settings: where to.
        num_threads: bulks in flight while all is well; one while OpenSearch is in trouble.
        flood_guard: whether a flood of dead letters is an error.
    """

    def __init__(self, settings: Settings, *, num_threads: int, flood_guard: bool) -> None:
        self._name = settings.opensearch.index
        self._client = client.connect(settings.opensearch, connections=num_threads)
        self._dead_letters = DeadLetters(settings.kafka)
        self._flood_guard = FloodGuard(settings.kafka.topic) if flood_guard else None
        self._breaker = Breaker()
        self._jobs: SimpleQueue[tuple[Batch, Future[BatchReport]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"clickstream-bulk-{n}", daemon=True)
            for n in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: Batch) -> Future[BatchReport]:
        """Send a batch as soon as a thread is free: what becomes of it, in numbers.

        OpenSearch out of reach, overloaded or read-only is waited for as long as it takes.
        The future raises `BulkError` where OpenSearch refuses to work with us or too much is
        poison, `DeliveryError` where the dead-letter topic refuses, and `GivenUp` after `close`.
        """
        future: Future[BatchReport] = Future()
        self._jobs.put((batch, future))
        return future

    def close(self) -> None:
        """End every wait, and let go: what is still open stays open."""
        self._breaker.give_up()
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

    def _send(self, batch: Batch) -> BatchReport:
        started_s = time.monotonic()
        part = BatchReport()
        dead = list(batch.dead)
        waiting = list(range(len(batch.actions)))
        attempt = 0
        while waiting:
            with self._breaker.passing():
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
                taken = len(answers) - len(rejected)
                self._breaker.note(taken=taken, rejected=len(rejected))
            attempt = attempt + 1
            waiting = list(rejected)
            if waiting:
                part.retried += len(waiting)
                (why, _), *_ = Counter(rejected.values()).most_common(1)
                logger.warning(
                    "bulk rejected, sending again index=%s documents=%d attempt=%d why=%r",
                    *(self._name, len(waiting), attempt, why),
                )
        now_ms = time.time() * 1000
        if self._flood_guard is not None:
            self._flood_guard.check(batch.num_messages, dead)
        if dead:
            self._dead_letters.send(dead, self._breaker.given_up)
            part.dead_lettered = len(dead)
        part.seconds = time.monotonic() - started_s
        every = max(1, len(batch.messages) // _LATENCIES)
        part.latencies_ms = [now_ms - each.timestamp()[1] for each in batch.messages[::every]]
        if logger.isEnabledFor(logging.DEBUG):
            for message in batch.messages:
                logger.debug("settled offset=%d %s", message.offset(), message.value().decode())
        return part

    def _bulk(self, actions: list[bytes], part: BatchReport) -> list[index.ItemAnswer]:
        """Send the actions once, in parts where they are too large, and answer for each."""
        size = sum(map(len, actions))
        half = len(actions) // 2
        if size > BULK_BYTES and half:
            return self._bulk(actions[:half], part) + self._bulk(actions[half:], part)
        try:
            answers = index.send(self._client, self._name, actions)
        except index.Unavailable as error:
            return [index.ItemAnswer(index.Outcome.REJECTED, "", str(error))] * len(actions)
        except index.TooLarge as error:
            if not half:
                return [index.ItemAnswer(index.Outcome.REFUSED, "too_large", str(error))]
            return self._bulk(actions[:half], part) + self._bulk(actions[half:], part)
        part.bulks += 1
        part.bytes += size
        return answers
