"""Values that lie in HashiCorp Vault: `vault:PATH#FIELD` of a KV v2 engine, read through hvac.

Where Vault is and who asks comes from the variables Vault's own tools read: `VAULT_ADDR`,
`VAULT_TOKEN`, and `VAULT_NAMESPACE` and `VAULT_CACERT` where they are set.
"""

from __future__ import annotations

import os
import sys
from typing import Any
from urllib.parse import urlsplit

from clickstream.errors import ConfigError
from clickstream.settings import is_loopback

PREFIX = "vault:"
_TIMEOUT_S = 10


class Vault:
    """Reads references, each path once."""

    def __init__(self) -> None:
        self._secrets: dict[str, dict[str, Any]] = {}

    def read(self, reference: str) -> str:
        """Give the value that `vault:PATH#FIELD` stands for; PATH begins with the engine's.

        Raises:
            ConfigError: what is wrong with the reference, or why Vault gave nothing; never
                anything that Vault holds.
        """
        path, _, name = reference.removeprefix(PREFIX).strip("/").partition("#")
        engine, _, inner = path.partition("/")
        if not (engine and inner and name):
            msg = f"{reference!r} is no reference; write it as vault:secret/clickstream#password"
            raise ConfigError(msg)
        if path not in self._secrets:
            self._secrets[path] = _ask(reference, engine, inner)
        found = self._secrets[path].get(name)
        if not isinstance(found, str) or not found:
            there = ", ".join(sorted(self._secrets[path])) or "none"
            msg = f"{reference!r}: the secret has no text under {name!r}; its fields: {there}"
            raise ConfigError(msg)
        return found


def _ask(reference: str, engine: str, path: str) -> dict[str, Any]:
    try:
        import hvac  # noqa: PLC0415 - an optional package
        import requests  # noqa: PLC0415 - hvac's own
    except ImportError as error:
        msg = (
            f"{reference!r} needs the package hvac; install it with "
            f"`{sys.executable} -m pip install hvac`"
        )
        raise ConfigError(msg) from error
    address, token = os.environ.get("VAULT_ADDR", ""), os.environ.get("VAULT_TOKEN", "")
    if not (address and token):
        msg = f"{reference!r}: set VAULT_ADDR and VAULT_TOKEN, as for the command vault"
        raise ConfigError(msg)
    try:
        where = urlsplit(address)
        if where.port == 0 or not where.hostname:
            raise ValueError
    except ValueError as error:
        msg = f"{reference!r}: VAULT_ADDR is no address; write https://NAME:PORT"
        raise ConfigError(msg) from error
    is_near = is_loopback(where.hostname or "")
    if where.scheme != "https" and not is_near:
        msg = (
            f"{reference!r}: VAULT_ADDR is no https address, and a token is not sent in the "
            "clear; write https://"
        )
        raise ConfigError(msg)
    why = "Vault gave no answer that can be read"
    try:
        session = requests.Session()
        session.trust_env = not is_near  # or a proxy would get the token
        # Here, for hvac takes the session's in place of its own.
        session.verify = os.environ.get("VAULT_CACERT") or True
        client = hvac.Client(
            url=address,
            token=token,
            namespace=os.environ.get("VAULT_NAMESPACE"),
            timeout=_TIMEOUT_S,
            allow_redirects=False,
            session=session,
        )
        answer = client.secrets.kv.v2.read_secret_version(
            path, mount_point=engine, raise_on_deleted_version=True
        )
        return dict(answer["data"]["data"])
    except hvac.exceptions.InvalidPath:
        why = "there is no such secret, or it was deleted, or the engine is not KV v2"
    except hvac.exceptions.Forbidden:
        why = "the token may not read it, or is not valid any more"
    except hvac.exceptions.VaultDown:
        why = "Vault is sealed or on standby"
    except requests.exceptions.SSLError:
        why = "Vault's certificate is not trusted; name its CA, a PEM file, with VAULT_CACERT"
    except requests.exceptions.InvalidHeader:
        why = "VAULT_TOKEN or VAULT_NAMESPACE holds a line break or another character of no header"
    except requests.exceptions.RequestException:
        why = f"no Vault answered on {where.hostname}"
    except OSError as error:
        why = str(error)  # a file that VAULT_CACERT or VAULT_CLIENT_CERT names
    except (hvac.exceptions.VaultError, KeyError, TypeError, ValueError):
        pass  # `why` says it
    # Out here, so that it has no cause: that may hold what Vault said.
    msg = f"reading {reference!r}: {why}; mend the reference, or ask whoever runs Vault"
    raise ConfigError(msg)
