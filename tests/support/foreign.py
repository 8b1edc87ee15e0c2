"""Messages that no client of Python's can send: their record batch is written by hand."""

import socket
import struct

from clickstream.settings import Settings

_CRC_POLYNOMIAL = 0x82F63B78
"""That of CRC-32C."""


def send_with_headers(
    made: Settings, value: bytes, headers: dict[bytes, bytes], *, timestamp_ms: int
) -> None:
    """Send a message to partition 0, with names of headers that may be any bytes."""
    batch = _record_batch(b"k\xff", value, headers, timestamp_ms)
    topic = made.kafka.topic.encode()
    # Produce, version 3: no transaction, all acknowledgements, 10 s, one topic, one partition.
    request = struct.pack(">hhihhhii", 0, 3, 7, -1, -1, -1, 10_000, 1)
    request += struct.pack(f">h{len(topic)}siii", len(topic), topic, 1, 0, len(batch)) + batch
    host, port = made.kafka.bootstrap_servers.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as stream:
            answer = stream.read(int.from_bytes(stream.read(4)))
    after_names = 4 + 4 + 2 + len(topic) + 4 + 4
    assert answer[after_names : after_names + 2] == b"\0\0", "Kafka refused the message"


def _record_batch(key: bytes, value: bytes, headers: dict[bytes, bytes], at_ms: int) -> bytes:
    record = b"\0" + _varint(0) + _varint(0)
    record += _varint(len(key)) + key + _varint(len(value)) + value + _varint(len(headers))
    for name, content in headers.items():
        record += _varint(len(name)) + name + _varint(len(content)) + content
    body = struct.pack(">hiqqqhii", 0, 0, at_ms, at_ms, -1, -1, -1, 1)
    body += _varint(len(record)) + record
    return struct.pack(">qiibI", 0, len(body) + 9, -1, 2, _crc32c(body)) + body


def _varint(number: int) -> bytes:
    """Encode a number of 0 or more in zigzag form."""
    number, encoded = number << 1, b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CRC_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
