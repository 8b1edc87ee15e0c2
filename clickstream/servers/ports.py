"""Ports for our servers on loopback."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

from clickstream.errors import ServerError

PORTS = range(20_000, 30_000)
"""Below the ports that systems use for outgoing connections (Linux: from 32768, `ip(7)`; macOS:
from 49152), and below Kubernetes' NodePorts (from 30000). A Java server binds its port seconds
after it was chosen, and a port in those ranges may be in use by then."""


def free(among: range = PORTS) -> Iterator[int]:
    """Yield free loopback ports in random order, each once.

    The ports are not reserved: another program may take one before the server binds it.

    Raises:
        ServerError: no port is left.
    """
    yield from filter(is_free, random.sample(among, len(among)))
    msg = f"choosing a port: {among.start} to {among.stop - 1} on 127.0.0.1 are all in use"
    raise ServerError(msg, "stop programs that listen there")


def is_free(port: int) -> bool:
    """Say whether a server could listen on this loopback port now."""
    with socket.socket() as trial:
        # Ignore lingering connections of an earlier server, as servers do.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
