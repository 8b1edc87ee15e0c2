"""An OpenSearch with its security plugin: real users, roles and client certificates.

The kit's own version cannot be tested with it, because the plugin was never published for it. This
one is older. Its files have a list of their own, `security_plugin.sha256`, and the kit's cache.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from cryptography import x509
from filelock import FileLock
from jgo.maven import PythonResolver
from opensearchpy import OpenSearchException

from clickstream.opensearch import client
from clickstream.opensearch.client import Client
from clickstream.servers import download, manifest, ports, processes
from clickstream.servers.nodes import NODES
from clickstream.settings import OpenSearchSettings
from tests.support.secured import Authority, until

_LIST = Path(__file__).with_name("security_plugin.sha256")
_VERSION = "3.4.0"
_REINDEX = f"""\
description=delete by query
version={_VERSION}
name=reindex
classname=org.opensearch.index.reindex.ReindexModulePlugin
java.version=21
opensearch.version={_VERSION}
"""
_PLUGIN = "plugins/opensearch-security"
_LOGINS = {
    "certificate": {
        "http_enabled": True,
        "order": 0,
        "http_authenticator": {
            "type": "clientcert",
            "challenge": False,
            "config": {"username_attribute": "cn"},
        },
        "authentication_backend": {"type": "noop"},
    },
    "password": {
        "http_enabled": True,
        "order": 1,
        "http_authenticator": {"type": "basic", "challenge": True},
        "authentication_backend": {"type": "intern"},
    },
}


def home() -> Path:
    """Return the installed OpenSearch; the first call downloads and assembles it."""
    servers = download.cache_dir() / "servers"
    servers.mkdir(parents=True, exist_ok=True)
    ready = servers / f"security-plugin-{manifest.marker(_LIST)}"
    with FileLock(download.cache_dir() / "servers.lock"):
        if not ready.exists():
            # The next download of the servers deletes what a killed run leaves.
            with tempfile.TemporaryDirectory(prefix="staging-", dir=servers) as staging:
                _assembled(Path(staging)).rename(ready)
    return ready


def _assembled(staging: Path) -> Path:
    """Add the plugin, and the module of delete by query, which the minimal zip lacks."""
    files = {each.coordinate.split(":")[1]: _fetch(each, staging) for each in manifest.read(_LIST)}
    with zipfile.ZipFile(files.pop("opensearch")) as archive:
        archive.extractall(staging)
    opensearch = staging / f"opensearch-{_VERSION}"
    plugin, reindex = (opensearch / place for place in (_PLUGIN, "modules/reindex"))
    with zipfile.ZipFile(files.pop("opensearch-security")) as archive:
        archive.extractall(plugin)
    descriptor = plugin / "plugin-descriptor.properties"
    # It requires a module that the zip lacks, and uses only a library of that module.
    text = descriptor.read_text().replace(",rule-framework\n", ",rule-framework;optional=true\n")
    descriptor.write_text(text)
    shutil.copy(files.pop("commons-collections4"), plugin)
    reindex.mkdir()
    (reindex / descriptor.name).write_text(_REINDEX)
    for jar in (*files.values(), *plugin.glob("httpc*5-*.jar")):
        shutil.copy(jar, reindex)
    return opensearch


def _fetch(each: manifest.PinnedFile, staging: Path) -> Path:
    path: Path = download.artifact(each.coordinate, staging / "jgo", PythonResolver()).resolve()
    assert download.sha256(path) == each.sha256, f"{each.coordinate} is not the listed file"
    return path


@dataclass(frozen=True)
class SecuredOpenSearch:
    """Its port, and a client with all permissions."""

    port: int
    admin: Client

    def add_role(self, name: str, role: dict[str, Any]) -> None:
        """Create or replace a role."""
        self._put(f"roles/{name}", **role)

    def add_user(self, name: str, password: str, *roles: str) -> None:
        """Create or replace a user with a password; the roles must exist."""
        self._put(f"internalusers/{name}", password=password, opendistro_security_roles=roles)

    def give_role(self, name: str, *users: str) -> None:
        """Give a role to users, also to those that only have a certificate, and to no other."""
        self._put(f"rolesmapping/{name}", users=users)

    def _put(self, path: str, **body: Any) -> None:
        self.admin.transport.perform_request("PUT", f"/_plugins/_security/api/{path}", body=body)


@contextmanager
def opensearch(folder: Path, authority: Authority) -> Iterator[SecuredOpenSearch]:
    """Run an OpenSearch that first only knows its administrator, by certificate."""
    port, transport_port = islice(ports.free(), 2)
    files = download.ServerFiles((), home())
    own = {"port": port, "transport_port": transport_port}
    command = NODES["opensearch"].command(files, folder, own)
    administrator, key = authority.issue("administrator")
    _configure(folder / "config", authority, administrator)
    with (folder / "opensearch.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=processes.environment(),
        )
    url = f"https://localhost:{port}"
    admin = client.connect(OpenSearchSettings(url, ca=authority.ca, cert=administrator, key=key))
    try:
        # Longer than usual: it reads a hundred jars and checks its cryptography first.
        until(lambda: _is_up(admin), process, timeout_s=240)
        yield SecuredOpenSearch(port, admin)
    finally:
        admin.close()
        process.terminate()
        process.wait(30)


def _configure(config: Path, authority: Authority, administrator: Path) -> None:
    node, key = authority.issue("localhost")
    for path, name in ((authority.ca, "ca.pem"), (node, "node.cert"), (key, "node.key")):
        shutil.copy(path, config / name)  # the plugin reads no file outside its folder
    subject = x509.load_pem_x509_certificate(administrator.read_bytes()).subject
    options: dict[str, Any] = {
        "allow_default_init_securityindex": True,
        "audit.type": "noop",
        "authcz.admin_dn": [subject.rfc4514_string()],
        "ssl.http.enabled": True,
        "ssl.http.clientauth_mode": "OPTIONAL",
    }
    for layer in ("http", "transport"):
        options |= {
            f"ssl.{layer}.pemcert_filepath": "node.cert",
            f"ssl.{layer}.pemkey_filepath": "node.key",
            f"ssl.{layer}.pemtrustedcas_filepath": "ca.pem",
        }
    with (config / "opensearch.yml").open("a") as file:
        file.writelines(
            f"plugins.security.{key}: {json.dumps(value)}\n" for key, value in options.items()
        )
    initial = shutil.copytree(home() / _PLUGIN / "config", config / "opensearch-security")
    for name, kind, content in (
        ("config", "config", {"config": {"dynamic": {"authc": _LOGINS}}}),
        ("internal_users", "internalusers", {}),  # its own have known passwords
        ("roles_mapping", "rolesmapping", {}),  # its own gives every user bulk requests and scrolls
    ):
        meta = {"_meta": {"type": kind, "config_version": 2}}
        (initial / f"{name}.yml").write_text(json.dumps(meta | content))


def _is_up(admin: Client) -> bool:
    try:
        answer = admin.transport.perform_request("GET", "/_plugins/_security/health")
    except OpenSearchException:
        return False
    return bool(answer["status"] == "UP")
