"""Check that a target is reachable: names resolve, ports answer, and TLS succeeds.

librdkafka reports a TLS failure only after seconds and with little detail, so this module first
tries a connection with the same certificates. It sends no login and no topic or index name.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from clickstream import tls
from clickstream.errors import ClickstreamError, ConfFile, ConfigError, Hint, ServerError
from clickstream.servers import kafka_handshake
from clickstream.settings import KafkaSettings, OpenSearchSettings, Settings, split_brokers

_TIMEOUT_S = 5.0
"""For a connection, and for an answer on it."""


class _Address(NamedTuple):
    server: str
    """Kafka or OpenSearch."""
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.server} on {self.host}:{self.port}"


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
    hosts, failures = [], []
    for address in _broker_addresses(settings):
        try:
            hosts.append(_resolve(address))
        except ConfigError as error:
            failures.append(error)
            hosts.append(f"{address.host} (unknown host)")
    if len(failures) == len(hosts):
        raise failures[0]
    return ", ".join(hosts)


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
    wanted = security.get("sasl.mechanisms", "PLAIN") if is_sasl else None
    hint_if_refused = ""
    if is_sasl:
        hint_if_refused = "use the port for user names and passwords; this one is for certificates"
    failures: list[ClickstreamError] = []
    for address in _broker_addresses(settings):
        try:
            with _connected(address, context, hint_if_refused, timeout_s) as connection:
                if not kafka_handshake.is_kafka(connection, timeout_s=timeout_s):
                    msg = f"the server on {address.host}:{address.port} is not Kafka"
                    or_tls = "" if is_tls else ", or set SSL or SASL_SSL"
                    raise ServerError(msg, f"use its port for clients{or_tls}")
                _check_login(address, wanted, connection)
                return _tls_version(connection)
        except ClickstreamError as error:
            failures.append(error)
    raise failures[0]


def _check_login(address: _Address, wanted: str | None, connection: socket.socket) -> None:
    """Compare the SASL mechanism of the settings, or None, with those the port accepts."""
    accepted = kafka_handshake.sasl_mechanisms(connection, wanted or "PLAIN")
    if wanted in accepted or (wanted is None and not accepted):
        return
    if wanted is None:
        msg = f"{address}: this port is for user names and passwords"
        hint = "set 'sasl.username' and 'sasl.password', or use the port for certificates"
    elif accepted:
        msg = f"{address} does not accept {wanted}"
        hint = f"set 'sasl.mechanisms' to {' or '.join(accepted)}"
    else:
        msg = f"{address}: this port is not for user names and passwords"
        hint = "use the port that is"
    raise ConfigError(msg, hint)


def resolve_opensearch(settings: OpenSearchSettings) -> str:
    """Resolve OpenSearch's name, and return it.

    Raises:
        ConfigError: the name does not resolve.
    """
    return _resolve(_opensearch_address(settings))


def probe_opensearch(settings: OpenSearchSettings) -> str:
    """Connect to OpenSearch, and return its TLS version.

    Raises:
        ConfigError: TLS failed; the message says why.
        ServerError: nothing listens there, or it does not answer.
    """
    is_tls = urlsplit(settings.url).scheme == "https"
    context = tls.for_opensearch(settings) if is_tls else None
    hint_if_refused = (
        "use OpenSearch's own port, or set 'cert' and 'key' of a user that it accepts in ",
        ConfFile("opensearch.json"),
    )
    with _connected(_opensearch_address(settings), context, hint_if_refused) as connection:
        return _tls_version(connection)


def _broker_addresses(settings: KafkaSettings) -> list[_Address]:
    return [_Address("Kafka", *each) for each in split_brokers(settings.bootstrap_servers)]


def _opensearch_address(settings: OpenSearchSettings) -> _Address:
    parts = urlsplit(settings.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return _Address("OpenSearch", parts.hostname or "", port)


def _resolve(address: _Address) -> str:
    try:
        socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        file = ConfFile(f"{address.server.lower()}.json")
        msg = f"{address.server}: unknown host {address.host!r}"
        raise ConfigError(msg, ("fix it in ", file, ", or check your network")) from error
    return address.host


@contextmanager
def _connected(
    address: _Address,
    context: ssl.SSLContext | None,
    hint_if_refused: Hint,
    timeout_s: float = _TIMEOUT_S,
) -> Iterator[socket.socket]:
    """Connect, and translate errors inside the block into ours."""
    is_there = False
    try:
        with socket.create_connection(
            (address.host, address.port), timeout=timeout_s
        ) as connection:
            is_there = True
            if context is None:
                yield connection
                return
            with context.wrap_socket(connection, server_hostname=address.host) as secured:
                yield secured
    except ssl.SSLError as error:
        cause, hint = tls.explain(error) or (str(error), "check its address")
        if tls.is_refusal(error):
            hint = hint_if_refused or hint
        msg = f"{address}: {cause}"
        raise ConfigError(msg, hint) from error
    except OSError as error:
        what = "the server does not answer" if is_there else "no connection"
        is_late = isinstance(error, TimeoutError)
        cause = f"within {timeout_s:g} s" if is_late else error.strerror or str(error)
        msg = f"{address}: {what} ({cause})"
        raise ServerError(msg, "check address, port and firewall") from error


def _tls_version(connection: socket.socket) -> str:
    return connection.version() or "" if isinstance(connection, ssl.SSLSocket) else "without TLS"
