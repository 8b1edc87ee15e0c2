"""Messages → documents: poll, index in bulk, then commit.

    poll ──▶ sort ──▶ bulk requests, four side by side ──▶ OpenSearch
               └────▶ dead letters ──▶ Kafka                  │
    commit ◀── in the order of the polls ◀── answers ◀────────┘

Promise: at least once from topic to index, exactly once in effect. Every message below a
committed offset is stored under its event's own id, or acknowledged by the dead-letter
topic. A document that is there already is refused by OpenSearch (409) and counted as
replayed, so going over a topic again doubles nothing.

One thread polls and commits; four send bulk requests. What is in memory is bounded, in
messages and in bytes: bulks in flight, one next in line, Kafka's fetch queue. What a killed
consumer leaves to be read again is bounded, too: `MOST_UNCOMMITTED` batches.
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
from clickstream.kafka.offsets import CaughtUp
from clickstream.opensearch.bulk_sender import Batch, BulkSender, action
from clickstream.opensearch.flood_guard import FloodGuard
from clickstream.reports import BatchReport, IndexReport, Lag
from clickstream.settings import Settings

logger = logging.getLogger(__name__)

BULK_DOCUMENTS = 4_000
BULKS_IN_FLIGHT = 4
"""Three keep a server on the same two cores busy; the fourth is there while Python is late."""

MOST_BYTES = 32_000_000
"""Of message values sent and not answered; one poll's worth may come on top."""

MOST_UNCOMMITTED = 32
"""Batches sent and not committed. Reached only where one of them is rejected again and again
while those behind it are stored."""

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
    """Index the topic's messages as a member of the consumer group, until told to stop.

    Delivery is the promise at the head of this module. OpenSearch out of reach, overloaded
    or read-only is waited for as long as it takes: one request at a time, with growing
    random waits, and only what was rejected is sent again. So is a Kafka that is away.
    Topic and index must exist.

    Args:
        settings: where from, where to, and as which group.
        until_caught_up: end when the group has committed all that lay in the topic at the
            start; with nobody producing that is a lag of 0.
        patience_s: give up when OpenSearch answered no bulk for so long; by default never.
        flood_guard: stop, and commit nothing more, where a twentieth of the latest 2,000
            messages, and a hundred at least, can never be documents.
        stop: set it to stop within 5 s (8 where Kafka hangs), with all that was acknowledged
            committed; but while members still join, Kafka takes no offset of one that leaves,
            and the next reads again what these cover.
        on_bulk: called after every bulk with the report so far.
        report: an empty one of the caller's, filled as it goes; any thread may look at it.
        bulk_documents: of one bulk request, at most.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer, its topic is gone, or no bulk was answered for
            `patience_s`.
        BulkError: OpenSearch refuses to work with us, or too much is poison.
        DeliveryError: the dead-letter topic refuses letters; the offset stands still.
        Interrupted: by the notebook's stop button; everything acknowledged is committed.
    """
    report = report or IndexReport(index=settings.opensearch.index)
    stop = stop or threading.Event()
    guard = FloodGuard(settings.kafka.topic) if flood_guard else None

    def run(goal: CaughtUp | None) -> None:
        with (
            _seldom_collecting(),
            closing(DeadLetters(settings.kafka)) as dead_letters,
            closing(
                BulkSender(
                    settings.opensearch,
                    dead_letters,
                    num_threads=BULKS_IN_FLIGHT,
                    flood_guard=guard,
                )
            ) as sender,
        ):
            reader = GroupReader(settings.kafka)
            indexer = _Indexer(reader, sender, report, bulk_documents, patience_s, on_bulk)
            indexer.run(stop, goal)

    with closing(CaughtUp(settings.kafka)) as goal:  # fails early without Kafka or topic
        if until_caught_up and not goal.is_so:
            run(goal)
    if not until_caught_up:
        run(None)
    return report


