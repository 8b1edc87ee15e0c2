"""Messages → documents: poll, bulk, then commit; what can never be a document, to dead letters.

Promise: at least once from topic to index, exactly once in effect. Every message below a
committed offset is stored under its event's own id, or acknowledged by the dead-letter
topic. A document that is there already is refused by OpenSearch (409) and counted as
replayed, so going over a topic again doubles nothing.

One thread polls and keeps the ledger; two send bulk requests. What is in memory is
bounded: two bulks in flight, one next in line, and Kafka's own fetch queue.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clickstream import events, index, topics
from clickstream.bulks import Batch, BulkSender, IndexReport
from clickstream.errors import BulkError, EventError, Interrupted, ServerError, command
from clickstream.ledger import Ledger, Span
from clickstream.settings import KafkaSettings, Settings

logger = logging.getLogger(__name__)

BULK_DOCUMENTS = 2_000
BULKS_IN_FLIGHT = 2
"""More senders gain nothing against a server on the same two cores, and cost memory."""

STRANGERS_LIMIT = 100
"""So many messages in a row that are no events: the topic is somebody else's."""

_POLL_S = 0.1
_PAUSE_AFTER_S = 1.0
_DRAIN_S = 4.0
_COMMIT_EVERY_MS = 500
_COLLECT_EVERY = 10_000


