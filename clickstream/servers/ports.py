"""Ports for our own servers on loopback."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

from clickstream.errors import ServerError

PORTS = range(20_000, 30_000)
"""Below the ports from which systems serve outgoing connections (Linux: from 32768, `ip(7)`;
macOS: from 49152), and below Kubernetes' NodePorts (from 30000). A Java server binds its port
seconds after it was chosen; one of theirs may be somebody's connection by then."""


def free(among: range = PORTS) -> Iterator[int]:
    """Give ports of loopback that nobody listens on, in random order, each once.

    They are not held: by the time a server binds one, it may be taken.

    Raises:
        ServerError: none is left.
    """
    yield from filter(is_free, random.sample(among, len(among)))
    msg = f"choosing a port: all from {among.start} to {among.stop - 1} of 127.0.0.1 are taken"
    raise ServerError(msg, "stop what listens there")


def is_free(port: int) -> bool:
    """Say whether a server could listen on this port of loopback now."""
    with socket.socket() as trial:
        # Connections that a server before it closed may linger on it, as servers allow.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
