"""Servers that are away for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from clickstream import servers
from clickstream.nodes import Name


@contextmanager
def taken_down(name: Name) -> Iterator[None]:
    """Take one server down for the length of the block, and bring it back on its port."""
    servers.stop(name)
    try:
        yield
    finally:
        servers.start(name)
