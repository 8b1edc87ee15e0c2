"""A client of the tests' own node."""

import pytest
from opensearchpy import OpenSearch

from clickstream.opensearch import client as opensearch
from clickstream.settings import Settings


@pytest.fixture
def client(settings: Settings) -> OpenSearch:
    """A client of the tests' own node."""
    return opensearch.connect(settings.opensearch)
