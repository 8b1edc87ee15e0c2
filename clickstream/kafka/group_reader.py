"""A member of a Kafka consumer group: read, keep the seat, commit, leave.

What librdkafka and the group protocol ask of a member is here, so that `consumer.py` can be
read as an algorithm. Nothing here knows of events or of OpenSearch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from clickstream.errors import Command, ServerError
from clickstream.settings import KafkaSettings

logger = logging.getLogger(__name__)

Offsets = dict[int, int]
"""By partition: the offset after the last message, which is what Kafka commits."""

PROPERTIES = {
    "auto.offset.reset": "earliest",
    "allow.auto.create.topics": False,
    # Only what `store` is given is ever committed.
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

_PAUSE_AFTER_S = 1.0
"""A pause throws away what was read ahead, so a short wait does without one."""
_CLOSE_S = 4.0


@dataclass
class Polled:
    """What one poll brought, in the order of offsets within each partition."""

    messages: list[Message] = field(default_factory=list)
    first: dict[int, Message] = field(default_factory=dict)
    """By partition, the first of the messages."""
    next_offsets: Offsets = field(default_factory=dict)
    """To be committed once all of it is dealt with; also of a partition that only told its end."""


class GroupReader:
    """One member of the group; the thread that polls owns it.

    Promise: every partition that is assigned to this member is read, whatever was paused,
    taken away and given back before; and no offset is committed that `store` was not given.

    Args:
        settings: topic and group.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._topic = settings.topic
        self._assigned: set[int] = set()
        self._paused: set[int] = set()
        self._early: list[Message] = []
        """Delivered by `keep_seat`, where none was wanted; the next poll begins with them."""
        self._position: Offsets = {}
        self._polled_s = time.monotonic()
        self._is_leaving = False
        group = {"group.id": settings.group_id}
        self._consumer = Consumer(settings.client_config() | PROPERTIES | group)

    def join(
        self, *, before_handover: Callable[[], None], forget: Callable[[Iterable[int]], None]
    ) -> None:
        """Join the group; partitions are assigned, and taken away, while this member polls.

        Args:
            before_handover: called when partitions are about to be taken away. Offsets that
                are stored when it returns are committed first.
            forget: called with partitions of which no offset that was polled before may be
                stored any more: they are another member's, or their topic was made anew.
        """
        self._before_handover, self._forget_offsets = before_handover, forget
        self._consumer.subscribe([self._topic], self._on_assign, self._on_revoke, self._on_lost)

    def poll(self, most: int, timeout_s: float) -> Polled:
        """Take up to so many messages of the partitions that are assigned now.

        Raises:
            ServerError: the topic is gone, or Kafka has excluded this member for good.
        """
        self._read_on()
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
                continue  # taken away while this poll was under way: the next owner reads it
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

    def keep_seat(self) -> None:
        """Let Kafka know that this member lives, in place of a poll, and take nothing.

        Partitions that were assigned since the last call are paused before any is read.
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
        if error is None or self._is_end(error):  # of a partition assigned in this very poll
            self._early.append(message)

    def store(self, offsets: Offsets, metadata: str) -> None:
        """Let these be committed within half a second, with a text beside them."""
        places = [TopicPartition(self._topic, i, end, metadata) for i, end in offsets.items()]
        try:
            self._consumer.store_offsets(offsets=places)
        except KafkaException as exception:
            if exception.args[0].code() != KafkaError._STATE:
                raise
            # Taken away this moment: another member goes on from what was committed.
            logger.warning("no longer assigned topic=%s partitions=%s", self._topic, list(offsets))

    def commit(self) -> None:
        """Commit at once what was stored, and do not wait for the answer."""
        try:
            self._consumer.commit(asynchronous=True)  # a Kafka that hangs holds up nothing
        except KafkaException as exception:
            # Without news there is nothing to commit; other trouble librdkafka meets again.
            if exception.args[0].code() != KafkaError._NO_OFFSET:
                logger.warning("kafka did not commit error=%r", exception.args[0].str())

    def end_offset(self, partition: int) -> int:
        """Give the end of a partition as Kafka's latest answers told it: asking costs nothing."""
        place = TopicPartition(self._topic, partition)
        _, end = self._consumer.get_watermark_offsets(place, cached=True)
        return int(end)

    def close(self) -> None:
        """Commit what was stored, and leave the group; neither callback is called any more.

        A Kafka that hangs would hold it up for a minute: after four seconds this returns, and
        the group finds out by itself.
        """
        self._is_leaving = True
        if not within(_CLOSE_S, self._consumer.close):
            logger.warning("kafka does not answer, left without it topic=%s", self._topic)

    def _read_on(self) -> None:
        """Read again what `keep_seat` paused."""
        if self._paused:
            self._consumer.resume([TopicPartition(self._topic, i) for i in self._paused])
            self._paused.clear()

    def _is_end(self, error: KafkaError) -> bool:
        """Say whether it is a partition's end; other errors pass by themselves, or are raised."""
        if error.code() == KafkaError._PARTITION_EOF:
            return True
        if error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            msg = f"reading topic {self._topic!r}: Kafka answered {error.str()!r}"
            raise ServerError(
                msg, ("see ", Command("status"), ", then start the consumer again: nothing is lost")
            )
        logger.warning("kafka reported error=%r, librdkafka retries", error.str())
        return False

    def _check_position(self, partition: int, offset: int) -> None:
        if offset < self._position.get(partition, 0):
            # The topic was deleted and made again: what was polled from the old one says
            # nothing about the offsets of the new one.
            logger.warning("offsets begin anew topic=%s partition=%d", self._topic, partition)
            self._forget_offsets([partition])

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # librdkafka keeps a pause while the partition is another's: what comes back would never
        # be read again.
        consumer.resume(partitions)
        self._assigned.update(each.partition for each in partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._is_leaving:
            return
        # Whatever ends the wait, the stop button too: Kafka takes no offset of theirs any more.
        try:
            self._before_handover()
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


def within(seconds: float, work: Callable[[], object]) -> bool:
    """Call it in a thread of its own, wait so long at most, and say whether it has ended.

    One that hangs goes on in the background, and ends with the process.
    """
    thread = threading.Thread(target=work, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # Python 3.12 starts no thread any more when it is ending
        work()
        return True
    thread.join(seconds)
    return not thread.is_alive()
