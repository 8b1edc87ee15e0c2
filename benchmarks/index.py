"""Documents per second from topic to index, beside the bulk ceiling and beside other clients.

The ceiling is the best of 1, 2 and 3 senders of prebuilt bulk bodies: the same events, the
same bulk size, the same kind of index, with the broker up. The ways take turns in every
round, each on a fresh index, so that a noisy machine is noisy for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from benchmarks import alone, consumers, fresh, prebuilt
from clickstream import consumer, producer
from clickstream.kafka import topics
from clickstream.settings import Settings

NUM_EVENTS = 600_000
NUM_EVENTS_OF_OTHERS = 100_000
NUM_SINGLE_REQUESTS = 2_000
WARM_UPS = 1
ROUNDS = 5

OURS = "ours"


@dataclass(frozen=True)
class Indexed:
    """The consumer beside the ceiling, one value a round."""

    consumed_per_second: list[float]
    ceiling_per_second: list[float]
    """Of the number of senders that was best over all rounds."""
    senders: int
    cpu_us: list[float]
    """Of the consumer's whole process, per document."""


def measure(settings: Settings) -> Indexed:
    """Index the same events again and again, by the consumer and by prebuilt bulks."""
    sample = fresh.events(NUM_EVENTS)
    bodies = prebuilt.bodies(sample, consumer.BULK_DOCUMENTS)
    rounds: list[tuple[float, float, dict[int, float]]] = []
    with fresh.topic(settings) as (namespace, own):
        producer.send(own.kafka, sample)
        del sample
        for _ in range(WARM_UPS):  # until the servers' compilers have seen both ways
            _send(own, bodies, max(prebuilt.SENDERS))
            _consume(own, namespace, consumers.ours, NUM_EVENTS)
        for _ in range(ROUNDS):
            ceilings = {senders: _send(own, bodies, senders) for senders in prebuilt.SENDERS}
            per_second, cpu_us = _consume(own, namespace, consumers.ours, NUM_EVENTS)
            rounds.append((per_second, cpu_us, ceilings))
    best = max(
        prebuilt.SENDERS, key=lambda senders: median(ceilings[senders] for *_, ceilings in rounds)
    )
    return Indexed(
        consumed_per_second=[per_second for per_second, _, _ in rounds],
        ceiling_per_second=[ceilings[best] for _, _, ceilings in rounds],
        senders=best,
        cpu_us=[cpu_us for _, cpu_us, _ in rounds],
    )


def compare(settings: Settings) -> dict[str, tuple[list[float], list[float]]]:
    """Index the same events by the consumer and by other clients.

    Returns:
        Documents per second and CPU µs per document, one value a round, by name.
    """
    ways: dict[str, tuple[Callable[..., consumers.Cost], int]] = {
        OURS: (consumers.ours, NUM_EVENTS_OF_OTHERS),
        "one with helpers.streaming_bulk": (consumers.with_streaming_bulk, NUM_EVENTS_OF_OTHERS),
        "one with helpers.parallel_bulk": (consumers.with_parallel_bulk, NUM_EVENTS_OF_OTHERS),
        "one request per event": (consumers.with_single_requests, NUM_SINGLE_REQUESTS),
    }
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ways}
    with fresh.topic(settings) as (namespace, own):
        producer.send(own.kafka, fresh.events(NUM_EVENTS_OF_OTHERS))
        for number in range(WARM_UPS + ROUNDS):
            for name, (function, num_events) in ways.items():
                costs = _consume(own, namespace, function, num_events)
                if number >= WARM_UPS:
                    for values, value in zip(found[name], costs, strict=True):
                        values.append(value)
    return found


def _consume(
    settings: Settings, namespace: str, function: Callable[..., consumers.Cost], num_events: int
) -> tuple[float, float]:
    """Give documents per second, and CPU µs per document."""
    group_id = fresh.name()
    how_many = () if function is consumers.ours else (num_events,)
    try:
        with fresh.stream(settings, num_documents=num_events):
            stored, seconds, cpu_s = alone.run(function, namespace, group_id, *how_many)
    finally:
        topics.delete_group(settings.for_group(group_id).kafka)
    assert stored == num_events, f"{function.__name__}: {stored:,} of {num_events:,} stored"
    return stored / seconds, 1e6 * cpu_s / stored


def _send(settings: Settings, bodies: list[bytes], senders: int) -> float:
    with fresh.stream(settings, num_documents=NUM_EVENTS) as client:
        took_s = prebuilt.seconds(client, settings.opensearch.index, bodies, senders)
    return NUM_EVENTS / took_s
