"""A member of a Kafka consumer group: it reads, stays in the group, commits, and leaves.

This module handles librdkafka and the group protocol, so that `consumer.py` reads as an
algorithm. It does not know about events or OpenSearch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clickstream.errors import Command, ServerError
from clickstream.reports import this_consumer
from clickstream.settings import KafkaSettings

logger = logging.getLogger(__name__)

Offsets = dict[int, int]
"""By partition: the offset after the last message, which is the offset that Kafka commits."""

PROPERTIES = {
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
    # Only offsets passed to `store` are ever committed.
    "enable.auto.offset.store": False,
    # A partition may end with a transaction marker, which is never delivered.
    "enable.partition.eof": True,
    "auto.commit.interval.ms": 500,
    "partition.assignment.strategy": "cooperative-sticky",
    # The partitions of a killed member are reassigned after six seconds, not 45.
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 2_000,
    # The client reads ahead for two polls. More costs memory, and CPU, because the data has
    # left the processor's cache by the time we use it.
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 32_768,
    "fetch.queue.backoff.ms": 20,
}
"""librdkafka's own property names, on top of `KafkaSettings.client_config`."""

_PAUSE_AFTER_S = 1.0
"""A pause discards the messages read ahead, so a short wait does not pause."""
_CLOSE_S = 4.0


@dataclass
class Polled:
    """The result of one poll, in offset order within each partition."""

    messages: list[Message] = field(default_factory=list)
    first: dict[int, Message] = field(default_factory=dict)
    """The first message, by partition."""
    next_offsets: Offsets = field(default_factory=dict)
    """Offsets to commit after all messages are handled, including ends of partitions."""


