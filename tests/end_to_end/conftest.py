"""Consumers in separate processes, which end with the test."""

from collections.abc import Callable, Iterator

import pytest

from clickstream.settings import Settings
from tests.support.by_id import Consumer

Start = Callable[..., Consumer]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start consumers in separate processes, and end them with the test."""
    started: list[Consumer] = []

    def start_one(made: Settings, *, bulk_documents: int = 500) -> Consumer:
        started.append(Consumer(made, bulk_documents=bulk_documents))
        return started[-1]

    yield start_one
    for each in started:
        if each.process.poll() is None:
            each.kill()
