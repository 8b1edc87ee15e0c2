"""The way to a target, before anything is asked of it: names, connections, TLS.

librdkafka says little of why TLS failed, and only after seconds; so the way is gone by hand
first, with the same certificates.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from clickstream import tls
from clickstream.errors import ClickstreamError, ConfigError, ServerError, conf_file
from clickstream.servers import kafka_handshake
from clickstream.settings import KafkaSettings, OpenSearchSettings, Settings

_CONNECT_S = 5.0
_LAST_PORT = 65_535


def check(settings: Settings, need: Collection[str] = ("kafka", "opensearch")) -> None:
    """Go the whole way to those that are needed; neither login nor name of ours is sent.

    Raises:
        ConfigError: a name that nobody knows, or TLS failed; the message says why.
        ServerError: nobody is there.
    """
    if "kafka" in need:
        kafka_names(settings.kafka)
        kafka_tls(settings.kafka)
    if "opensearch" in need:
        opensearch_name(settings.opensearch)
        opensearch_tls(settings.opensearch)


def kafka_names(settings: KafkaSettings) -> str:
    """Look up the names of all brokers that are named, and give them; one known is enough.

    Raises:
        ConfigError: nobody knows any of them.
    """
    found, failures = [], []
    for host, port in _brokers(settings):
        try:
            _look_up("Kafka", host, port)
            found.append(host)
        except ConfigError as error:
            failures.append(error)
            found.append(f"{host} (which nobody knows)")
    if len(failures) == len(found):
        raise failures[0]
    return ", ".join(found)


def kafka_tls(settings: KafkaSettings) -> str:
    """Ask the first broker that works for its version, over TLS, and say which TLS it is.

    Raises:
        ConfigError: TLS failed, or the port takes another kind of login; the message says why.
        ServerError: no broker is there, or what answers is no Kafka.
    """
    security = settings.security
    protocol = security.get("security.protocol", "PLAINTEXT")
    is_tls, is_sasl = protocol.endswith("SSL"), protocol.startswith("SASL")
    context = tls.context_of_kafka(security) if is_tls else None
    refused = "name the port for user names and passwords, this one is for certificates"
    failures: list[ClickstreamError] = []
    for host, port in _brokers(settings):
        try:
            with _connected("Kafka", host, port, context, refused if is_sasl else "") as connection:
                if not kafka_handshake.speaks(connection):
                    remedy = "name its port for clients"
                    remedy += "" if is_tls else ", or SSL or SASL_SSL"
                    msg = f"what answers on {host}:{port} is no Kafka; {remedy}"
                    raise ServerError(msg)
                wanted = security.get("sasl.mechanisms", "PLAIN") if is_sasl else None
                _check_login(f"Kafka on {host}:{port}", wanted, connection)
                return _said(connection)
        except ClickstreamError as error:
            failures.append(error)
    raise failures[0]


def _check_login(whose: str, wanted: str | None, connection: socket.socket) -> None:
    taken = kafka_handshake.mechanisms(connection, wanted or "PLAIN")
    if wanted is None and taken:
        msg = (
            f"{whose}: this port is for user names and passwords; name 'sasl.username' and "
            "'sasl.password', or the port for certificates"
        )
        raise ConfigError(msg)
    if wanted is not None and wanted not in taken:
        msg = f"{whose}: this port is not for user names and passwords; name the one that is"
        if taken:
            msg = f"{whose} takes no {wanted}; write 'sasl.mechanisms' as {' or '.join(taken)}"
        raise ConfigError(msg)


def opensearch_name(settings: OpenSearchSettings) -> str:
    """Look up OpenSearch's name, and give it.

    Raises:
        ConfigError: nobody knows it.
    """
    host, port, _ = _opensearch(settings)
    _look_up("OpenSearch", host, port)
    return host


def opensearch_tls(settings: OpenSearchSettings) -> str:
    """Connect to OpenSearch over TLS, and say which it is.

    Raises:
        ConfigError: TLS failed; the message says why.
        ServerError: nobody is there.
    """
    host, port, is_tls = _opensearch(settings)
    context = tls.context_of(settings) if is_tls else None
    refused = (
        "name OpenSearch's own port, or 'cert' and 'key' of a user whom it knows in "
        f"{conf_file('opensearch.json')}"
    )
    with _connected("OpenSearch", host, port, context, refused) as connection:
        return _said(connection)


def _brokers(settings: KafkaSettings) -> list[tuple[str, int]]:
    found = []
    for each in settings.bootstrap_servers.split(","):
        host, _, port = each.strip().rpartition(":")
        is_port = re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) <= _LAST_PORT
        if not host or "/" in host or not is_port:
            msg = f"'bootstrap.servers' {each.strip()!r} is no address; write NAME:PORT"
            raise ConfigError(msg)
        found.append((host.strip("[]"), int(port)))
    return found


def _opensearch(settings: OpenSearchSettings) -> tuple[str, int, bool]:
    parts = urlsplit(settings.url)
    is_tls = parts.scheme == "https"
    return parts.hostname or "", parts.port or (443 if is_tls else 80), is_tls


def _look_up(whose: str, host: str, port: int) -> None:
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        path = conf_file(f"{whose.lower()}.json")
        msg = f"{whose}: nobody knows the name {host!r}; mend it in {path}, or see your network"
        raise ConfigError(msg) from error


@contextmanager
def _connected(
    whose: str, host: str, port: int, context: ssl.SSLContext | None, refused: str
) -> Iterator[socket.socket]:
    """Connect; `refused` is what to do where it is our own certificate that is not taken."""
    is_there = False
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_S) as connection:
            is_there = True
            if context is None:
                yield connection
                return
            with context.wrap_socket(connection, server_hostname=host) as secured:
                yield secured
    except ssl.SSLError as error:
        cause, remedy = tls.why(error) or (str(error), "see its address")
        if tls.is_refusal(error):
            remedy = refused or remedy
        msg = f"{whose} on {host}:{port}: {cause}; {remedy}"
        raise ConfigError(msg) from error
    except OSError as error:
        what = "who is there does not answer" if is_there else "nobody is there"
        is_late = isinstance(error, TimeoutError)
        why = f"within {_CONNECT_S:.0f} s" if is_late else error.strerror or error
        msg = f"{whose} on {host}:{port}: {what} ({why}); see address, port and firewall"
        raise ServerError(msg) from error


def _said(connection: socket.socket) -> str:
    return connection.version() or "" if isinstance(connection, ssl.SSLSocket) else "without TLS"
