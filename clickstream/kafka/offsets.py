"""Offsets of a topic and its consumer group: the number of messages, and the lag.

Reading offsets never joins the group, so it cannot cause a rebalance. Each function opens a
connection for one request; `GroupOffsets` keeps its connection for repeated requests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from confluent_kafka import Consumer, TopicPartition

from clickstream import reports
from clickstream.errors import ServerError
from clickstream.kafka import messages
from clickstream.kafka.admin import Admin, Refused
from clickstream.kafka.dead_letters import DeadLetterCounter
from clickstream.reports import Member
from clickstream.settings import KafkaSettings

STALLED_S = 10.0
"""A committed offset that does not move for this long, while messages wait, is reported."""

_FIRST_OFFSETS_S = 5.0
"""First offsets are cached for this long: only retention and a recreated topic change them."""
_LOOK_EVERY_S = 0.5
_SLOW_S = 1.0
"""After this long without progress, Kafka is asked which member owns the partition."""

_Answer = TypeVar("_Answer")


def lag(first: int, end: int, committed: int | None) -> int:
    """Count the messages of a partition that a consumer group has not read yet.

    Args:
        first: the oldest offset that still exists.
        end: the offset that the next message will get.
        committed: the offset that the group will read next; None if it never committed, and
            then every message counts.

    Source: LAG in Kafka's consumer-groups tool (end offset minus committed offset), less the
    messages that retention has deleted.
    """
    return max(0, end - max(first, committed or 0))


@dataclass(frozen=True)
class Partition:
    """One partition of a topic as a consumer group sees it; offsets count messages."""

    partition: int
    first_offset: int
    end_offset: int
    """The offset that the next message will get."""
    committed_offset: int | None
    """The offset that the group will read next; None if it never committed, or committed only in
    a deleted topic of the same name."""
    lag: int
    """Messages that the group has not read yet; all of them if it never committed."""

    @property
    def next_offset(self) -> int:
        """The offset that the group reads next, whether it was committed or not."""
        return self.end_offset - self.lag


@dataclass(frozen=True)
class TopicOffsets:
    """Offsets of a topic, its consumer group and its dead letters, at one moment."""

    partitions: Sequence[Partition]
    dead_letters: int
    """Messages that became dead letters; each counts once, and every one is in the topic."""
    repeated_letters: int
    """Further entries in the dead-letter topic, for letters that were written again."""
    members: Sequence[Member]
    """The reports that the group's consumers committed, newest first."""

    @property
    def messages(self) -> int:
        """Number of messages in the topic."""
        return sum(each.end_offset - each.first_offset for each in self.partitions)

    def lags(self, settled: Mapping[int, int]) -> dict[int, int]:
        """Return the lag of each partition.

        Args:
            settled: by partition, the offset below which the consumer has settled every message,
                committed or not, taken before these offsets were read. A partition that is
                missing here counts from its committed offset.
        """
        return {
            each.partition: lag(
                each.first_offset,
                each.end_offset,
                settled.get(each.partition, each.committed_offset),
            )
            for each in self.partitions
        }


