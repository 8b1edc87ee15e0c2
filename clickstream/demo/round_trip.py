"""A round trip: send events to the topic, find them as documents, and compare by id."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice, pairwise

from clickstream import consumer, producer
from clickstream.demo.temporary_group import temporary_group
from clickstream.errors import Command, ServerError
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.reports import BoldLine
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator

_PATIENCE_S = 20.0
_MS_PER_EVENT = 100
"""Twice the mean gap at the readers' natural rate, so that no event is in the future."""


@dataclass(frozen=True)
class RoundTrip(BoldLine):
    """A proof that events come back as documents, with the seconds each step took."""

    events: int
    topic: str
    acknowledged_s: float
    """Seconds until Kafka acknowledged the last event."""
    indexed_s: float
    """Seconds from then until the last event was searchable."""
    compared_s: float

    def __str__(self) -> str:
        total_s = self.acknowledged_s + self.indexed_s + self.compared_s
        return (
            f"round trip of {self.events:,} events through topic {self.topic} in {total_s:.1f} s: "
            f"acknowledged by Kafka {self.acknowledged_s:.2f} s, indexed {self.indexed_s:.1f} s, "
            f"compared by id {self.compared_s:.1f} s"
        )


def make_round_trip(settings: Settings, num_events: int) -> RoundTrip:
    """Send events of the last minutes, index them in a separate group, and find each by id.

    Topic and index must exist. They keep the events.

    Args:
        settings: the target, topic and index.
        num_events: about ten thousand at most.

    Raises:
        ServerError: an event did not come back as exactly one document, or a server did not
            answer.
        BulkError, ConfigError, DeliveryError, Interrupted: as `producer.send` and
            `consumer.index_topic`.
    """
    client, name = opensearch.connect(settings.opensearch), settings.opensearch.index
    now_ms = int(time.time() * 1000)
    start_ms = now_ms - 10_000 - _MS_PER_EVENT * num_events
    crowd = Simulator(seed=now_ms, start_ms=start_ms, live_from_ms=start_ms)
    sent = list(islice(crowd.events(), num_events))
    with temporary_group(settings, "trip", newest=0) as own:
        marks = [time.monotonic()]
        producer.send(own.kafka, sent)
        marks.append(time.monotonic())
        consumer.index_topic(own, until_caught_up=True, patience_s=_PATIENCE_S)
        index.refresh(client, name)
        marks.append(time.monotonic())
        wanted = [event.event_id for event in sent]
        found = index.ids(client, name, among=wanted)
        marks.append(time.monotonic())
    if sorted(found) != sorted(wanted):
        msg = (
            f"round trip: {num_events:,} events sent, {len(found):,} documents found, "
            f"{len(set(wanted).difference(found)):,} ids missing"
        )
        raise ServerError(msg, ("see the dead letters with ", Command("dlq list")))
    return RoundTrip(num_events, settings.kafka.topic, *(b - a for a, b in pairwise(marks)))
