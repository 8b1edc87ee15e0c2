"""Messages → documents: poll, bulk, then commit; what can never be a document, to dead letters.

Promise: at least once from topic to index, exactly once in effect. Every message below a
committed offset is stored under its event's own id, or acknowledged by the dead-letter
topic. A document that is there already is refused by OpenSearch (409) and counted as
replayed, so going over a topic again doubles nothing.

One thread polls and keeps the ledger; four send bulk requests. What is in memory is
bounded, in messages and in bytes: bulks in flight, one next in line, Kafka's fetch queue.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clickstream.errors import ClickstreamError, EventError, Interrupted, ServerError, command
from clickstream.kafka import offsets as depth
from clickstream.ledger import Ledger, Span
from clickstream.opensearch.bulk_sender import Batch, BulkSender, action
from clickstream.reports import BatchReport, IndexReport, Lag
from clickstream.settings import Settings
from clickstream.widgets import workers

logger = logging.getLogger(__name__)

BULK_DOCUMENTS = 4_000
BULKS_IN_FLIGHT = 4
"""Three keep a server on the same two cores busy; the fourth is there while Python is late."""

MOST_BYTES = 32_000_000
"""Of message values handed on and not settled; one poll's worth may come on top."""

_POLL_S = 0.1
_PAUSE_AFTER_S = 1.0
_DRAIN_S = 4.0
_CLOSE_S = 4.0
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
        patience_s: give up when nothing was settled for so long; by default never.
        flood_guard: stop, and commit nothing more, where a twentieth of the latest 2,000
            messages, and a hundred at least, can never be documents.
        stop: set it to stop within 5 s (8 where Kafka hangs), with all that was acknowledged
            committed; but while members still join, Kafka takes no offset of who leaves, and
            the next reads again what these cover.
        on_bulk: called after every bulk with the report so far.
        report: an empty one of the caller's, filled as it goes; any thread may look at it.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer, its topic is gone, or nothing was settled for
            `patience_s`.
        BulkError: OpenSearch refuses to work with us, or too much is poison.
        DeliveryError: the dead-letter topic refuses letters; the offset stands still.
        Interrupted: by the notebook's stop button; everything acknowledged is committed.
    """
    caught_up = depth.CaughtUp(settings.kafka)  # fails early, and clearly, without Kafka or topic
    report = report or IndexReport(index=settings.opensearch.index)
    if until_caught_up and caught_up.is_so:
        return report
    with _seldom_collecting():
        sender = BulkSender(settings, num_threads=BULKS_IN_FLIGHT, flood_guard=flood_guard)
        try:
            stop = stop or threading.Event()
            indexer = _Indexer(settings, sender, stop, patience_s, on_bulk, report)
            return indexer.run(caught_up if until_caught_up else None)
        finally:
            sender.close()


PROPERTIES = {
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
    # Only what the ledger says is settled is ever stored, hence committed.
    "enable.auto.offset.store": False,
    # A partition may end in a marker of a transaction, which is never delivered.
    "enable.partition.eof": True,
    "auto.commit.interval.ms": 500,
    "partition.assignment.strategy": "cooperative-sticky",
    # A killed member's partitions come free after six seconds, not 45.
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 2_000,
    # What Kafka's client reads ahead: enough for two polls. More costs memory, and CPU,
    # since it is out of the processor's cache again when its turn comes.
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 32_768,
    "fetch.queue.backoff.ms": 20,
}
"""librdkafka's own property names, on top of `KafkaSettings.client_config`."""


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


