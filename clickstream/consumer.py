"""Messages → documents: poll, index in bulk, then commit.

    poll ──▶ sort ──▶ bulk requests, four in parallel ───▶ OpenSearch
               └────▶ dead letters ──▶ Kafka                  │
    commit ◀── in the order of the polls ◀── answers ◀────────┘

Promise: at least once from topic to index, exactly once in effect. Every message below a
committed offset is stored under its event's own id, or acknowledged by the dead-letter
topic. OpenSearch refuses a document that it already has (409), and the report counts it as
replayed, so reading a topic again creates no duplicates.

One thread polls and commits; four threads send bulk requests. Memory is bounded, in messages
and in bytes: the bulks in flight, the next one, and Kafka's fetch queue. After a kill the next
consumer reads a bounded number of messages again: at most `MOST_UNCOMMITTED` batches.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from confluent_kafka import Message

from clickstream.errors import Command, EventError, Interrupted, ServerError
from clickstream.kafka.dead_letters import DeadLetters
from clickstream.kafka.group_reader import GroupReader, Offsets, Polled
from clickstream.kafka.offsets import CatchUpGoal
from clickstream.opensearch.bulk_sender import Batch, BulkSender, bulk_action
from clickstream.opensearch.flood_guard import FloodGuard
from clickstream.reports import BatchReport, IndexReport, Lag
from clickstream.settings import Settings

logger = logging.getLogger(__name__)

BULK_DOCUMENTS = 4_000
BULKS_IN_FLIGHT = 4
"""Three keep a server on the same two cores busy; the fourth covers for a slow Python."""

MOST_BYTES = 32_000_000
"""Limit for message values sent and not yet answered; one more poll may exceed it."""

MOST_UNCOMMITTED = 32
"""Limit for batches sent and not committed. It is reached only if OpenSearch keeps rejecting one
batch while it stores the later ones."""

_POLL_S = 0.1
_DRAIN_S = 4.0
_COLLECT_EVERY = 10_000


def index_topic(
    settings: Settings,
    *,
    until_caught_up: bool = False,
    patience_s: float | None = None,
    flood_guard: bool = True,
    stop: threading.Event | None = None,
    on_bulk: Callable[[IndexReport], None] | None = None,
    report: IndexReport | None = None,
    bulk_documents: int = BULK_DOCUMENTS,
) -> IndexReport:
    """Index the topic's messages as a member of the consumer group, until stopped.

    Delivery is as this module promises. It waits without a time limit for a Kafka that is down
    and for an OpenSearch that is unreachable, overloaded or read-only. Topic and index must exist.

    Args:
        settings: the topic to read, the index to write, and the consumer group.
        until_caught_up: end when the group has committed what was in the topic at the start.
        patience_s: give up if OpenSearch answers no bulk for this long; by default never.
        flood_guard: stop, and commit nothing more, if at least 5 % of the latest 2,000
            messages, and at least a hundred, can never be documents.
        stop: set it to stop within 5 s (8 s if Kafka hangs), with all that is acknowledged
            committed. While other members are joining, Kafka accepts no offset from a member
            that leaves; then the next member reads those messages again.
        on_bulk: called after every bulk request with the report so far.
        report: an empty report to fill during the run; any thread may read it.
        bulk_documents: the most documents in one bulk request.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer, its topic is gone, or no bulk was answered for
            `patience_s`.
        BulkError: OpenSearch refuses the bulk requests, or too many messages are invalid.
        DeliveryError: the dead-letter topic refuses letters; the offset does not move.
        Interrupted: the notebook's stop button; everything acknowledged is committed.
    """
    report = report or IndexReport(index=settings.opensearch.index)
    stop = stop or threading.Event()
    guard = FloodGuard(settings.kafka.topic) if flood_guard else None

    def run(goal: CatchUpGoal | None) -> None:
        with (
            _seldom_collecting(),
            closing(DeadLetters(settings.kafka)) as dead_letters,
            closing(
                BulkSender(settings.opensearch, dead_letters, BULKS_IN_FLIGHT, guard)
            ) as sender,
        ):
            reader = GroupReader(settings.kafka)
            indexer = _Indexer(reader, sender, report, bulk_documents, patience_s, on_bulk)
            indexer.run(stop, goal)

    with closing(CatchUpGoal(settings.kafka)) as goal:  # fails early without Kafka or topic
        if until_caught_up and not goal.is_reached:
            run(goal)
    if not until_caught_up:
        run(None)
    return report


@dataclass
class _Sent:
    """A sent batch, and the offsets to commit once it and all earlier ones are answered."""

    next_offsets: Offsets
    oldest_ms: dict[int, int]
    """Kafka's timestamp of the first message, by partition."""
    num_messages: int
    num_bytes: int
    answer: Future[BatchReport]
    is_counted: bool = False

    @property
    def has_failed(self) -> bool:
        return self.answer.done() and self.answer.exception() is not None