@dataclass
class _Sent:
    """A batch that was sent, and the offsets to commit once it and all before it are answered."""

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
    """One run of the consumer. All of it stays in the polling thread; only bulks leave it.

    Answers come in any order, and are counted as they come. Offsets are committed in the order
    of the polls, so that none passes a message that is neither stored nor dead-lettered.
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
        """In the order of the polls; a batch leaves it when its offsets are committed."""
        self._started_s = self._progress_s = time.monotonic()

    def run(self, stop: threading.Event, goal: CaughtUp | None) -> None:
        was_interrupted = False
        self._reader.join(before_handover=self._drain, forget=self._forget)
        try:
            self._loop(stop, goal)
        except KeyboardInterrupt:
            was_interrupted = True
        finally:
            self._leave()
        self._raise_failure()  # of a batch that was answered while leaving
        if was_interrupted:
            msg = f"stopped by interrupt; {self._report}"
            raise Interrupted(msg, "run the cell again to go on")

    def _loop(self, stop: threading.Event, goal: CaughtUp | None) -> None:
        while not stop.is_set():
            self._raise_failure()
            self._check_patience()
            # Room before the poll: whatever is polled is sent at once, before a rebalance can
            # give its partition to another member.
            if not self._has_room():
                self._reader.keep_seat()
                self._settle(wait_s=_POLL_S)
                continue
            polled = self._reader.poll(self._bulk_documents, _POLL_S)
            self._send(polled)
            self._settle()
            is_idle = not polled.messages and not self._sent
            if goal is not None and self._has_reached(goal, is_idle=is_idle):
                return

    def _has_room(self) -> bool:
        """Say whether to poll again: one bulk at most stands in line, so that no sender waits."""
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
        """Commit the ends of partitions that brought no message, after all that was sent."""
        if self._sent:
            self._sent[-1].next_offsets.update(ends)
        elif ends:
            self._store(ends)
            self._report.lag = self._lag()

    def _settle(self, *, wait_s: float = 0) -> None:
        """Count what was answered, in any order; store the offsets whose turn it is."""
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
        for each in answered:  # last, since what the caller does there may raise
            self._publish(each.answer.result())

    def _count(self, sent: _Sent) -> None:
        sent.is_counted = True
        self._report.take(sent.answer.result())
        self._report.in_flight -= sent.num_messages
        self._progress_s = time.monotonic()
        self._report.seconds = self._progress_s - self._started_s

    def _store(self, offsets: Offsets) -> None:
        """Have these committed, within half a second, with the report beside them."""
        if offsets:  # none, where all of its partitions were handed over meanwhile
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
        """Raise the error of a batch that failed, wherever it stands in the order."""
        for each in self._sent:
            if each.has_failed:
                each.answer.result()

    def _check_patience(self) -> None:
        waited_s = time.monotonic() - self._progress_s
        if self._sent and self._patience_s is not None and waited_s > self._patience_s:
            msg = (
                f"indexing into {self._report.index!r}: nothing was taken for {waited_s:.0f} s "
                f"({self._report.messages:,} messages settled before)"
            )
            raise ServerError(
                msg, ("nothing is lost: see ", Command("status"), ", then run this again")
            )

    def _has_reached(self, goal: CaughtUp, *, is_idle: bool) -> bool:
        if is_idle:
            self._reader.commit()  # in place of up to half a second later
        return goal.now(is_idle=is_idle)

    def _drain(self) -> None:
        """Wait for answers, for a few seconds; behind a failure nothing can be committed."""
        ends_s = time.monotonic() + _DRAIN_S
        while self._sent and not self._sent[0].has_failed:
            left_s = ends_s - time.monotonic()
            if left_s <= 0:
                return
            self._settle(wait_s=min(left_s, _POLL_S))

    def _forget(self, partitions: Iterable[int]) -> None:
        """Commit nothing that was polled of these until now: another member reads it again."""
        for partition in partitions:
            self._report.settled.pop(partition, None)
            self._report.lag.pop(partition, None)
            for each in self._sent:
                each.next_offsets.pop(partition, None)
                each.oldest_ms.pop(partition, None)

    def _leave(self) -> None:
        """Commit what is answered in time, and leave the group; the rest is read again."""
        self._on_bulk = None  # the caller wants it to end, and no more news
        try:
            with suppress(KeyboardInterrupt):  # pressed again: do not wait for answers
                self._drain()
        finally:
            self._reader.close()
            self._report.settled.clear()  # the partitions are another member's from now on
            self._report.in_flight = 0
            self._report.seconds = time.monotonic() - self._started_s


def _sort(messages: Iterable[Message]) -> Batch:
    """Sort messages into bulk actions and dead letters."""
    batch = Batch([], [], [])
    for message in messages:
        try:
            batch.actions.append(action(message.value()))
        except EventError as error:
            batch.dead.append((message, type(error).__name__, str(error)))
        else:
            batch.messages.append(message)
    return batch


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """Let Python look for reference cycles once in thousands of messages, not in hundreds.

    Messages form none, and the search took a sixth of the consumer's CPU.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], _COLLECT_EVERY), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
