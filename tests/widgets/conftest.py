"""What runs behind a control room, for the length of a test or of a module."""

import threading
import uuid
from collections.abc import Iterator

import pytest

from clickstream.demo.verbs import Demo
from clickstream.kafka import topics
from clickstream.opensearch import client, index
from clickstream.settings import Settings
from clickstream.widgets.live_pipeline import LivePipeline


def threads() -> list[str]:
    """The kit's own, by name, but for the consumer's senders."""
    names = (each.name for each in threading.enumerate())
    return sorted(
        name.removeprefix("clickstream-")
        for name in names
        if name.startswith("clickstream-") and "-bulk-" not in name
    )


def at_rest(settings: Settings, **limits: int) -> LivePipeline:
    """200 events a second once it is started.

    Its consumer has all the time to catch up: on a slow machine a second may not be enough.
    """
    return LivePipeline(Demo(settings), events_per_second=200, catch_up_s=20.0, **limits)


@pytest.fixture
def pipeline(made: Settings) -> Iterator[LivePipeline]:
    """At rest, with names of its own; nothing of it is left afterwards."""
    pipeline = at_rest(made)
    yield pipeline
    pipeline.close()
    assert threads() == []


@pytest.fixture(scope="module")
def shared_settings(settings: Settings) -> Iterator[Settings]:
    """Names that a module's tests share, made."""
    shared = settings.in_namespace(f"shared-pipeline-{uuid.uuid4().hex[:8]}")
    opensearch = client.connect(shared.opensearch)
    topics.ensure_topics(shared.kafka)
    index.ensure(opensearch, shared.opensearch.index)
    yield shared
    topics.delete_topics(shared.kafka)
    index.delete(opensearch, shared.opensearch.index)


@pytest.fixture(scope="module")
def shared(shared_settings: Settings) -> Iterator[LivePipeline]:
    """At rest, for tests that start it, look and stop it: its messages stay for the next."""
    pipeline = at_rest(shared_settings)
    yield pipeline
    pipeline.close()
