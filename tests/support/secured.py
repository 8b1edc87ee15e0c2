"""A Kafka and an OpenSearch like those of a hosting service: TLS, logins, few permissions."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha1
from itertools import islice
from pathlib import Path
from typing import Any

import trustme
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from clickstream.servers import download, ports, processes
from clickstream.servers.nodes import NODES


class Authority:
    """Issues the certificates of one hosting service, as PEM files in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ca = trustme.CA()
        self._folder = folder
        self.ca = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.ca))

    def issue(self, name: str, **options: Any) -> tuple[Path, Path]:
        """Return certificate and key of a server (by host) or a user (by common name)."""
        if name == "localhost":
            leaf = self._ca.issue_cert(name, **options)
        else:
            leaf = self._ca.issue_cert(f"{name}.invalid", common_name=name, **options)
        stem = f"{name}-{len(list(self._folder.iterdir()))}"
        cert, key = self._folder / f"{stem}.cert", self._folder / f"{stem}.key"
        cert.write_bytes(b"".join(each.bytes() for each in leaf.cert_chain_pems))
        private = load_pem_private_key(leaf.private_key_pem.bytes(), None)
        key.touch(mode=0o600)
        # Kafka's Java reads keys in this form alone.
        key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return cert, key


EXPIRED = {
    "not_before": datetime(2020, 1, 1, tzinfo=UTC),
    "not_after": datetime(2021, 1, 1, tzinfo=UTC),
}


@dataclass(frozen=True)
class Kafka:
    """Ports by listener, and a client with all permissions."""

    plain: int
    mtls: int
    scram: int
    expired: int
    """Like `mtls`, with an expired certificate."""
    away: int
    """Like `plain`, but it advertises an address that nobody can reach."""
    admin: AdminClient


@contextmanager
def kafka(folder: Path, authority: Authority) -> Iterator[Kafka]:
    """Run a broker that allows only what its ACLs grant."""
    plain, controller, mtls, scram, expired, away = islice(ports.free(), 6)
    own = {"port": plain, "controller_port": controller}
    folder.mkdir()
    command = NODES["kafka"].command(download.ensure_server_files(), folder, own)
    listeners = {"MTLS": mtls, "SCRAM": scram, "EXPIRED": expired}
    secured = {
        "listeners": ",".join(
            [f"PLAINTEXT://127.0.0.1:{plain}", f"CONTROLLER://127.0.0.1:{controller}"]
            + [f"AWAY://127.0.0.1:{away}"]
            + [f"{name}://127.0.0.1:{port}" for name, port in listeners.items()]
        ),
        "advertised.listeners": ",".join(
            [f"PLAINTEXT://127.0.0.1:{plain}", "AWAY://kafka.invalid:9092"]
            + [f"{name}://localhost:{port}" for name, port in listeners.items()]
        ),
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
        "AWAY:PLAINTEXT,MTLS:SSL,SCRAM:SASL_SSL,EXPIRED:SSL",
        **_keystore("", *authority.issue("localhost")),
        **_keystore("listener.name.expired.", *authority.issue("localhost", **EXPIRED)),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": _one_line(authority.ca),
        "listener.name.mtls.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": r"RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-256",
        "listener.name.scram.scram-sha-256.sasl.jaas.config": "org.apache.kafka.common.security."
        "scram.ScramLoginModule required;",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with (folder / "server.properties").open("a") as config:
        config.writelines(f"{key}={value}\n" for key, value in secured.items())
    with (folder / "kafka.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=processes.environment(),
        )
    try:
        until(lambda: NODES["kafka"].answers(plain), process)
        yield Kafka(
            plain,
            mtls,
            scram,
            expired,
            away,
            AdminClient({"bootstrap.servers": f"127.0.0.1:{plain}", "log_level": 0}),
        )
    finally:
        process.terminate()
        process.wait(30)


def _keystore(prefix: str, cert: Path, key: Path) -> dict[str, str]:
    return {
        f"{prefix}ssl.keystore.type": "PEM",
        f"{prefix}ssl.keystore.key": _one_line(key),
        f"{prefix}ssl.keystore.certificate.chain": _one_line(cert),
    }


def _one_line(pem: Path) -> str:
    """Format PEM as a value of a Java properties file."""
    return pem.read_text().strip().replace("\n", "\\n")


def until(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], *, timeout_s: float = 60
) -> None:
    """Wait until a server answers."""
    ends_s = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < ends_s, "no answer"
        time.sleep(0.1)


