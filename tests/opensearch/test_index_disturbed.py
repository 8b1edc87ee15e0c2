"""A bulk request to a read-only cluster."""

import pytest
from opensearchpy import OpenSearch

from clickstream.opensearch import bulk
from clickstream.settings import Settings


def test_a_read_only_cluster_is_unavailable(client: OpenSearch, made: Settings) -> None:
    """A read-only cluster rejects the whole request temporarily."""
    block = {"persistent": {"cluster.blocks.read_only": True}}
    lifted = {"persistent": {"cluster.blocks.read_only": None}}
    client.cluster.put_settings(body=block)
    try:
        with pytest.raises(bulk.Unavailable, match="cluster_block_exception"):
            bulk.send(client, made.opensearch.index, [bulk.action("none", b"{}")])
    finally:
        client.cluster.put_settings(body=lifted)