class _Indexer:
    """One run of the consumer. All of it stays in the polling thread; only bulks leave it."""

    def __init__(
        self,
        settings: Settings,
        sender: BulkSender,
        stop: threading.Event,
        patience_s: float | None,
        on_bulk: Callable[[IndexReport], None] | None,
        report: IndexReport,
    ) -> None:
        self._topic = settings.kafka.topic
        self._sender, self._stop, self.report = sender, stop, report
        self._patience_s, self._on_bulk = patience_s, on_bulk
        self._ledger = Ledger()
        self._in_flight: deque[_InFlight] = deque()
        self._ours: set[int] = set()
        self._paused: set[int] = set()
        self._early: list[Message] = []
        """Delivered while nothing was wanted; the next poll begins with them."""
        self._delivered: dict[int, int] = {}
        self._started_s = self._progress_s = time.monotonic()
        group = {"group.id": settings.kafka.group_id}
        self._consumer = Consumer(settings.kafka.client_config() | PROPERTIES | group)

    def run(self, caught_up: depth.CaughtUp | None) -> IndexReport:
        was_interrupted = False
        self._consumer.subscribe([self._topic], self._on_assign, self._on_revoke, self._on_lost)
        try:
            self._loop(caught_up)
        except KeyboardInterrupt:
            was_interrupted = True
        finally:
            self._leave()
        if was_interrupted:
            msg = f"stopped by interrupt; {self.report}; run the cell again to go on"
            raise Interrupted(msg)
        return self.report

    def _loop(self, caught_up: depth.CaughtUp | None) -> None:
        while not self._stop.is_set():
            messages = self._poll()
            batch, spans = self._sort(messages)
            if batch.actions or batch.dead:
                self._make_room(batch.bytes)
                if not self._in_flight:
                    self._progress_s = time.monotonic()
                self.report.in_flight += batch.num_messages
                self._in_flight.append(_InFlight(batch, spans, self._sender.submit(batch)))
            else:
                for span in spans:
                    span.is_settled = True
            self._settle(wait_s=0)
            if caught_up is not None:
                is_idle = not messages and not self._in_flight
                if is_idle:
                    self._commit()
                if caught_up.now(is_idle=is_idle):
                    return

    def _poll(self) -> list[Message]:
        messages: list[Message] = self._consumer.consume(BULK_DOCUMENTS, timeout=_POLL_S)
        early, self._early = self._early, []
        return early + messages

    def _commit(self) -> None:
        """Commit now what was stored, in place of up to half a second later."""
        try:
            self._consumer.commit(asynchronous=True)  # a Kafka that hangs holds up nothing
        except KafkaException as exception:
            # Without news there is nothing to commit; other trouble librdkafka meets again.
            if exception.args[0].code() != KafkaError._NO_OFFSET:
                logger.warning("kafka did not commit error=%r", exception.args[0].str())

    def _sort(self, messages: Sequence[Message]) -> tuple[Batch, list[Span]]:
        """Sort messages into actions and dead letters, and note them as delivered."""
        batch = Batch([], [], [])
        ends: dict[int, int] = {}
        oldest_ms: dict[int, int] = {}
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                self._on_error(error)
                continue
            partition, offset = message.partition(), message.offset()
            if partition not in self._ours:
                continue  # revoked while this poll was under way: the next owner reads it
            if error is not None:
                ends[partition] = offset
                continue
            if partition not in oldest_ms:
                oldest_ms[partition] = message.timestamp()[1]
                self._note_start(partition, offset)
            ends[partition] = offset + 1
            try:
                batch.actions.append(action(message.value()))
            except EventError as error:
                batch.dead.append((message, type(error).__name__, str(error)))
            else:
                batch.messages.append(message)
        self._delivered |= ends
        return batch, [self._ledger.deliver(i, end, oldest_ms.get(i, 0)) for i, end in ends.items()]

    def _note_start(self, partition: int, offset: int) -> None:
        if offset < self._delivered.get(partition, 0):
            # The topic was deleted and made again: what was taken from the old one and
            # settles now says nothing about the offsets of the new one.
            logger.warning("offsets begin anew topic=%s partition=%d", self._topic, partition)
            self._forget([partition])
        self.report.settled.setdefault(partition, offset)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            msg = (
                f"reading topic {self._topic!r}: Kafka answered {error.str()!r}; "
                f"see {command('status')}, then start the consumer again: nothing is lost"
            )
            raise ServerError(msg)
        logger.warning("kafka reported error=%r, librdkafka retries", error.str())

    def _make_room(self, num_bytes: int) -> None:
        """Wait until one bulk at most stands in line, so that no sender ever waits for one.

        Keeps polling if it takes long, to keep the seat in the group.
        """
        waited_from_s = time.monotonic()
        while self._is_full(num_bytes) and not self._stop.is_set():
            self._settle(wait_s=_POLL_S)
            if time.monotonic() - waited_from_s > _PAUSE_AFTER_S:
                self._keep_seat()
        self._read_on()

    def _keep_seat(self) -> None:
        """Poll, so that Kafka does not think this member is stuck, and want no messages.

        Whatever was assigned since the last call is paused before the poll.
        """
        reading = [
            each for each in self._consumer.assignment() if each.partition not in self._paused
        ]
        if reading:
            self._consumer.pause(reading)
            self._paused.update(each.partition for each in reading)
        message = self._consumer.poll(0)
        if message is None:
            return
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            self._on_error(error)
        else:  # assigned in this very poll
            self._early.append(message)

    def _read_on(self) -> None:
        """Read all that is ours again, after `_keep_seat`."""
        if self._paused:
            self._consumer.resume([TopicPartition(self._topic, i) for i in self._paused])
            self._paused.clear()

    def _is_full(self, num_bytes: int) -> bool:
        if len(self._in_flight) > BULKS_IN_FLIGHT:
            return True
        held = sum(each.batch.bytes for each in self._in_flight)
        return held > 0 and held + num_bytes > MOST_BYTES

    def _settle(self, *, wait_s: float) -> None:
        """Take in the answers that have come, in any order, and store what may be committed."""
        if wait_s:
            wait([each.future for each in self._in_flight], wait_s, FIRST_COMPLETED)
        parts, failure = [], None
        for each in [each for each in self._in_flight if each.future.done()]:
            self._in_flight.remove(each)
            if (error := each.future.exception()) is not None:
                failure = failure or error
                continue
            parts.append(each.future.result())
            for span in each.spans:
                span.is_settled = True
        for part in parts:
            self.report.take(part)
        if parts:
            self._progress_s = time.monotonic()
            self.report.seconds = self._progress_s - self._started_s
            self.report.in_flight = sum(each.batch.num_messages for each in self._in_flight)
        if marks := self._ledger.committable():
            self._store(marks)
        for part in parts:
            self._tell(part)
        if failure is not None:
            raise failure
        waited_s = time.monotonic() - self._progress_s
        if self._in_flight and self._patience_s is not None and waited_s > self._patience_s:
            msg = (
                f"indexing into {self.report.index!r}: nothing was taken for "
                f"{waited_s:.0f} s ({self.report.messages:,} messages settled before); nothing is "
                f"lost: see {command('status')}, then run this again"
            )
            raise ServerError(msg)

    def _store(self, marks: dict[int, int]) -> None:
        """Let librdkafka commit these, soon, with the report beside them."""
        self.report.settled |= marks
        self.report.lag = self._lag()
        told = self.report.as_metadata()
        offsets = [TopicPartition(self._topic, i, end, told) for i, end in marks.items()]
        try:
            self._consumer.store_offsets(offsets=offsets)
        except KafkaException as exception:
            if exception.args[0].code() != KafkaError._STATE:
                raise
            # Taken away this moment: another member goes on from what was committed.
            logger.warning("not ours any more topic=%s partitions=%s", self._topic, list(marks))

    def _lag(self) -> dict[int, Lag]:
        """By partition, from what the latest answers of Kafka said: asking costs nothing."""
        found, now_ms = {}, time.time() * 1000
        for i, mark in self.report.settled.items():
            _, end = self._consumer.get_watermark_offsets(
                TopicPartition(self._topic, i), cached=True
            )
            oldest_ms = self._ledger.oldest_ms(i)
            age_s = 0.0 if oldest_ms is None else max(0.0, (now_ms - oldest_ms) / 1000)
            found[i] = Lag(max(0, end - mark), age_s)
        return found

    def _tell(self, part: BatchReport) -> None:
        if logger.isEnabledFor(logging.INFO):
            logger.info("bulk indexed %s", self.report.line(part))
        if self._on_bulk is not None:
            self._on_bulk(self.report)

    def _drain(self, deadline_s: float) -> None:
        while self._in_flight and (left_s := deadline_s - time.monotonic()) > 0:
            self._settle(wait_s=min(left_s, _POLL_S))

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # librdkafka keeps a pause while the partition is another's: what comes back would never
        # be read again.
        consumer.resume(partitions)
        self._ours.update(each.partition for each in partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Whatever ends the wait, the stop button too: Kafka takes no offset of theirs any more.
        try:
            self._drain(time.monotonic() + _DRAIN_S)
        finally:
            self._on_lost(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Somebody else has them already: nothing may be committed any more.
        gone = {each.partition for each in partitions}
        self._ours -= gone
        self._paused -= gone
        self._early = [each for each in self._early if each.partition() not in gone]
        self._forget(gone)

    def _forget(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            self._ledger.forget(partition)
            self._delivered.pop(partition, None)
            self.report.settled.pop(partition, None)
            self.report.lag.pop(partition, None)

    def _leave(self) -> None:
        """Take in what is answered in time, commit that, and go; the rest stays uncommitted."""
        self._on_bulk = None  # nobody is to be told any more
        failure: Exception | None = None
        deadline_s = time.monotonic() + _DRAIN_S
        try:
            with suppress(KeyboardInterrupt):  # pressed again: do not wait for answers
                while self._in_flight and time.monotonic() < deadline_s:
                    try:
                        self._drain(deadline_s)
                    except ClickstreamError as error:  # of one batch: others may be good
                        failure = failure or error
        finally:
            self._in_flight.clear()
            # Commits what was stored, and leaves the group. A Kafka that hangs would hold it
            # up for a minute; then the group finds out by itself.
            lag = self.report.lag.copy()  # as it stands at the end: leaving loses nothing
            has_left = workers.within(_CLOSE_S, self._consumer.close)
            self.report.lag = lag
            self.report.seconds = time.monotonic() - self._started_s
        if not has_left:
            logger.warning("kafka does not answer, left without it topic=%s", self._topic)
        if failure is not None:
            raise failure


class _InFlight(NamedTuple):
    """A batch on its way, and the spans that settle with it."""

    batch: Batch
    spans: list[Span]
    future: Future[BatchReport]
