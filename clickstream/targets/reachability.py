"""Check that a target is reachable: names resolve, ports answer, and TLS succeeds.

librdkafka reports a TLS failure only after seconds and with little detail, so this module first
tries a connection with the same certificates. It sends no login and no topic or index name.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from clickstream import tls
from clickstream.errors import ClickstreamError, ConfFile, ConfigError, Hint, ServerError
from clickstream.servers import kafka_handshake
from clickstream.settings import KafkaSettings, OpenSearchSettings, Settings

_TIMEOUT_S = 5.0
"""For a connection, and for an answer on it."""
_LAST_PORT = 65_535


def check(settings: Settings, need: Collection[str] = ("kafka", "opensearch")) -> None:
    """Resolve the names of the needed servers, connect, and complete TLS if configured.

    Raises:
        ConfigError: a name does not resolve, or TLS failed; the message says why.
        ServerError: nothing listens there, or it does not answer.
    """
    if "kafka" in need:
        resolve_kafka(settings.kafka)
        probe_kafka(settings.kafka)
    if "opensearch" in need:
        resolve_opensearch(settings.opensearch)
        probe_opensearch(settings.opensearch)


def resolve_kafka(settings: KafkaSettings) -> str:
    """Resolve the brokers' names, and list them; one that resolves is enough.

    Raises:
        ConfigError: an address is invalid, or no name resolves.
    """
    found, failures = [], []
    for host, port in _broker_addresses(settings):
        try:
            _resolve("Kafka", host, port)
            found.append(host)
        except ConfigError as error:
            failures.append(error)
            found.append(f"{host} (which nobody knows)")
    if len(failures) == len(found):
        raise failures[0]
    return ", ".join(found)


def probe_kafka(settings: KafkaSettings, *, timeout_s: float = _TIMEOUT_S) -> str:
    """Connect to the brokers until one answers as a Kafka, and return its TLS version.

    Args:
        settings: the brokers and the certificates.
        timeout_s: for a connection, and for a complete answer on it.

    Raises:
        ConfigError: TLS failed, or the port accepts another kind of login; the message says why.
        ServerError: no broker answers, or the server is not a Kafka.
    """
    security = settings.security
    protocol = security.get("security.protocol", "PLAINTEXT")
    is_tls, is_sasl = protocol.endswith("SSL"), protocol.startswith("SASL")
    context = tls.for_kafka(security) if is_tls else None
    remedy_if_refused = (
        "name the port for user names and passwords, this one is for certificates"
        if is_sasl
        else ""
    )
    failures: list[ClickstreamError] = []
    for host, port in _broker_addresses(settings):
        try:
            with _connected(
                "Kafka", host, port, context, remedy_if_refused, timeout_s=timeout_s
            ) as connection:
                if not kafka_handshake.is_kafka(connection, timeout_s=timeout_s):
                    remedy = "name its port for clients"
                    remedy += "" if is_tls else ", or SSL or SASL_SSL"
                    msg = f"what answers on {host}:{port} is no Kafka"
                    raise ServerError(msg, remedy)
                wanted = security.get("sasl.mechanisms", "PLAIN") if is_sasl else None
                _check_login(f"Kafka on {host}:{port}", wanted, connection)
                return _tls_version(connection)
        except ClickstreamError as error:
            failures.append(error)
    raise failures[0]


def _check_login(server: str, wanted: str | None, connection: socket.socket) -> None:
    """Compare the SASL mechanism of the settings, or None, with those the port accepts."""
    taken = kafka_handshake.sasl_mechanisms(connection, wanted or "PLAIN")
    if wanted is None and taken:
        msg = f"{server}: this port is for user names and passwords"
        raise ConfigError(
            msg, "name 'sasl.username' and 'sasl.password', or the port for certificates"
        )
    if wanted is not None and wanted not in taken:
        if taken:
            msg = f"{server} takes no {wanted}"
            raise ConfigError(msg, f"write 'sasl.mechanisms' as {' or '.join(taken)}")
        msg = f"{server}: this port is not for user names and passwords"
        raise ConfigError(msg, "name the one that is")


def resolve_opensearch(settings: OpenSearchSettings) -> str:
    """Resolve OpenSearch's name, and return it.

    Raises:
        ConfigError: the name does not resolve.
    """
    host, port, _ = _opensearch_address(settings)
    _resolve("OpenSearch", host, port)
    return host


def probe_opensearch(settings: OpenSearchSettings) -> str:
    """Connect to OpenSearch, and return its TLS version.

    Raises:
        ConfigError: TLS failed; the message says why.
        ServerError: nothing listens there, or it does not answer.
    """
    host, port, is_tls = _opensearch_address(settings)
    context = tls.for_opensearch(settings) if is_tls else None
    remedy_if_refused = (
        "name OpenSearch's own port, or 'cert' and 'key' of a user whom it knows in ",
        ConfFile("opensearch.json"),
    )
    with _connected("OpenSearch", host, port, context, remedy_if_refused) as connection:
        return _tls_version(connection)


def _broker_addresses(settings: KafkaSettings) -> list[tuple[str, int]]:
    found = []
    for each in settings.bootstrap_servers.split(","):
        host, _, port = each.strip().rpartition(":")
        is_port = re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) <= _LAST_PORT
        if not host or "/" in host or not is_port:
            msg = f"'bootstrap.servers' {each.strip()!r} is no address"
            raise ConfigError(msg, "write NAME:PORT")
        found.append((host.strip("[]"), int(port)))
    return found


def _opensearch_address(settings: OpenSearchSettings) -> tuple[str, int, bool]:
    parts = urlsplit(settings.url)
    is_tls = parts.scheme == "https"
    return parts.hostname or "", parts.port or (443 if is_tls else 80), is_tls


def _resolve(server: str, host: str, port: int) -> None:
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        file = ConfFile(f"{server.lower()}.json")
        msg = f"{server}: nobody knows the name {host!r}"
        raise ConfigError(msg, ("mend it in ", file, ", or see your network")) from error


@contextmanager
def _connected(
    server: str,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    remedy_if_refused: Hint,
    *,
    timeout_s: float = _TIMEOUT_S,
) -> Iterator[socket.socket]:
    """Connect, and translate errors inside the block into ours."""
    is_there = False
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            is_there = True
            if context is None:
                yield connection
                return
            with context.wrap_socket(connection, server_hostname=host) as secured:
                yield secured
    except ssl.SSLError as error:
        cause, remedy = tls.explain(error) or (str(error), "see its address")
        if tls.is_refusal(error):
            remedy = remedy_if_refused or remedy
        msg = f"{server} on {host}:{port}: {cause}"
        raise ConfigError(msg, remedy) from error
    except OSError as error:
        what = "who is there does not answer" if is_there else "nobody is there"
        is_late = isinstance(error, TimeoutError)
        cause = f"within {timeout_s:g} s" if is_late else error.strerror or str(error)
        msg = f"{server} on {host}:{port}: {what} ({cause})"
        raise ServerError(msg, "see address, port and firewall") from error


def _tls_version(connection: socket.socket) -> str:
    return connection.version() or "" if isinstance(connection, ssl.SSLSocket) else "without TLS"
