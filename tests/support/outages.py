"""Temporary outages of servers."""

from collections.abc import Iterator
from contextlib import contextmanager

from clickstream.servers import local
from clickstream.servers.nodes import Name


@contextmanager
def taken_down(name: Name) -> Iterator[None]:
    """Stop one server during the block, and start it again on its port."""
    local.stop(name)
    try:
        yield
    finally:
        local.start(name)
