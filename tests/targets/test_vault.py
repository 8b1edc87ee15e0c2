"""Values from Vault, read from a loopback server that follows its documented API.

Source of the answers: Vault's HTTP API, "KV secrets engine, version 2", Read secret version.
"""

import json
import ssl
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from clickstream.errors import ConfigError, shown
from clickstream.targets import conf_files
from clickstream.targets.vault import Vault
from tests.support.errors import raises_shown
from tests.targets.test_conf_files import written

SECRETS = {"/v1/secret/data/clickstream/kafka": {"password": "hush-vault", "port": 5}}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if self.headers["X-Vault-Token"] != "good-token":
            self._answer(403, {"errors": ["permission denied"]})
        elif self.path == "/v1/secret/data/sealed":
            self._answer(503, {"errors": ["Vault is sealed"]})
        elif self.path == "/v1/secret/data/moved":
            self.send_response(302)
            self.send_header("Location", "/v1/secret/data/clickstream/kafka")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path in SECRETS:
            metadata = {"version": 1, "deletion_time": "", "destroyed": False}
            self._answer(200, {"data": {"data": SECRETS[self.path], "metadata": metadata}})
        else:
            self._answer(404, {"errors": []})

    def _answer(self, status: int, body: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext | None) -> Iterator[list[str]]:
    """Run a Vault server and set a valid token; yield the requested paths."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.asked = []  # type: ignore[attr-defined]
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    where = f"https://localhost:{server.server_port}"
    if tls is None:
        where = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("VAULT_ADDR", where)
    monkeypatch.setenv("VAULT_TOKEN", "good-token")
    try:
        yield server.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A running Vault server; yields the requested paths."""
    with served(monkeypatch, None) as asked:
        yield asked


def test_a_value_anywhere_in_the_files_comes_from_vault(tmp_path: Path, vault: list[str]) -> None:
    """Values may come from Vault anywhere in the files, with one request per path."""
    reference = "vault:secret/clickstream/kafka#password"
    folder = written(tmp_path, {"sasl.password": reference}, {"password": reference})
    found = conf_files.read(folder)
    assert found.kafka.security["sasl.password"] == found.opensearch.password == "hush-vault"
    assert vault == ["/v1/secret/data/clickstream/kafka"]


def test_a_vault_is_trusted_by_the_ca_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vault is verified with the CA of VAULT_CACERT, or else with the system's CAs."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with served(monkeypatch, tls) as asked:
        with raises_shown(ConfigError, match="is not trusted; set its CA, a PEM file, with"):
            Vault().read("vault:secret/clickstream/kafka#password")
        assert asked == []
        monkeypatch.setenv("HOME", str(tmp_path))
        for named in (str(tmp_path / "ca.pem"), "~/ca.pem"):
            monkeypatch.setenv("VAULT_CACERT", named)
            assert Vault().read("vault:secret/clickstream/kafka#password") == "hush-vault"


def test_no_proxy_gets_the_token_on_its_way_to_this_machine(
    vault: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests to Vault on loopback ignore proxy variables."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert Vault().read("vault:secret/clickstream/kafka#password") == "hush-vault"
    assert len(vault) == 1


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("vault:secret", "is not a valid reference; write it as vault:secret/clickstream#password"),
        ("vault:secret/clickstream/kafka", "is not a valid reference"),
        (
            "vault:secret/clickstream/kafka#user",
            "no string in field 'user'; its fields: password, port",
        ),
        ("vault:secret/clickstream/kafka#port", "no string in field 'port'"),
        ("vault:secret/nothing#password", "there is no such secret"),
        ("vault:secret/sealed#password", "sealed"),
        ("vault:secret/moved#password", "response is unreadable"),
    ],
)
def test_a_reference_that_gives_nothing_is_told(
    vault: list[str], reference: str, said: str
) -> None:
    """Which it is, and never what Vault holds."""
    with raises_shown(ConfigError, match=said) as refused:
        Vault().read(reference)
    assert reference in str(refused.value)
    assert "hush" not in "".join(traceback.format_exception(refused.value))


def test_a_token_that_is_no_good_is_told(vault: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong or missing token is a one-line error, which does not show the token."""
    monkeypatch.setenv("VAULT_TOKEN", "bad-token")
    with pytest.raises(ConfigError, match="the token lacks the permission") as refused:
        Vault().read("vault:secret/clickstream/kafka#password")
    assert "bad-token" not in shown(refused.value)
    monkeypatch.delenv("VAULT_TOKEN")
    with pytest.raises(ConfigError, match="set VAULT_ADDR and VAULT_TOKEN"):
        Vault().read("vault:secret/clickstream/kafka#password")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("VAULT_CACERT", "nowhere/ca.pem", "nowhere/ca.pem"),
        ("VAULT_TOKEN", "hush\ntoken", "VAULT_TOKEN or VAULT_NAMESPACE contains a character"),
        ("VAULT_ADDR", "https://127.0.0.1:port", "VAULT_ADDR is not a valid address"),
    ],
)
def test_a_variable_that_cannot_be_used_is_told(
    vault: list[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """An invalid variable is reported before any request, not as a Vault without an answer."""
    if name == "VAULT_CACERT":
        monkeypatch.setenv("VAULT_ADDR", "https://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said) as refused:
        Vault().read("vault:secret/clickstream/kafka#password")
    assert "hush" not in shown(refused.value)
    assert vault == []


def test_a_token_is_not_sent_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is sent over plain http only to this machine."""
    monkeypatch.setenv("VAULT_ADDR", "http://vault.example.com")
    monkeypatch.setenv("VAULT_TOKEN", "good-token")
    with pytest.raises(ConfigError, match="not sent unencrypted"):
        Vault().read("vault:secret/clickstream/kafka#password")


def test_nobody_where_vault_should_be_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Vault that does not answer is one line, without hvac's traceback."""
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", "good-token")
    with pytest.raises(ConfigError, match=r"Vault did not answer on 127\.0\.0\.1"):
        Vault().read("vault:secret/clickstream/kafka#password")
