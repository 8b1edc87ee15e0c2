"""Servers that are away for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from clickstream.servers import local
from clickstream.servers.nodes import Name


@contextmanager
def taken_down(name: Name) -> Iterator[None]:
    """Take one server down for the length of the block, and bring it back on its port."""
    local.stop(name)
    try:
        yield
    finally:
        local.start(name)
