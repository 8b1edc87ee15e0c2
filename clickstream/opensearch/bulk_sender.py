"""Batches of messages → OpenSearch: each is sent, and retried, until every document is settled.

Promise: when the future of a batch has a result, every message of the batch is stored under the
id of its event, was already in the index, or is acknowledged by the dead-letter topic.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from queue import SimpleQueue
from typing import TYPE_CHECKING

from clickstream import events
from clickstream.errors import EventError
from clickstream.opensearch import bulk, client
from clickstream.opensearch.backoff import Backoff
from clickstream.opensearch.flood_guard import FloodGuard
from clickstream.reports import BatchReport
from clickstream.settings import OpenSearchSettings

if TYPE_CHECKING:
    from confluent_kafka import Message

    from clickstream.kafka.dead_letters import DeadLetters, Letter

logger = logging.getLogger(__name__)

BULK_BYTES = 10_000_000
"""The largest request: well below the server's limit (100 MB by default)."""

_NEWLINE = ord("\n")
"""Python finds a byte ten times as fast as a `bytes` of length one."""
_LEAVE_S = 0.5
_LATENCIES = 20
"""Number of messages per batch whose latency is measured."""
_STORED = bulk.Outcome.STORED


def bulk_action(value: bytes | None) -> bytes:
    """Turn a message's value into a bulk action, after a typed check.

    Raises:
        EventError: the value is not an event.
    """
    if value is None:
        msg = "not an event: the message has no value"
        raise EventError(msg)
    event = events.decode(value)
    if _NEWLINE in value:
        # JSON allows a newline between two fields; in a bulk body it would end the document, and
        # OpenSearch would read the rest as an action.
        value = events.encode(event)
    return bulk.action(event.event_id, value)


@dataclass(frozen=True)
class Batch:
    """The messages of one poll, as the actions of one bulk request and dead letters."""

    actions: list[bytes]
    messages: list[Message]
    """The messages of the actions, in order."""
    dead: list[Letter]

    @property
    def num_messages(self) -> int:
        """Number of messages in the batch."""
        return len(self.actions) + len(self.dead)

    @cached_property
    def bytes(self) -> int:
        """Approximate memory use: the size of the message values."""
        return sum(map(len, self.actions)) + sum(len(each[0]) for each in self.dead)


class BulkSender:
    """Sends the batches of one consumer run, several in parallel.

    Its threads are daemons, and `close` waits for them only briefly: a server that accepts a
    request and never answers blocks neither a stop nor the end of the process.

    Args:
        settings: the OpenSearch and the index.
        dead_letters: receives messages that can never be documents; the caller closes it.
        num_threads: bulk requests in flight; while OpenSearch fails, only one.
        flood_guard: raises when there are too many dead letters; None for no limit.
    """

    def __init__(
        self,
        settings: OpenSearchSettings,
        dead_letters: DeadLetters,
        num_threads: int,
        flood_guard: FloodGuard | None,
    ) -> None:
        self._name = settings.index
        self._client = client.connect(settings, connections=num_threads)
        self._dead_letters, self._flood_guard = dead_letters, flood_guard
        self._backoff = Backoff()
        self.rejection = ""
        """Why OpenSearch took none or not all of the latest documents, and what to do about it;
        empty if it took all of them."""
        self._jobs: SimpleQueue[tuple[Batch, Future[BatchReport]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"clickstream-bulk-{n}", daemon=True)
            for n in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: Batch) -> Future[BatchReport]:
        """Send a batch as soon as a thread is free; the future returns its counts.

        It waits without a time limit while OpenSearch is unreachable, overloaded or read-only.
        The future raises `BulkError` if OpenSearch refuses the requests or too many messages are
        invalid, `DeliveryError` if the dead-letter topic refuses, and `GivenUp` after `close`.
        """
        future: Future[BatchReport] = Future()
        self._jobs.put((batch, future))
        return future

    def close(self) -> None:
        """End every wait and stop the threads; unfinished batches stay unfinished."""
        self._backoff.give_up()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(_LEAVE_S)
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
        dead = [*batch.dead, *self._index(batch, part)]
        answered_ms = time.time() * 1000
        if self._flood_guard is not None:
            self._flood_guard.check(batch.num_messages, dead)
        if dead:
            self._dead_letters.send(dead, self._backoff.given_up)
            part.dead_lettered = len(dead)
        part.seconds = time.monotonic() - started_s
        every = max(1, len(batch.messages) // _LATENCIES)
        part.latencies_ms = [answered_ms - each.timestamp()[1] for each in batch.messages[::every]]
        if logger.isEnabledFor(logging.DEBUG):
            for message in batch.messages:
                logger.debug("settled offset=%d %s", message.offset(), message.value().decode())
        return part

    def _index(self, batch: Batch, part: BatchReport) -> list[Letter]:
        """Send the actions until none is rejected; return the messages that were refused."""
        refused: list[Letter] = []
        waiting = list(range(len(batch.actions)))
        attempt = 0
        while waiting:
            attempt += 1
            rejected: dict[int, str] = {}
            with self._backoff.turn():
                answers = self._bulk([batch.actions[i] for i in waiting], part)
                answered = zip(waiting, answers, strict=True)
                others = [(i, each) for i, each in answered if each.outcome is not _STORED]
                part.stored += len(answers) - len(others)
                for i, answer in others:
                    match answer.outcome:
                        case bulk.Outcome.REPLAYED:
                            part.replayed += 1
                        case bulk.Outcome.PERMANENT:
                            refused.append((batch.messages[i], answer.error_type, answer.reason))
                        case bulk.Outcome.RETRIABLE:
                            rejected[i] = client.cause(answer.error_type, answer.reason)
                self._backoff.record(taken=len(answers) - len(rejected), rejected=len(rejected))
            self.rejection = _most_common(rejected.values())
            if rejected:
                part.retried += len(rejected)
                logger.warning(
                    "bulk rejected, sending again index=%s documents=%d attempt=%d reason=%r",
                    *(self._name, len(rejected), attempt, self.rejection),
                )
            waiting = list(rejected)
        return refused

    def _bulk(self, actions: list[bytes], part: BatchReport) -> list[bulk.ItemAnswer]:
        """Send the actions once, in parts if they are too large; return one answer per action."""
        size = sum(map(len, actions))
        half = len(actions) // 2
        if size > BULK_BYTES and half:
            return self._bulk(actions[:half], part) + self._bulk(actions[half:], part)
        try:
            answers = bulk.send(self._client, self._name, actions)
        except bulk.Unavailable as error:
            return [bulk.ItemAnswer(bulk.Outcome.RETRIABLE, str(error))] * len(actions)
        except bulk.TooLarge as error:
            if not half:
                return [bulk.ItemAnswer(bulk.Outcome.PERMANENT, "too_large", str(error))]
            return self._bulk(actions[:half], part) + self._bulk(actions[half:], part)
        part.bytes += size
        return answers


def _most_common(reasons: Iterable[str]) -> str:
    """Return the most common reason and what to do about it, in one line; empty without any."""
    for reason, _ in Counter(reasons).most_common(1):
        return "; ".join(filter(None, (reason, client.remedy(reason))))
    return ""
