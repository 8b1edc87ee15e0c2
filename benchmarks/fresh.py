"""Topics and indexes that nobody has seen before, and that are gone afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

from opensearchpy import OpenSearch

from clickstream.events import Event
from clickstream.kafka import topics
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator

MONDAY_MS = 1_767_571_200_000


def name() -> str:
    """Make up a namespace, or the name of a group."""
    return f"bench-{uuid.uuid4().hex[:8]}"


@contextmanager
def topic(settings: Settings) -> Iterator[tuple[str, Settings]]:
    """Give a namespace with empty topics, and its settings."""
    namespace = name()
    own = settings.in_namespace(namespace)
    topics.ensure_topics(own.kafka)
    try:
        yield namespace, own
    finally:
        topics.delete_topics(own.kafka)


@contextmanager
def stream(settings: Settings, *, num_documents: int | None = None) -> Iterator[OpenSearch]:
    """Make the kit's own index, empty, and see that it holds so many documents in the end."""
    client = opensearch.connect(settings.opensearch)
    index.ensure(client, settings.opensearch.index)
    try:
        yield client
        if num_documents is not None:
            check(client, settings.opensearch.index, num_documents)
    finally:
        index.delete(client, settings.opensearch.index)


def check(client: OpenSearch, index_name: str, num_documents: int) -> None:
    """See that no way of indexing was fast by leaving something out."""
    index.refresh(client, index_name)
    found = index.count(client, index_name)
    assert found == num_documents, f"{found:,} of {num_documents:,} documents in {index_name}"


def events(num_events: int) -> list[Event]:
    """Simulate the sample: the same events every time."""
    return list(islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), num_events))
