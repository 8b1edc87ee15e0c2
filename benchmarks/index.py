"""Documents per second from topic to index, beside the bulk ceiling of the same machine.

The ceiling is the best of 1, 2 and 3 senders of prebuilt bulk bodies: the same events, the
same bulk size, the same kind of index, with the broker up. The ways take turns in every
round, each on a fresh index, so that a noisy machine is noisy for all of them.
"""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from statistics import median

from clickstream import consumer, events, index, producer, topics
from clickstream.metrics import IndexReport
from clickstream.settings import Settings
from clickstream.simulator import Simulator

NUM_EVENTS = 300_000
WARM_UPS = 3
ROUNDS = 5
SENDERS = (1, 2, 3)
MONDAY_MS = 1_767_571_200_000


@dataclass(frozen=True)
class Indexed:
    """Medians, and the ratio of every round."""

    consumed_per_second: float
    ceiling_per_second: float
    ratios: list[float]


def measure(settings: Settings) -> Indexed:
    """Index the same events again and again, by the consumer and by prebuilt bulks."""
    sample = list(islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), NUM_EVENTS))
    actions = [index.action(event.event_id, events.encode(event)) for event in sample]
    size = consumer.BULK_DOCUMENTS
    bodies = [tuple(actions[i : i + size]) for i in range(0, NUM_EVENTS, size)]
    own = settings.in_namespace(f"bench-{uuid.uuid4().hex[:8]}")
    topics.ensure_topics(own.kafka)
    rounds: list[tuple[float, dict[int, float]]] = []
    try:
        producer.send(own.kafka, sample)
        for _ in range(WARM_UPS):  # until the servers' compilers have seen both ways
            _consume(own)
            _send(own, bodies, max(SENDERS))
        for _ in range(ROUNDS):
            ceilings = {senders: _send(own, bodies, senders) for senders in SENDERS}
            rounds.append((_consume(own), ceilings))
    finally:
        topics.delete_topics(own.kafka)
    best = max(SENDERS, key=lambda senders: median(ceilings[senders] for _, ceilings in rounds))
    return Indexed(
        consumed_per_second=median(consumed for consumed, _ in rounds),
        ceiling_per_second=median(ceilings[best] for _, ceilings in rounds),
        ratios=[consumed / ceilings[best] for consumed, ceilings in rounds],
    )


def _consume(settings: Settings) -> float:
    group = settings.for_group(f"bench-{uuid.uuid4().hex[:8]}")
    client = index.connect(settings.opensearch)
    index.ensure_index(client, settings.opensearch.index)
    # From the first poll to the last answer: the wait for the group to be formed is in it,
    # finding out that nothing more comes is not.
    last_s = [0.0]

    def note(report: IndexReport) -> None:
        last_s[0] = report.seconds

    try:
        report = consumer.index_topic(group, until_caught_up=True, on_bulk=note)
    finally:
        index.delete_index(client, settings.opensearch.index)
        topics.delete_group(group.kafka)
    assert report.stored == NUM_EVENTS, report
    return report.stored / last_s[0]


def _send(settings: Settings, bodies: list[tuple[bytes, ...]], senders: int) -> float:
    name = settings.opensearch.index
    client = index.connect(settings.opensearch)
    index.ensure_index(client, name)
    try:
        started_s = time.monotonic()
        with ThreadPoolExecutor(senders) as pool:
            answered = sum(
                len(answers) for answers in pool.map(lambda b: index.bulk(client, name, b), bodies)
            )
        took_s = time.monotonic() - started_s
    finally:
        index.delete_index(client, name)
    assert answered == NUM_EVENTS
    return answered / took_s
