"""When a server is there: it answers as its own kind does."""

from clickstream.servers import nodes
from clickstream.settings import Settings


def test_only_its_own_kind_answers(settings: Settings) -> None:
    """Somebody else on a server's port is not taken for it."""
    port = int(settings.opensearch.url.rpartition(":")[2])
    assert nodes.NODES["opensearch"].answers(port)
    assert not nodes.NODES["opensearch"].answers(int(settings.kafka.bootstrap_servers[10:]))
    assert not nodes.NODES["kafka"].answers(port)
