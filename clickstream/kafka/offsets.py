"""How much lies in the topic, and how much waits: asked again and again.

`topics` opens a connection for every question. `DepthGauge` keeps two, and asks two requests
at a time: where the topics end, and what the group committed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from clickstream.kafka import topics
from clickstream.kafka.admin import Admin, Refused
from clickstream.settings import KafkaSettings

STALLED_S = 10.0
"""A committed offset that stands still for so long, while messages wait, is told."""

_LOOK_ANEW_S = 5.0
_LOOK_S = 0.5
_SLOW_S = 1.0
"""Standing still for so long, it is worth the question whose a partition is."""


@dataclass(frozen=True)
class Depth:
    """Of one topic, its consumer group and its dead letters, at one moment."""

    messages: int
    dead_letters: int
    committed: Mapping[int, int]
    """What the group reads next, by partition."""
    ends: Mapping[int, int]
    """The offset that the next message gets, by partition."""

    def lag(self, settled: Mapping[int, int]) -> int:
        """Count the messages that wait.

        Args:
            settled: up to where a consumer is through, by its partitions, committed or not;
                what it was before this was read. Empty: what is committed counts.
        """
        return sum(max(0, end - settled.get(i, self.committed[i])) for i, end in self.ends.items())


class DepthGauge:
    """Reads the depth again and again; one thread owns it.

    Args:
        settings: whose topic, group and dead-letter topic.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin = Admin(settings)
        self._group = self._admin.group(settings.group_id)
        self._looked_s = -_LOOK_ANEW_S
        self._firsts: dict[TopicPartition, int] = {}

    def read(self) -> Depth:
        """Ask Kafka now.

        Raises:
            ConfigError: no such topic.
            ServerError: Kafka did not answer.
        """
        try:
            return self._read()
        except Refused:
            self._looked_s = -_LOOK_ANEW_S  # made again, the topic may have other partitions
            return self._read()

    def _read(self) -> Depth:
        own = self._settings.topic
        if time.monotonic() - self._looked_s > _LOOK_ANEW_S:
            self._firsts = {
                TopicPartition(topic, i): first
                for topic in (own, self._settings.dead_letter_topic)
                for i, first in self._admin.offsets(topic, OffsetSpec.earliest()).items()
            }
            self._looked_s = time.monotonic()
        ours = [each for each in self._firsts if each.topic == own]
        # Committed before end: what is committed meanwhile can only make the lag look larger.
        committed = self._admin.ask_group(
            self._group,
            f"asking offsets of group {self._settings.group_id!r}",
            lambda group: group.committed(ours, self._settings.timeout_s),
        )
        wanted = dict.fromkeys(self._firsts, OffsetSpec.latest())
        ends = self._admin.ask(
            f"asking offsets of {own!r}", lambda client: client.list_offsets(wanted)
        )
        held = {each: ends[each].offset - first for each, first in self._firsts.items()}
        messages = sum(held[each] for each in ours)
        return Depth(
            messages,
            sum(held.values()) - messages,
            {
                each.partition: each.offset
                # Without an offset of its own, or with one of a topic that was deleted since,
                # the group reads from the first.
                if self._firsts[each] <= each.offset <= ends[each].offset
                else self._firsts[each]
                for each in committed
            },
            {each.partition: ends[each].offset for each in ours},
        )

    def owned(self) -> set[int]:
        """Give the partitions of the topic that a member of the group owns now.

        Raises:
            ServerError: Kafka did not answer.
        """
        return self._admin.assigned(self._settings.topic, self._settings.group_id)

    def close(self) -> None:
        """Give the connections back."""
        self._group.close()


class Standstill:
    """Finds the partitions that a member of the group owns and does not read.

    Args:
        gauge: reads the depths, and says who owns what.
    """

    def __init__(self, gauge: DepthGauge) -> None:
        self._gauge = gauge
        self._since: dict[int, tuple[int, float]] = {}
        """By partition: the committed offset, and since when it stands still."""

    def note(self, depth: Depth) -> dict[int, int]:
        """Note a depth that was just read.

        Returns:
            Messages that wait, of each partition with a lag whose committed offset has not
            moved for `STALLED_S` while a member owned it.

        Raises:
            ServerError: Kafka did not answer.
        """
        now_s = time.monotonic()
        for i, committed in depth.committed.items():
            if self._since.get(i, (-1,))[0] != committed or depth.ends[i] <= committed:
                self._since[i] = committed, now_s
        slow = {i for i, (_, since_s) in self._since.items() if now_s - since_s > _SLOW_S}
        for i in slow - self._gauge.owned() if slow else ():
            self._since[i] = self._since[i][0], now_s
        return {
            i: depth.ends[i] - committed
            for i, (committed, since_s) in self._since.items()
            if now_s - since_s >= STALLED_S
        }


def stalled(settings: KafkaSettings) -> dict[int, int]:
    """Find the partitions that a member of the group owns and does not read.

    Looks for 10 s where messages have waited that long, and not at all where none have; ends
    as soon as all that waits moves or is nobody's.

    Returns:
        Messages that wait, by partition.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    waiting_s = topics.waiting_s(settings)
    suspects = {i for i, seconds in waiting_s.items() if seconds >= STALLED_S}
    if not suspects:
        return {}
    with closing(DepthGauge(settings)) as gauge:
        standstill = Standstill(gauge)
        first = gauge.read()
        found = standstill.note(first)
        while suspects := suspects & gauge.owned() - found.keys():
            time.sleep(_LOOK_S)
            depth = gauge.read()
            suspects = {i for i in suspects if depth.committed[i] == first.committed[i]}
            found = standstill.note(depth)
    return found


class CaughtUp:
    """Has the group committed all that lay in the topic when this was made?

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """

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