def add_user(admin: AdminClient, name: str, password: str) -> None:
    """Create a user for SCRAM-SHA-256."""
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
    wanted = UserScramCredentialUpsertion(name, info, password.encode())
    for future in admin.alter_user_scram_credentials([wanted]).values():
        future.result(30)


Permission = tuple[str, str, str]


def allow(admin: AdminClient, user: str, permissions: Iterable[Permission]) -> None:
    """Grant permissions: resource type, name (a final `*` means prefix) and operation."""
    bindings = [
        AclBinding(
            ResourceType[kind],
            name.removesuffix("*"),
            ResourcePatternType.PREFIXED if name.endswith("*") else ResourcePatternType.LITERAL,
            *(f"User:{user}", "*", AclOperation[operation], AclPermissionType.ALLOW),
        )
        for kind, name, operation in permissions
    ]
    for future in admin.create_acls(bindings).values():
        future.result(30)


@dataclass(frozen=True)
class OpenSearch:
    """Ports of the endpoints of one OpenSearch."""

    port: int
    expired: int
    """With an expired certificate."""
    poor: int
    """Without permission to create templates and data streams, or to delete documents."""
    mtls: int
    """With client certificates."""
    log: Path


@contextmanager
def opensearch(
    folder: Path, authority: Authority, upstream: str, users: dict[str, str]
) -> Iterator[OpenSearch]:
    """Run an nginx with TLS and basic authentication in front of an OpenSearch."""
    folder.mkdir()
    port, expired_port, poor_port, mtls_port = listening = tuple(islice(ports.free(), 4))
    good, expired = authority.issue("localhost"), authority.issue("localhost", **EXPIRED)
    passwords = folder / "passwords"
    hashed = (f"{name}:{{SHA}}{_sha(password)}" for name, password in users.items())
    passwords.write_text("\n".join(hashed) + "\n")
    login = f'auth_basic "OpenSearch"; auth_basic_user_file {passwords};'
    poor = "location ~ (^/_index_template/|^/_data_stream/|/_delete_by_query) { return 403; }"
    by_certificate = f"ssl_verify_client on; ssl_client_certificate {authority.ca};"
    endpoints = [(good, login), (expired, login), (good, login + poor), (good, by_certificate)]
    servers = "\n".join(
        f"""server {{
            listen 127.0.0.1:{own} ssl; server_name localhost;
            ssl_certificate {cert}; ssl_certificate_key {key};
            client_max_body_size 100m; {extra}
            location / {{ proxy_pass {upstream}; proxy_http_version 1.1;
                proxy_set_header Connection ""; proxy_set_header Authorization ""; }}
        }}"""
        for own, ((cert, key), extra) in zip(listening, endpoints, strict=True)
    )
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log info; worker_processes 1;\n"
        + ("user root;\n" if os.geteuid() == 0 else "")
        + "events {}\n"
        + f"http {{ access_log {folder}/access.log; {temporary}\n{servers}\n}}\n"
    )
    process = subprocess.Popen(
        ["nginx", "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")],
        stdin=subprocess.DEVNULL,
    )
    try:
        until(lambda: _listens(listening[0]), process)
        yield OpenSearch(port, expired_port, poor_port, mtls_port, folder / "access.log")
    finally:
        process.terminate()
        process.wait(30)


def _sha(password: str) -> str:
    return b64encode(sha1(password.encode(), usedforsecurity=False).digest()).decode()


def _listens(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0
