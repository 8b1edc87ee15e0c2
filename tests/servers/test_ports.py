"""Ports for our servers."""

import socket
import sys
from itertools import islice
from pathlib import Path

import pytest

from clickstream.errors import ServerError
from clickstream.servers import ports


def test_no_outgoing_connection_is_given_a_port_of_ours() -> None:
    """Our ports are outside the range for outgoing connections."""
    chosen = [next(ports.free()) for _ in range(50)]
    assert len(set(chosen)) > 40  # by chance, or two starts at once would choose the same
    assert len(set(islice(ports.free(), 50))) == 50
    assert all(20_000 <= port < 30_000 for port in chosen)
    if sys.platform == "linux":
        given = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        if [int(end) for end in given] == [32_768, 60_999]:  # as Linux comes
            assert max(chosen) < int(given[0])


def test_a_port_that_somebody_listens_on_is_not_chosen() -> None:
    """A used port is not chosen; if all are used, one line says so."""
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", next(ports.free())))
        stranger.listen()
        taken = stranger.getsockname()[1]
        assert not ports.is_free(taken)
        only = range(taken, taken + 1)
        with pytest.raises(ServerError, match=f"{taken} to {taken} on 127.0.0.1 are all in use"):
            next(ports.free(only))
    assert next(ports.free(only)) == taken
