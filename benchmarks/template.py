"""What the index template and ids of our own cost, or gain: prebuilt bodies, two senders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opensearchpy import OpenSearch

from benchmarks import fresh, prebuilt
from clickstream import consumer
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.settings import Settings

NUM_EVENTS = 200_000
SENDERS = 2
WARM_UPS = 1
ROUNDS = 5

OURS, AUTO_IDS, DYNAMIC = "ours", "auto ids", "dynamic mapping"


def measure(settings: Settings) -> dict[str, list[float]]:
    """Give documents per second, one value a round, by the way."""
    sample = fresh.events(NUM_EVENTS)
    own_ids, auto_ids = (
        prebuilt.bodies(sample, consumer.BULK_DOCUMENTS, own_ids=own) for own in (True, False)
    )
    del sample
    own = settings.in_namespace(fresh.name())
    found: dict[str, list[float]] = {OURS: [], AUTO_IDS: [], DYNAMIC: []}
    for number in range(WARM_UPS + ROUNDS):
        took = {}
        with fresh.stream(own, num_documents=NUM_EVENTS) as client:
            took[OURS] = _seconds(client, own, own_ids)
        with fresh.stream(own, num_documents=NUM_EVENTS) as client:
            took[AUTO_IDS] = _seconds(client, own, auto_ids)
        with _plain(own) as client:
            took[DYNAMIC] = _seconds(client, own, own_ids)
        if number >= WARM_UPS:
            for way, seconds in took.items():
                found[way].append(NUM_EVENTS / seconds)
    return found


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Compare two ways, round by round."""
    return [value / other for value, other in zip(values, others, strict=True)]


@contextmanager
def _plain(settings: Settings) -> Iterator[OpenSearch]:
    """Make the index that OpenSearch makes of documents alone, on as many shards as ours."""
    name = settings.opensearch.index
    client = opensearch.connect(settings.opensearch)
    shards = {"number_of_shards": 1, "number_of_replicas": 0}
    client.indices.create(index=name, body={"settings": {"index": shards}})
    try:
        yield client
        fresh.check(client, name, NUM_EVENTS)
    finally:
        index.delete(client, name)


def _seconds(client: OpenSearch, settings: Settings, bodies: list[bytes]) -> float:
    return prebuilt.seconds(client, settings.opensearch.index, bodies, SENDERS)
