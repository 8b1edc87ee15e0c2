"""Values stored in HashiCorp Vault: `vault:PATH#FIELD` of a KV v2 engine, read through hvac.

Address and token come from the same variables that Vault's tools use: `VAULT_ADDR`,
`VAULT_TOKEN`, and optionally `VAULT_NAMESPACE` and `VAULT_CACERT`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clickstream.errors import ConfigError
from clickstream.settings import is_loopback, split_url

PREFIX = "vault:"
_TIMEOUT_S = 10


class Vault:
    """Reads references; each path is read once."""

    def __init__(self) -> None:
        self._secrets: dict[str, dict[str, Any]] = {}

    def read(self, reference: str) -> str:
        """Return the value of `vault:PATH#FIELD`; PATH begins with the path of the engine.

        Raises:
            ConfigError: the reference or a variable is invalid, or Vault returned no value; the
                message contains no value from Vault.
        """
        path, _, name = reference.removeprefix(PREFIX).strip("/").partition("#")
        engine, _, inner = path.partition("/")
        if not (engine and inner and name):
            msg = f"{reference!r} is not a valid reference"
            raise ConfigError(msg, "write it as vault:secret/clickstream#password")
        if path not in self._secrets:
            self._secrets[path] = _read_secret(reference, engine, inner)
        found = self._secrets[path].get(name)
        if not isinstance(found, str) or not found:
            fields = ", ".join(sorted(self._secrets[path])) or "none"
            raise _mistake(
                reference, f"the secret has no string in field {name!r}", f"its fields: {fields}"
            )
        return found


def _mistake(reference: str, what: str, *hints: str) -> ConfigError:
    return ConfigError(f"{reference!r}: {what}", *hints)


def _read_secret(reference: str, engine: str, path: str) -> dict[str, Any]:
    try:
        import hvac  # noqa: PLC0415 - an optional package
        import requests  # noqa: PLC0415 - hvac's own
    except ImportError as error:
        msg = f"{reference!r} needs the package hvac"
        raise ConfigError(msg, f"install it with `{sys.executable} -m pip install hvac`") from error
    _check_variables(reference)
    address = os.environ["VAULT_ADDR"]
    host = urlsplit(address).hostname or ""
    hints = ["fix the reference, or ask the administrator of Vault"]
    session = requests.Session()
    session.trust_env = not is_loopback(host)  # otherwise a proxy would get the token
    # Set here, because hvac uses the setting of the session.
    session.verify = os.path.expanduser(os.environ.get("VAULT_CACERT", "")) or True
    try:
        client = hvac.Client(
            url=address,
            token=os.environ["VAULT_TOKEN"],
            namespace=os.environ.get("VAULT_NAMESPACE"),
            timeout=_TIMEOUT_S,
            allow_redirects=False,
            session=session,
        )
        answer = client.secrets.kv.v2.read_secret_version(
            path, mount_point=engine, raise_on_deleted_version=True
        )
        return dict(answer["data"]["data"])
    except hvac.exceptions.VaultError as error:
        cause = _REFUSALS.get(type(error).__name__, _UNREADABLE)
    except requests.exceptions.SSLError:
        cause = "Vault's certificate is not trusted"
        hints = ["set its CA, a PEM file, with VAULT_CACERT", *hints]
    except OSError:
        cause = f"Vault did not answer on {host}"
    except (KeyError, TypeError, ValueError):
        cause = _UNREADABLE
    # Raised here, so that it has no cause: that may contain Vault's response.
    msg = f"reading {reference!r}: {cause}"
    raise ConfigError(msg, *hints)


_REFUSALS = {
    "InvalidPath": "there is no such secret, or it was deleted, or the engine is not KV v2",
    "Forbidden": "the token lacks the permission, or has expired",
    "VaultDown": "Vault is sealed or on standby",
}
"""By the name of hvac's exception."""
_UNREADABLE = "Vault's response is unreadable"


def _check_variables(reference: str) -> None:
    """Refuse invalid variables, and addresses that would send the token unencrypted."""
    address, token, namespace = (
        os.environ.get(name, "") for name in ("VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE")
    )
    parts = split_url(address)
    if not (address and token):
        raise _mistake(reference, "set VAULT_ADDR and VAULT_TOKEN, as for Vault's own command")
    if parts is None:
        raise _mistake(reference, "VAULT_ADDR is not a valid address", "write https://NAME:PORT")
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        what = "VAULT_ADDR is not an https address, and the token is not sent unencrypted"
        raise _mistake(reference, what, "use https://")
    if not (token + namespace).isascii() or not (token + namespace).isprintable():
        what = "VAULT_TOKEN or VAULT_NAMESPACE contains a character that a header cannot have"
        raise _mistake(reference, what, "set it again")
    for name in ("VAULT_CACERT", "VAULT_CLIENT_CERT", "VAULT_CLIENT_KEY"):
        file = os.environ.get(name)
        if file and not Path(os.path.expanduser(file)).exists():
            raise _mistake(reference, f"{name} is {file}, which does not exist", "fix it")
