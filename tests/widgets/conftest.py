"""Live pipelines for one test or for one module."""

import threading
import uuid
from collections.abc import Iterator

import pytest

from clickstream.demo.demo import Demo
from clickstream.kafka import topics
from clickstream.opensearch import client, index
from clickstream.settings import Settings
from clickstream.widgets.live_pipeline import LivePipeline


def threads() -> list[str]:
    """Names of the kit's threads, without the consumer's senders."""
    names = (each.name for each in threading.enumerate())
    return sorted(
        name.removeprefix("clickstream-")
        for name in names
        if name.startswith("clickstream-") and "-bulk-" not in name
    )


def at_rest(settings: Settings, **limits: int) -> LivePipeline:
    """An idle pipeline that produces 200 events per second once it is started.

    Its consumer has plenty of time to catch up, because a slow machine may need over a second.
    """
    return LivePipeline(Demo(settings), events_per_second=200, catch_up_s=20.0, **limits)


@pytest.fixture
def pipeline(made: Settings) -> Iterator[LivePipeline]:
    """An idle pipeline with separate names, which are deleted afterwards."""
    pipeline = at_rest(made)
    yield pipeline
    pipeline.close()
    assert threads() == []


@pytest.fixture(scope="module")
def shared_settings(settings: Settings) -> Iterator[Settings]:
    """Names that the tests of a module share, with topic and index."""
    shared = settings.in_namespace(f"shared-pipeline-{uuid.uuid4().hex[:8]}")
    opensearch = client.connect(shared.opensearch)
    topics.ensure_topics(shared.kafka)
    index.ensure(opensearch, shared.opensearch.index)
    yield shared
    topics.delete_topics(shared.kafka)
    index.delete(opensearch, shared.opensearch.index)


@pytest.fixture(scope="module")
def shared(shared_settings: Settings) -> Iterator[LivePipeline]:
    """An idle pipeline for tests that start and stop it; its messages stay for the next test."""
    pipeline = at_rest(shared_settings)
    yield pipeline
    pipeline.close()
