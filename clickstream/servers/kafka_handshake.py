"""Two requests of the Kafka protocol: is this a Kafka, and which logins does it accept?

librdkafka would report this only after seconds, or as a broken connection.

Source: Kafka's protocol guide.
"""

from __future__ import annotations

import struct
import time
from socket import socket

_API_VERSIONS, _SASL_HANDSHAKE = 18, 17
_ILLEGAL_SASL_STATE = 34
_LARGEST_ANSWER = 100_000
_TIMEOUT_S = 5.0


def is_kafka(connection: socket, *, timeout_s: float = _TIMEOUT_S) -> bool:
    """Request the API versions, as any client does first; say whether a Kafka answered.

    Args:
        connection: a new connection.
        timeout_s: for the whole answer, not for each part.

    Raises:
        OSError: the connection failed, or the answer did not arrive in time.
    """
    return _ask(connection, _API_VERSIONS, 0, timeout_s=timeout_s)[:2] == b"\0\0"  # no error


def sasl_mechanisms(connection: socket, wanted: str) -> list[str]:
    """Request a SASL mechanism, after `is_kafka`, and return those that this port accepts.

    Returns:
        Their names; empty if this port accepts no login.

    Raises:
        OSError: as `is_kafka`.
    """
    name = wanted.encode()
    answer = _ask(connection, _SASL_HANDSHAKE, 1, struct.pack(f">h{len(name)}s", len(name), name))
    if answer[:2] == struct.pack(">h", _ILLEGAL_SASL_STATE):
        return []
    found, rest = [], answer[6:]  # after the error code and the count
    while len(rest) > 2:
        length = int.from_bytes(rest[:2])
        found.append(rest[2 : 2 + length].decode(errors="replace"))
        rest = rest[2 + length :]
    return found


def _ask(
    connection: socket, key: int, version: int, body: bytes = b"", *, timeout_s: float = _TIMEOUT_S
) -> bytes:
    """Send a request with header version 1; the answer is empty if it is not Kafka's."""
    client_id, correlation_id = b"clickstream", 1
    header = struct.pack(
        f">hhih{len(client_id)}s", key, version, correlation_id, len(client_id), client_id
    )
    connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
    ends_s = time.monotonic() + timeout_s
    size, answered_id = _read(connection, 4, ends_s), _read(connection, 4, ends_s)
    rest = int.from_bytes(size) - 4
    if answered_id != struct.pack(">i", correlation_id) or not 0 < rest < _LARGEST_ANSWER:
        return b""
    return _read(connection, rest, ends_s)


def _read(connection: socket, size: int, ends_s: float) -> bytes:
    """Read `size` bytes by `ends_s`, or fewer if the connection ends."""
    found = b""
    while len(found) < size:
        connection.settimeout(max(0.001, ends_s - time.monotonic()))
        part = connection.recv(size - len(found))
        if not part:
            break
        found += part
    return found
