"""The count by id: is every message of the topic exactly one document, or a dead letter?

It does not rely on reports: it reads the topic, the dead-letter topic and the index.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field

from clickstream import events
from clickstream.errors import Command, EventError, ServerError
from clickstream.kafka import dead_letters, messages, offsets
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.reports import BoldLine
from clickstream.settings import Settings

_LOOK_EVERY_S = 0.2
_ASKED_AT_ONCE = 10_000

Place = tuple[int, int]
"""Partition and offset in the topic."""


@dataclass(frozen=True)
class Audit(BoldLine):
    """The outcome of the counted messages."""

    messages: int
    stored: int
    """Events that are documents; an event counts once, even if it was sent several times."""
    repeated: int
    """Messages whose event was sent before, so that its document already existed."""
    dead_lettered: int
    lost: list[Place] = field(default_factory=list)
    """Messages that are neither documents nor dead letters, in order."""
    doubled: list[str] = field(default_factory=list)
    """Ids of events that have more than one document."""

    def __str__(self) -> str:
        return (
            f"{self.messages:,} messages: {self.stored:,} documents, "
            f"{self.repeated:,} in the topic twice, {self.dead_lettered:,} dead letters, "
            f"{len(self.lost):,} lost, {len(self.doubled):,} doubled"
        )


def end_offsets(settings: Settings) -> dict[int, int]:
    """Return the topic's current end offsets by partition, as the start of an audit.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    return {each.partition: each.end_offset for each in offsets.partitions(settings.kafka)}


def audit(settings: Settings, start: dict[int, int], *, patience_s: float) -> Audit:
    """Account for every message between `start` and now, by id.

    It waits until the consumer group has committed the messages that are in the topic now; it
    ignores later messages.

    Args:
        settings: the topic, the group and the index.
        start: the first offset by partition, from `end_offsets`.
        patience_s: how long to wait for a consumer that makes no progress.

    Raises:
        ConfigError: no such topic or index.
        ServerError: a server did not answer, or the consumer made no progress for `patience_s`.
    """
    ends = end_offsets(settings)
    _wait_until_committed(settings, ends, patience_s)
    ids: dict[Place, str] = {}
    undecodable: set[Place] = set()
    for message in messages.read_raw(settings.kafka, starts=start, ends=ends):
        place = message.partition(), message.offset()
        try:
            ids[place] = events.decode(message.value() or b"").event_id
        except EventError:
            undecodable.add(place)
    sources = {
        (source.partition, source.offset)
        for letter in dead_letters.read(settings.kafka)
        if (source := letter.source) is not None and source.topic == settings.kafka.topic
    }
    looked_at = ids.keys() | undecodable
    dead_lettered = looked_at & sources
    found = Counter(_documents(settings, set(ids.values())))
    # A dead letter counts as one even if another message of the same event is a document.
    stored = {place for place in ids.keys() - dead_lettered if ids[place] in found}
    documents = {ids[place] for place in stored}
    return Audit(
        messages=len(looked_at),
        stored=len(documents),
        repeated=len(stored) - len(documents),
        dead_lettered=len(dead_lettered),
        lost=sorted(looked_at - stored - dead_lettered),
        doubled=sorted(event_id for event_id, times in found.items() if times > 1),
    )


def _wait_until_committed(settings: Settings, ends: dict[int, int], patience_s: float) -> None:
    least, deadline_s = math.inf, math.inf
    while True:
        found = offsets.partitions(settings.kafka)
        behind = sum(
            offsets.lag(each.first_offset, ends[each.partition], each.committed_offset)
            for each in found
        )
        if not behind:
            return
        if behind < least:
            least, deadline_s = behind, time.monotonic() + patience_s
        if time.monotonic() > deadline_s:
            msg = (
                f"counting by id: group {settings.kafka.group_id!r} still has "
                f"{behind:,} messages to read, and has read none for {patience_s:.0f} s"
            )
            look = "check with ", Command("status"), " that a consumer and OpenSearch are running"
            raise ServerError(msg, (*look, ", then count again"))
        time.sleep(_LOOK_EVERY_S)


def _documents(settings: Settings, wanted: set[str]) -> list[str]:
    client, name = opensearch.connect(settings.opensearch), settings.opensearch.index
    index.refresh(client, name)
    ordered, found = sorted(wanted), list[str]()
    for i in range(0, len(ordered), _ASKED_AT_ONCE):
        asked = ordered[i : i + _ASKED_AT_ONCE]
        is_complete = index.has_each_once(client, name, asked)
        found += asked if is_complete else index.ids(client, name, among=asked)
    return found
