"""Loopback servers that are not Kafka: each is a one-line error."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from clickstream.errors import ConfigError, ServerError
from clickstream.settings import KafkaSettings
from clickstream.targets import reachability
from tests.support.errors import raises_shown

VERSIONS = struct.pack(">iihi", 10, 1, 0, 0)
"""Size, correlation id, no error, no versions: enough to pass for Kafka's answer."""


@contextmanager
def served(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve every connection with `talk`, and yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    try:
                        talk(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def settings(*ports: int, protocol: str = "PLAINTEXT") -> KafkaSettings:
    """The settings of a Kafka with these brokers."""
    security = {"security.protocol": protocol, "sasl.mechanisms": "SCRAM-SHA-256"}
    servers = ",".join(f"127.0.0.1:{port}" for port in ports)
    return KafkaSettings(servers, security=security)


def answering(*answers: bytes) -> Callable[[socket.socket], None]:
    """Send these answers, one per request."""

    def talk(connection: socket.socket) -> None:
        for answer in answers:
            connection.recv(1_000)
            connection.sendall(answer)
        connection.recv(1_000)

    return talk


def handshake(code: int, names: bytes) -> bytes:
    """An answer with SASL mechanisms, in Kafka's format or nearly."""
    body = struct.pack(">ihi", 1, code, 1) + names
    return struct.pack(">i", len(body)) + body


@pytest.mark.parametrize(
    "names",
    [b"", b"\0", b"\xff\xff", b"\xff\xffabc", b"\0\x05ab", b"\0\x02\xff\xfe"],
    ids=["none", "half", "no-length", "no-length-more", "short", "no-text"],
)
def test_a_lying_answer_about_logins_breaks_nothing(names: bytes) -> None:
    """A malformed answer about logins is a one-line error with a remedy."""
    with (
        served(answering(VERSIONS, handshake(33, names))) as port,
        raises_shown(ConfigError, match=r"; use the port that is|set 'sasl.mechanisms' to "),
    ):
        reachability.probe_kafka(settings(port, protocol="SASL_PLAINTEXT"))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not Kafka; "),
        (b"\x7f\xff\xff\xff\0\0\0\1", "is not Kafka; "),
        (b"\0\0\0\x04\0\0\0\1", "is not Kafka; "),
    ],
)
def test_who_is_no_kafka_is_told_as_that(answer: bytes, said: str) -> None:
    """HTTP, an answer of two gigabytes, an empty one."""
    with served(answering(answer)) as port, raises_shown(ServerError, match=said):
        reachability.probe_kafka(settings(port))


def test_who_drips_is_given_up() -> None:
    """The time limit covers the whole answer, so that a slow sender does not extend it."""

    def talk(connection: socket.socket) -> None:
        connection.recv(1_000)
        for byte in VERSIONS * 10:
            connection.sendall(bytes([byte]))
            time.sleep(0.2)

    started_s = time.monotonic()
    with served(talk) as port, pytest.raises(ServerError, match="the server does not answer"):
        reachability.probe_kafka(settings(port), timeout_s=0.5)
    assert time.monotonic() - started_s < 10


def test_one_broker_that_works_is_enough() -> None:
    """One working broker is enough, at any position among broken ones."""
    with (
        served(answering(VERSIONS, handshake(34, b""))) as good,
        served(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as other,
    ):
        assert reachability.probe_kafka(settings(1, other, good)) == "without TLS"
        with pytest.raises(ServerError, match=r"127\.0\.0\.1:1: no connection"):
            reachability.probe_kafka(settings(1, other))
    known = KafkaSettings("kafka.invalid:9092,127.0.0.1:9092")
    assert reachability.resolve_kafka(known) == "kafka.invalid (unknown host), 127.0.0.1"


@pytest.mark.parametrize(
    ("server", "what"),
    [
        ("localhost", "has no port"),
        ("localhost:", "has an invalid port"),
        (":9092", "is not a valid address"),
        ("localhost:0", "has an invalid port"),
        ("localhost:65536", "has an invalid port"),
        ("localhost:²", "has an invalid port"),
        ("https://localhost:9092", "is not a valid address"),
        ("localhost:" + "9" * 5_000, "has an invalid port"),
        ("localhost:9092,", "is not a valid address"),
        ("a:1;b:2", "contains ';'"),
        ("a:1 b:2", "contains a blank"),
        ("a:1, b:2", "contains a blank"),
        ("a;b", "contains ';'"),
    ],
)
def test_what_is_no_address_is_told(server: str, what: str) -> None:
    """Before anybody is looked for."""
    with raises_shown(ConfigError, match=f"{what}; write NAME:PORT, and ',' between two brokers"):
        reachability.resolve_kafka(KafkaSettings(server))
