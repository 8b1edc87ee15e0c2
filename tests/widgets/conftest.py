"""Live pipelines for one test or for one module."""

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import ipywidgets as widgets
import pytest

from clickstream.demo.demo import Demo
from clickstream.kafka import topics
from clickstream.opensearch import client, index
from clickstream.settings import Settings
from clickstream.widgets.control_room import ControlRoom
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
    """An idle pipeline that produces 200 events per second once it is started, without a past.

    Its consumer has plenty of time to catch up, because a slow machine may need over a second.
    """
    target = Demo(settings)
    return LivePipeline(target, events_per_second=200, past_s=0, catch_up_s=20.0, **limits)


def find_button(room: ControlRoom, name: str) -> widgets.Button:
    """Find a button of the room by its label."""
    parts: list[Any] = [room.widget]
    while parts:
        part = parts.pop()
        if isinstance(part, widgets.Button) and part.description == name:
            return part
        parts += getattr(part, "children", ())
    msg = f"no button {name!r}"
    raise AssertionError(msg)


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