def index_topic(
    settings: Settings,
    *,
    until_caught_up: bool = False,
    patience_s: float | None = None,
    stop: threading.Event | None = None,
    on_bulk: Callable[[IndexReport], None] | None = None,
) -> IndexReport:
    """Index the topic's messages as a member of the consumer group, until told to stop.

    Delivery is the promise at the head of this module. OpenSearch out of reach, overloaded
    or read-only is waited for as long as it takes, with growing jittered waits, and only
    what was rejected is sent again. Topic and index must exist.

    Args:
        settings: where from, where to, and as which group.
        until_caught_up: end when the group has committed all that lay in the topic at the
            start; with nobody producing that is a lag of 0.
        patience_s: give up when OpenSearch has taken nothing for so long; by default never.
        stop: set it to stop within 5 s, with everything acknowledged committed.
        on_bulk: called after every bulk with the report so far.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer, or OpenSearch took nothing for `patience_s`.
        BulkError: OpenSearch refuses to work with us, or the topic holds no events of ours.
        DeliveryError: the dead-letter topic takes nothing; the offset stands still.
        Interrupted: by the notebook's stop button; everything acknowledged is committed.
    """
    caught_up = _CaughtUp(settings.kafka)  # fails early, and clearly, without Kafka or topic
    if until_caught_up and caught_up.is_so:
        return IndexReport(settings.opensearch.index)
    with _seldom_collecting():
        indexer = _Indexer(settings, stop or threading.Event(), patience_s, on_bulk)
        return indexer.run(caught_up if until_caught_up else None)


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
        stop: threading.Event,
        patience_s: float | None,
        on_bulk: Callable[[IndexReport], None] | None,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._patience_s = patience_s
        self._on_bulk = on_bulk
        self._ledger = Ledger()
        self._in_flight: deque[tuple[list[Span], Future[IndexReport]]] = deque()
        self._strangers = 0
        self._started_s = self._progress_s = time.monotonic()
        self.report = IndexReport(settings.opensearch.index)
        self._sender = BulkSender(settings, num_threads=BULKS_IN_FLIGHT)
        self._consumer = Consumer(
            settings.kafka.client_config()
            | {
                "group.id": settings.kafka.group_id,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": False,
                # Only what the ledger says is settled is ever stored, hence committed.
                "enable.auto.offset.store": False,
                # A partition may end in a marker of a transaction, which is never delivered.
                "enable.partition.eof": True,
                "auto.commit.interval.ms": _COMMIT_EVERY_MS,
                "partition.assignment.strategy": "cooperative-sticky",
                # A killed member's partitions come free after six seconds, not 45.
                "session.timeout.ms": 6_000,
                "heartbeat.interval.ms": 2_000,
                "queued.max.messages.kbytes": 32_768,
                "fetch.queue.backoff.ms": 50,
            }
        )

    def run(self, caught_up: _CaughtUp | None) -> IndexReport:
        was_interrupted = False
        self._consumer.subscribe(
            [self._settings.kafka.topic], on_revoke=self._on_revoke, on_lost=self._on_lost
        )
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

    def _loop(self, caught_up: _CaughtUp | None) -> None:
        while not self._stop.is_set():
            messages = self._consumer.consume(BULK_DOCUMENTS, timeout=_POLL_S)
            batch, spans = self._sort(messages)
            if batch.actions or batch.dead:
                self._make_room()
                if not self._in_flight:
                    self._progress_s = time.monotonic()
                self._in_flight.append((spans, self._sender.submit(batch)))
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

    def _commit(self) -> None:
        """Commit now what was stored, in place of up to half a second later."""
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as exception:
            # Without news there is nothing to commit; other trouble librdkafka meets again.
            if exception.args[0].code() != KafkaError._NO_OFFSET:
                logger.warning("kafka did not commit error=%r", exception.args[0].str())

    def _sort(self, messages: Sequence[Message]) -> tuple[Batch, list[Span]]:
        """Sort messages into actions and dead letters, and note them as delivered."""
        batch = Batch([], [], [])
        ends: dict[int, int] = {}
        for message in messages:
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    ends[message.partition()] = message.offset()
                else:
                    self._on_error(error)
                continue
            ends[message.partition()] = message.offset() + 1
            try:
                batch.actions.append(_action(message.value()))
            except EventError as error:
                self._strangers += 1
                batch.dead.append((message, type(error).__name__, str(error)))
            else:
                self._strangers = 0
                batch.messages.append(message)
            if self._strangers >= STRANGERS_LIMIT:
                msg = (
                    f"topic {self._settings.kafka.topic!r}: {STRANGERS_LIMIT} messages in a row "
                    f"are no events of this kit (last: {batch.dead[-1][2]}); it is somebody "
                    f"else's topic; name another, or {command('reset --yes')} if it is yours"
                )
                raise BulkError(msg)
        return batch, [self._ledger.deliver(i, end) for i, end in ends.items()]

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            msg = (
                f"reading topic {self._settings.kafka.topic!r}: Kafka answered {error.str()!r}; "
                f"see {command('status')}, then start the consumer again: nothing is lost"
            )
            raise ServerError(msg)
        logger.warning("kafka reported error=%r, librdkafka retries", error.str())

    def _make_room(self) -> None:
        """Wait until one bulk at most stands in line, so that no sender ever waits for one.

        Keeps polling if it takes long, to keep the seat in the group.
        """
        waited_from_s = time.monotonic()
        is_paused = False
        while len(self._in_flight) > BULKS_IN_FLIGHT and not self._stop.is_set():
            self._settle(wait_s=_POLL_S)
            if not is_paused and time.monotonic() - waited_from_s > _PAUSE_AFTER_S:
                self._consumer.pause(self._consumer.assignment())
                is_paused = True
            if is_paused and (message := self._consumer.poll(0)) is not None:
                if (error := message.error()) is not None:
                    if error.code() != KafkaError._PARTITION_EOF:
                        self._on_error(error)
                    continue
                # Paused partitions bring none; one that was just assigned may.
                self._consumer.seek(
                    TopicPartition(message.topic(), message.partition(), message.offset())
                )
                self._consumer.pause(self._consumer.assignment())
        if is_paused:
            self._consumer.resume(self._consumer.assignment())

    def _settle(self, *, wait_s: float) -> None:
        """Take in the answers that have come, in any order, and store what may be committed."""
        if wait_s:
            wait([future for _, future in self._in_flight], wait_s, FIRST_COMPLETED)
        parts = []
        for each in [each for each in self._in_flight if each[1].done()]:
            self._in_flight.remove(each)
            spans, future = each
            parts.append(future.result())
            for span in spans:
                span.is_settled = True
        if marks := self._ledger.committable():
            topic = self._settings.kafka.topic
            stored = [TopicPartition(topic, i, offset) for i, offset in marks.items()]
            self._consumer.store_offsets(offsets=stored)
        for part in parts:
            self._count(part)
        waited_s = time.monotonic() - self._progress_s
        if self._in_flight and self._patience_s is not None and waited_s > self._patience_s:
            msg = (
                f"indexing into {self.report.index!r}: OpenSearch has taken nothing for "
                f"{waited_s:.0f} s ({self.report.messages:,} messages settled before); nothing is "
                f"lost: see {command('status')}, then run this again"
            )
            raise ServerError(msg)

    def _count(self, part: IndexReport) -> None:
        report = self.report
        report.add(part)
        self._progress_s = time.monotonic()
        report.seconds = self._progress_s - self._started_s
        logger.info(
            "bulk indexed index=%s stored=%d replayed=%d dead_lettered=%d retried=%d took_s=%.3f",
            *(part.index, part.stored, part.replayed, part.dead_lettered, part.retried),
            part.seconds,
        )
        if self._on_bulk is not None:
            self._on_bulk(report)

    def _drain(self, deadline_s: float) -> None:
        while self._in_flight and (left_s := deadline_s - time.monotonic()) > 0:
            self._settle(wait_s=min(left_s, _POLL_S))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._drain(time.monotonic() + _DRAIN_S)
        self._ledger.forget(each.partition for each in partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Somebody else has them already: nothing may be committed any more.
        self._ledger.forget(each.partition for each in partitions)

    def _leave(self) -> None:
        """Take in what is answered in time, commit that, and go; the rest stays uncommitted."""
        self._on_bulk = None  # nobody is to be told any more
        try:
            with suppress(KeyboardInterrupt):  # pressed again: do not wait for answers
                self._drain(time.monotonic() + _DRAIN_S)
        finally:
            self._in_flight.clear()
            self._consumer.close()  # commits what was stored, and leaves the group
            self._sender.close()
            self.report.seconds = time.monotonic() - self._started_s


class _CaughtUp:
    """Has the group committed all that lay in the topic when this was made?"""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        found = topics.partitions(settings)
        self._goal = {each.partition: each.end_offset for each in found}
        self.is_so = not any(each.lag for each in found)
        self._asked_s = time.monotonic()

    def now(self, *, is_idle: bool) -> bool:
        """Ask again, if the last answer is old; live traffic keeps a consumer from idling."""
        if not self.is_so and time.monotonic() - self._asked_s > (0.1 if is_idle else 1.0):
            self._asked_s = time.monotonic()
            self.is_so = all(
                each.end_offset - each.lag >= self._goal.get(each.partition, 0)
                for each in topics.partitions(self._settings)
            )
        return self.is_so


def _action(value: bytes | None) -> bytes:
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