class _Indexer:
    """One run of the consumer. It runs in the polling thread; only bulk requests leave that thread.

    Answers arrive in any order and are counted at once. Offsets are committed in the order of
    the polls, so no committed offset passes a message that is neither stored nor dead-lettered.
    """

    def __init__(
        self,
        reader: GroupReader,
        sender: BulkSender,
        report: IndexReport,
        bulk_documents: int = BULK_DOCUMENTS,
        patience_s: float | None = None,
        on_bulk: Callable[[IndexReport], None] | None = None,
    ) -> None:
        self._reader, self._sender, self._report = reader, sender, report
        self._bulk_documents, self._patience_s, self._on_bulk = bulk_documents, patience_s, on_bulk
        self._sent: deque[_Sent] = deque()
        """In the order of the polls; a batch is removed when its offsets are committed."""
        self._started_s = self._progress_s = time.monotonic()

    def run(self, stop: threading.Event, goal: CatchUpGoal | None) -> None:
        was_interrupted = False
        self._reader.join(on_revoke=self._drain, forget=self._forget)
        try:
            self._loop(stop, goal)
        except KeyboardInterrupt:
            was_interrupted = True
        finally:
            self._leave()
        self._raise_failure()  # of a batch that was answered while leaving
        if was_interrupted:
            msg = f"stopped by interrupt; {self._report}"
            raise Interrupted(msg, "run the cell again to continue")

    def _loop(self, stop: threading.Event, goal: CatchUpGoal | None) -> None:
        while not stop.is_set():
            self._raise_failure()
            self._check_patience()
            # Wait for room before the poll: polled messages are then sent at once, before a
            # rebalance can give their partition to another member.
            if not self._has_room():
                self._reader.poll_paused()
                self._settle(wait_s=_POLL_S)
                continue
            polled = self._reader.poll(self._bulk_documents, _POLL_S)
            self._send(polled)
            self._settle()
            if goal is not None:
                is_idle = not polled.messages and not self._sent
                if is_idle:
                    self._reader.commit()  # now, not up to half a second later
                if goal.check(is_idle=is_idle):
                    return

    def _has_room(self) -> bool:
        """Say whether to poll again: at most one bulk is queued, which keeps every sender busy."""
        unanswered = [each.num_bytes for each in self._sent if not each.is_counted]
        return (
            len(unanswered) <= BULKS_IN_FLIGHT
            and sum(unanswered) < MOST_BYTES
            and len(self._sent) < MOST_UNCOMMITTED
        )

    def _send(self, polled: Polled) -> None:
        if not polled.messages:
            self._note_ends(polled.next_offsets)
            return
        for partition, message in polled.first.items():
            self._report.settled.setdefault(partition, message.offset())
        oldest_ms = {i: message.timestamp()[1] for i, message in polled.first.items()}
        batch = _sort(polled.messages)
        if not self._sent:
            self._progress_s = time.monotonic()
        self._report.in_flight += batch.num_messages
        answer = self._sender.submit(batch)
        self._sent.append(
            _Sent(polled.next_offsets, oldest_ms, batch.num_messages, batch.bytes, answer)
        )

    def _note_ends(self, ends: Offsets) -> None:
        """Commit the ends of partitions without new messages, after everything sent before."""
        if self._sent:
            self._sent[-1].next_offsets.update(ends)
        elif ends:
            self._store(ends)
            self._report.lag = self._lag()

    def _settle(self, *, wait_s: float = 0) -> None:
        """Count answered batches, in any order; store the offsets that are next in order."""
        self._report.rejection = self._sender.rejection
        if wait_s:
            pending = [each.answer for each in self._sent if not each.answer.done()]
            wait(pending, wait_s, FIRST_COMPLETED)
        answered = [
            each
            for each in self._sent
            if not each.is_counted and each.answer.done() and not each.has_failed
        ]
        for each in answered:
            self._count(each)
        while self._sent and self._sent[0].is_counted:
            self._store(self._sent[0].next_offsets)
            self._sent.popleft()
        if answered:
            self._report.lag = self._lag()
        for each in answered:  # last, because the caller's callback may raise
            self._publish(each.answer.result())

    def _count(self, sent: _Sent) -> None:
        sent.is_counted = True
        self._report.take(sent.answer.result())
        self._report.in_flight -= sent.num_messages
        self._progress_s = time.monotonic()
        self._report.seconds = self._progress_s - self._started_s

    def _store(self, offsets: Offsets) -> None:
        """Store offsets and the report as metadata; Kafka commits them within half a second."""
        if offsets:  # empty if all of its partitions were revoked in the meantime
            self._report.settled |= offsets
            self._reader.store(offsets, self._report.as_metadata())

    def _lag(self) -> dict[int, Lag]:
        found = {}
        for partition, settled in self._report.settled.items():
            waiting = (each.oldest_ms.get(partition) for each in self._sent)
            oldest_ms = next(filter(None, waiting), None)
            age_s = 0.0 if oldest_ms is None else max(0.0, time.time() - oldest_ms / 1000)
            behind = max(0, self._reader.end_offset(partition) - settled)
            found[partition] = Lag(behind, age_s)
        return found

    def _publish(self, part: BatchReport) -> None:
        if logger.isEnabledFor(logging.INFO):
            logger.info("bulk indexed %s", self._report.line(part))
        if self._on_bulk is not None:
            self._on_bulk(self._report)

    def _raise_failure(self) -> None:
        """Raise the error of a failed batch, at any position in the order."""
        for each in self._sent:
            if each.has_failed:
                each.answer.result()

    def _check_patience(self) -> None:
        waited_s = time.monotonic() - self._progress_s
        if self._sent and self._patience_s is not None and waited_s > self._patience_s:
            why = f": {self._sender.rejection}" if self._sender.rejection else ""
            msg = (
                f"indexing into {self._report.index!r}: OpenSearch accepted nothing for "
                f"{waited_s:.0f} s ({self._report.messages:,} messages settled before){why}"
            )
            hint = "nothing is lost: see ", Command("status"), ", then run this again"
            raise ServerError(msg, hint)

    def _drain(self) -> None:
        """Wait a few seconds for answers; nothing after a failed batch can be committed."""
        ends_s = time.monotonic() + _DRAIN_S
        while self._sent and not self._sent[0].has_failed:
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                return
            self._settle(wait_s=min(left_s, _POLL_S))

    def _forget(self, partitions: Iterable[int]) -> None:
        """Drop the uncommitted offsets of these partitions: another member reads them again."""
        for partition in partitions:
            self._report.settled.pop(partition, None)
            self._report.lag.pop(partition, None)
            for each in self._sent:
                each.next_offsets.pop(partition, None)
                each.oldest_ms.pop(partition, None)

    def _leave(self) -> None:
        """Commit what is answered in time, and leave the group; the rest is read again."""
        self._on_bulk = None  # the caller wants the run to end and needs no more callbacks
        try:
            with suppress(KeyboardInterrupt):  # pressed again: do not wait for answers
                self._drain()
        finally:
            self._reader.close()
            self._report.settled.clear()  # the partitions now belong to another member
            self._report.in_flight = 0
            self._report.seconds = time.monotonic() - self._started_s


def _sort(messages: Iterable[Message]) -> Batch:
    """Sort messages into bulk actions and dead letters."""
    batch = Batch([], [], [])
    for message in messages:
        try:
            batch.actions.append(bulk_action(message.value()))
        except EventError as error:
            batch.dead.append((message, type(error).__name__, str(error)))
        else:
            batch.messages.append(message)
    return batch


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Make Python search for reference cycles once per thousands of messages, not hundreds.

    Messages form no cycles, and the search took a sixth of the consumer's CPU.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], _COLLECT_EVERY), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
