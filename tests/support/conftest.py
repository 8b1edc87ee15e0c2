"""A fault proxy for one test."""

from collections.abc import Iterator

import pytest

from clickstream.opensearch import client, index
from clickstream.settings import Settings
from tests.support.proxied import Stage


@pytest.fixture
def stage(fresh: Settings) -> Iterator[Stage]:
    """A proxy without a fault, in front of an empty index."""
    index.ensure(client.connect(fresh.opensearch), fresh.opensearch.index)
    stage = Stage(fresh)
    with stage.proxy:
        yield stage
        stage.client.close()