class GroupOffsets:
    """Offsets of a topic and its consumer group, on connections that stay open.

    It never joins the group. One thread owns it.

    Args:
        settings: names the topic, the group and the dead-letter topic.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin = Admin(settings)
        # Not the admin client: its requests for group offsets crash the process while the broker
        # has not elected the group's coordinator yet (librdkafka issue 5040).
        config = {"group.id": settings.group_id, "enable.auto.commit": False}
        self._client = Consumer(settings.client_config() | config)
        self._dead_letters: DeadLetterCounter | None = None
        self._has_group_answered = False
        self._firsts: dict[str, dict[int, int]] = {}
        self._firsts_read_s = -math.inf

    def read(self) -> TopicOffsets:
        """Ask Kafka now, including the dead letters.

        Raises:
            ConfigError: no such topic, or no dead-letter topic.
            ServerError: Kafka did not answer.
        """
        return self._ask(self._read)

    def partitions(self) -> list[Partition]:
        """Ask Kafka now for every partition of the topic, in order.

        Raises:
            ConfigError: no such topic; the message lists those that exist.
            ServerError: Kafka did not answer.
        """
        return self._ask(lambda: self._partitions(self._committed()))

    def owners(self) -> dict[int, str]:
        """Return the client id of the member that owns each partition; others are left out.

        That of the kit's consumer is `reports.this_consumer`, unless the settings have another.

        Raises:
            ServerError: Kafka did not answer.
        """
        return self._admin.owners(self._settings.topic, self._settings.group_id)

    def members(self) -> list[Member]:
        """Return the reports that the group's consumers committed, newest first.

        Raises:
            ConfigError: no such topic.
            ServerError: Kafka did not answer.
        """
        return self._ask(lambda: _members(self._committed()))

    def set_committed(self, offsets: Mapping[int, int]) -> None:
        """Set the offsets of a group without members, by partition of the topic.

        Raises:
            ServerError: Kafka did not answer, or a consumer is reading in the group.
        """
        wanted = [TopicPartition(self._settings.topic, *each) for each in offsets.items()]
        self._ask_group(
            "setting the offsets", lambda: self._client.commit(offsets=wanted, asynchronous=False)
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
        if self._dead_letters is not None:
            self._dead_letters.close()

    def _ask(self, question: Callable[[], _Answer]) -> _Answer:
        was_read_before = bool(self._firsts)
        try:
            return question()
        except Refused:
            if not was_read_before:
                raise
            self._firsts.clear()  # a recreated topic may have other partitions
            return question()

    def _read(self) -> TopicOffsets:
        self._first_offsets(self._settings.topic)  # names a missing topic, not its dead letters
        # Against the flow, so that no dead letter and no commit counts without its message.
        letters = self._settings.dead_letter_topic
        letter_ends = self._admin.end_offsets(letters, self._first_offsets(letters))
        committed = self._committed()
        partitions = self._partitions(committed)
        self._dead_letters = self._dead_letters or DeadLetterCounter(self._admin)
        return TopicOffsets(partitions, *self._dead_letters.count(letter_ends), _members(committed))

    def _partitions(self, committed: Iterable[TopicPartition]) -> list[Partition]:
        """Describe the partitions, with committed offsets that were read before.

        A commit in between can only make the lag look larger.
        """
        firsts = self._first_offsets(self._settings.topic)
        ends = self._admin.end_offsets(self._settings.topic, firsts)
        offsets = {each.partition: each.offset for each in committed}
        return [_partition(i, firsts[i], ends[i], offsets.get(i, -1)) for i in sorted(firsts)]

    def _first_offsets(self, topic: str) -> dict[int, int]:
        if time.monotonic() - self._firsts_read_s > _FIRST_OFFSETS_S:
            self._firsts.clear()
            self._firsts_read_s = time.monotonic()
        if topic not in self._firsts:
            self._firsts[topic] = self._admin.first_offsets(topic)
        return self._firsts[topic]

    def _committed(self) -> list[TopicPartition]:
        """Return the committed offsets and metadata; a negative offset means none."""
        topic = self._settings.topic
        wanted = [TopicPartition(topic, i) for i in self._first_offsets(topic)]
        timeout_s = self._settings.timeout_s
        return self._ask_group(
            "reading the offsets", lambda: self._client.committed(wanted, timeout_s)
        )

    def _ask_group(self, doing: str, request: Callable[[], _Answer]) -> _Answer:
        try:
            answer = self._admin.retry(f"{doing} of group {self._settings.group_id!r}", request)
        except ServerError as error:
            if not isinstance(error, Refused) and not self._has_group_answered:
                # A user without permissions on the group gets no answer here, only "no
                # coordinator". A request to describe the group is refused with the reason.
                self.owners()
            raise
        self._has_group_answered = True
        return answer


def _members(committed: Iterable[TopicPartition]) -> list[Member]:
    return reports.members(each.metadata for each in committed if each.metadata)


def _partition(i: int, first: int, end: int, offset: int) -> Partition:
    # A negative offset means that none was committed. An offset beyond the end belongs to a
    # deleted topic: a consumer then starts from the beginning, as without an offset.
    committed = offset if 0 <= offset <= end else None
    return Partition(i, first, end, committed, lag(first, end, committed))


def read(settings: KafkaSettings) -> TopicOffsets:
    """Ask Kafka now for the topic, its consumer group and its dead letters.

    Raises:
        ConfigError: no such topic, or no dead-letter topic.
        ServerError: Kafka did not answer.
    """
    with closing(GroupOffsets(settings)) as group:
        return group.read()


def partitions(settings: KafkaSettings) -> list[Partition]:
    """Describe every partition of the topic, in order, with the group's offsets and lag.

    Raises:
        ConfigError: no such topic; the message lists those that exist.
        ServerError: Kafka did not answer.
    """
    with closing(GroupOffsets(settings)) as group:
        return group.partitions()


def consumer_lag(settings: KafkaSettings) -> dict[int, int]:
    """Count the messages that the consumer group has not read yet, by partition.

    A partition without a committed offset counts from its beginning.

    Returns:
        One key per partition of the topic, zero included.

    Raises:
        ConfigError: no such topic; the message lists those that exist.
        ServerError: Kafka did not answer.
    """
    return {each.partition: each.lag for each in partitions(settings)}


def count(settings: KafkaSettings, topic: str | None = None) -> int:
    """Count the messages of a topic (by default the topic of the settings).

    It counts offsets, so transaction markers and compacted messages count, too.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    admin, topic = Admin(settings), topic or settings.topic
    firsts = admin.first_offsets(topic)
    ends = admin.end_offsets(topic, firsts)
    return sum(ends.values()) - sum(firsts.values())