class GroupReader:
    """One member of the group; the polling thread owns it.

    Promise: it reads every partition that is assigned to it, even one that was paused, revoked
    and assigned again; and it commits no offset that was not passed to `store`.

    Args:
        settings: topic and group.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._topic = settings.topic
        self._assigned: set[int] = set()
        self._paused: set[int] = set()
        self._early: list[Message] = []
        """Messages that arrived during `poll_paused`; the next poll returns them first."""
        self._position: Offsets = {}
        self._polled_s = time.monotonic()
        self._is_leaving = False
        # So that others can tell whose partitions they are.
        name = {"client.id": this_consumer()}
        group = {"group.id": settings.group_id}
        self._consumer = Consumer(name | settings.client_config() | PROPERTIES | group)

    def join(
        self, *, on_revoke: Callable[[], None], forget: Callable[[Iterable[int]], None]
    ) -> None:
        """Join the group; partitions are assigned and revoked while this member polls.

        Args:
            on_revoke: called before partitions are revoked. Offsets that are stored when
                it returns are committed first.
            forget: called with partitions whose earlier offsets must not be stored any more,
                because another member owns them or their topic was recreated.
        """
        self._before_revoke, self._forget_offsets = on_revoke, forget
        self._consumer.subscribe([self._topic], self._on_assign, self._on_revoke, self._on_lost)

    def poll(self, most: int, timeout_s: float) -> Polled:
        """Return up to `most` messages from the partitions that are assigned now.

        Raises:
            ServerError: the topic is gone, or librdkafka reports a fatal error.
        """
        if self._paused:
            self._consumer.resume([TopicPartition(self._topic, i) for i in self._paused])
            self._paused.clear()
        fetched = self._consumer.consume(most, timeout=timeout_s)
        self._polled_s = time.monotonic()
        early, self._early = self._early, []
        polled = Polled()
        for message in early + fetched:
            error = message.error()
            if error is not None and not self._is_end(error):
                continue
            partition, offset = message.partition(), message.offset()
            if partition not in self._assigned:
                continue  # revoked during this poll: the next owner reads it
            if error is not None:
                polled.next_offsets[partition] = offset
                continue
            if partition not in polled.first:
                polled.first[partition] = message
                self._check_position(partition, offset)
            polled.next_offsets[partition] = offset + 1
            polled.messages.append(message)
        self._position |= polled.next_offsets
        return polled

    def poll_paused(self) -> None:
        """Stay in the group without taking messages, instead of a poll.

        It also pauses partitions that were assigned since the last call.
        """
        if time.monotonic() - self._polled_s < _PAUSE_AFTER_S:
            return
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
        if error is None or self._is_end(error):  # from a partition assigned in this poll
            self._early.append(message)

    def store(self, offsets: Offsets, metadata: str) -> None:
        """Store offsets with metadata; librdkafka commits them within half a second."""
        places = [TopicPartition(self._topic, i, end, metadata) for i, end in offsets.items()]
        try:
            self._consumer.store_offsets(offsets=places)
        except KafkaException as exception:
            if exception.args[0].code() != KafkaError._STATE:
                raise
            # Just revoked: another member continues from the committed offset.
            logger.warning("no longer assigned topic=%s partitions=%s", self._topic, list(offsets))

    def commit(self) -> None:
        """Commit the stored offsets now, without waiting for the answer."""
        try:
            self._consumer.commit(asynchronous=True)  # does not block if Kafka hangs
        except KafkaException as exception:
            # No new offsets means nothing to commit; librdkafka retries after other errors.
            if exception.args[0].code() != KafkaError._NO_OFFSET:
                logger.warning("kafka did not commit error=%r", exception.args[0].str())

    def end_offset(self, partition: int) -> int:
        """Return the end offset from Kafka's latest fetch response, without a request."""
        place = TopicPartition(self._topic, partition)
        _, end = self._consumer.get_watermark_offsets(place, cached=True)
        return int(end)

    def close(self) -> None:
        """Commit the stored offsets and leave the group; it calls neither callback any more.

        A Kafka that hangs would block this for a minute. It returns after four seconds, and the
        group removes this member after the session timeout.
        """
        self._is_leaving = True
        if not run_with_timeout(_CLOSE_S, self._consumer.close):
            logger.warning(
                "kafka does not answer, leaving the group timed out topic=%s", self._topic
            )

    def _is_end(self, error: KafkaError) -> bool:
        """Say whether it is the end of a partition; raise errors that librdkafka does not retry."""
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        if error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            msg = f"reading topic {self._topic!r}: Kafka answered {error.str()!r}"
            status = Command("status")
            hint = "see ", status, ", then start the consumer again; nothing is lost"
            raise ServerError(msg, hint)
        logger.warning("kafka reported error=%r, librdkafka retries", error.str())
        return False

    def _check_position(self, partition: int, offset: int) -> None:
        if offset < self._position.get(partition, 0):
            # The topic was deleted and created again: offsets polled from the old topic do not
            # apply to the new one.
            logger.warning("offsets restarted topic=%s partition=%d", self._topic, partition)
            self._forget_offsets([partition])

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # librdkafka keeps a partition paused while another member owns it: without this, a
        # partition that comes back would never be read again.
        consumer.resume(partitions)
        self._assigned.update(each.partition for each in partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._is_leaving:
            return
        # Even after an interrupt: Kafka accepts no more offsets of these partitions.
        try:
            self._before_revoke()
        finally:
            self._on_lost(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._is_leaving:
            return
        gone = {each.partition for each in partitions}
        self._assigned -= gone
        self._paused -= gone
        self._early = [each for each in self._early if each.partition() not in gone]
        for partition in gone:
            self._position.pop(partition, None)
        self._forget_offsets(gone)


def run_with_timeout(timeout_s: float, work: Callable[[], object]) -> bool:
    """Run `work` in a thread, wait at most `timeout_s`, and say whether it has ended.

    Work that hangs continues in the background and ends with the process.
    """
    thread = threading.Thread(target=work, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # Python 3.12 cannot start a thread during shutdown
        work()
        return True
    thread.join(timeout_s)
    return not thread.is_alive()
