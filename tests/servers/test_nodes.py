"""A server is ready when it answers with its own protocol."""

from clickstream.servers import nodes
from clickstream.settings import Settings


def test_only_its_own_kind_answers(settings: Settings) -> None:
    """Another program on a server's port is not taken for the server."""
    port = int(settings.opensearch.url.rpartition(":")[2])
    assert nodes.NODES["opensearch"].answers(port)
    assert not nodes.NODES["opensearch"].answers(int(settings.kafka.bootstrap_servers[10:]))
    assert not nodes.NODES["kafka"].answers(port)