def waiting_s(settings: KafkaSettings) -> dict[int, float]:
    """Return the age of the next message that the group will read, by partition.

    Returns:
        Seconds since Kafka's timestamp, one key per partition; 0 if nothing waits.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    found = partitions(settings)
    waiting = {each.partition: 0.0 for each in found}
    unseen = {each.partition for each in found if each.lag}
    if not unseen:
        return waiting
    starts = {each.partition: each.next_offset for each in found}
    # Read up to the end, because a gap may precede the next message of a partition.
    ends = {each.partition: each.end_offset for each in found}
    now = datetime.now(UTC)
    with closing(messages.read_raw(settings, starts=starts, ends=ends)) as unread:
        while unseen and (message := next(unread, None)) is not None:
            if (i := message.partition()) in unseen:
                unseen.remove(i)
                waiting[i] = max(0.0, (now - messages.moment(message)).total_seconds())
    return waiting


def start_at_newest(settings: KafkaSettings, most: int) -> None:
    """Set the offsets of a group without members to the newest `most` messages of the topic.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer, or a consumer is reading in the group.
    """
    with closing(GroupOffsets(settings)) as group:
        found = group.partitions()
        share = -(-most // len(found))
        group.set_committed(
            {each.partition: max(each.first_offset, each.end_offset - share) for each in found}
        )


def members(settings: KafkaSettings) -> list[Member]:
    """Return the reports that the group's consumers committed with their offsets, newest first.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    with closing(GroupOffsets(settings)) as group:
        return group.members()


class StallDetector:
    """Finds partitions that a member of the group owns but does not read.

    Args:
        group: the offsets that `note` gets are its own.
    """

    def __init__(self, group: GroupOffsets) -> None:
        self._group = group
        self._since: dict[int, tuple[int, float]] = {}
        """By partition: the group's next offset, and the time since which it has not moved."""
        self._first_s: float | None = None
        self.is_undecided = True
        """Whether messages wait in a partition that has not moved since the first offsets."""

    def note(self, found: TopicOffsets) -> dict[int, int]:
        """Record offsets that were just read.

        Returns:
            The lag of each partition whose committed offset has not moved for `STALLED_S`
            while messages waited and a member owned it.

        Raises:
            ServerError: Kafka did not answer.
        """
        now_s = time.monotonic()
        self._first_s = self._first_s or now_s
        for each in found.partitions:
            known, _ = self._since.get(each.partition, (None, now_s))
            if known != each.next_offset or not each.lag:
                self._since[each.partition] = each.next_offset, now_s
        slow = {i for i, (_, since_s) in self._since.items() if now_s - since_s > _SLOW_S}
        for i in slow - set(self._group.owners()) if slow else ():
            self._since[i] = self._since[i][0], now_s
        self.is_undecided = any(
            each.lag and self._since[each.partition][1] == self._first_s
            for each in found.partitions
        )
        return {
            each.partition: each.lag
            for each in found.partitions
            if now_s - self._since[each.partition][1] >= STALLED_S
        }


def stalled(settings: KafkaSettings) -> dict[int, int]:
    """Find partitions that a member of the group owns but does not read.

    It returns at once if no message has waited for 10 s. Otherwise it watches for 10 s, or until
    every partition with waiting messages has moved or has no owner.

    Returns:
        The lag of each stalled partition.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    if max(waiting_s(settings).values()) < STALLED_S:
        return {}
    with closing(GroupOffsets(settings)) as group:
        detector = StallDetector(group)
        while not (found := detector.note(group.read())) and detector.is_undecided:
            time.sleep(_LOOK_EVERY_S)
    return found


class CatchUpGoal:
    """Tells whether the group has committed every message that was in the topic at the start.

    It keeps one connection until `close`.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._offsets = GroupOffsets(settings)
        found = self._offsets.partitions()
        self._ends = {each.partition: each.end_offset for each in found}
        self._asked_s = time.monotonic()
        self.is_reached = not any(each.lag for each in found)
        """By the last answer."""

    def check(self, *, is_idle: bool) -> bool:
        """Ask Kafka again if the last answer is 1 s old, or 0.1 s old for an idle consumer."""
        if not self.is_reached and time.monotonic() - self._asked_s > (0.1 if is_idle else 1.0):
            self._asked_s = time.monotonic()
            self.is_reached = all(
                each.next_offset >= self._ends.get(each.partition, 0)
                for each in self._offsets.partitions()
            )
        return self.is_reached

    def close(self) -> None:
        """Close the connection."""
        self._offsets.close()
