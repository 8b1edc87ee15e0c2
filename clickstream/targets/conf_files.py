"""The two files of a hosted target: read, validate and turn them into settings.

Mistakes in the files are reported here, before anything is sent. The only connection is to Vault,
for values that are stored there.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from clickstream import tls
from clickstream.errors import ConfigError
from clickstream.settings import KafkaSettings, OpenSearchSettings, Settings, is_loopback
from clickstream.targets.vault import PREFIX, Vault


class _ConfFile(msgspec.Struct, frozen=True, kw_only=True):
    """The fields are the keys that a file may contain; all values are strings."""

    def __repr__(self) -> str:
        """Show no values, because some are secrets."""
        return type(self).__name__

    def given(self) -> dict[str, str]:
        """Return the given values, by their key in the file."""
        values: dict[str, str | None] = msgspec.to_builtins(self)
        return {key: value for key, value in values.items() if value is not None}


class KafkaFile(_ConfFile, frozen=True, kw_only=True, rename=lambda name: name.replace("_", ".")):
    """`kafka.json`: librdkafka's property names, with dots, and the topic."""

    bootstrap_servers: str
    topic: str = KafkaSettings.topic
    security_protocol: str | None = None
    ssl_ca_location: str | None = None
    ssl_certificate_location: str | None = None
    ssl_key_location: str | None = None
    sasl_mechanisms: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    ssl_key_password: str | None = None


class OpenSearchFile(_ConfFile, frozen=True, kw_only=True):
    """`opensearch.json`; `host` is a URL, `host:port`, or a bare name for https."""

    host: str
    username: str | None = None
    password: str | None = None
    index: str = OpenSearchSettings.index
    ca: str | None = None
    cert: str | None = None
    key: str | None = None


_File = TypeVar("_File", bound=_ConfFile)

KAFKA, OPENSEARCH = "kafka.json", "opensearch.json"
KEYS: Final = {
    name: tuple(field.encode_name for field in msgspec.structs.fields(kind))
    for name, kind in ((KAFKA, KafkaFile), (OPENSEARCH, OpenSearchFile))
}
EXAMPLES: Final = {
    KAFKA: '{"bootstrap.servers": "kafka.example.com:9092"}',
    OPENSEARCH: '{"host": "https://opensearch.example.com", "username": "…", "password": "…"}',
}
_KAFKA_FILES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
_SECRETS = ("sasl.password", "ssl.key.password", "password")
_REFUSED = {
    "enable.ssl.certificate.verification": "it would turn verification off",
    "ssl.endpoint.identification.algorithm": "the name is always verified",
}
_NAMES: Final = {
    "topic": (r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,240}", "letters, digits, '.', '_' and '-'"),
    "index": (r"[a-z0-9][a-z0-9._-]{0,240}", "lower-case letters, digits, '.', '_' and '-'"),
}
"""Valid names of one topic and one index; a reset would delete all matches of a pattern."""
_ADDRESSES: Final = frozenset({"bootstrap.servers", "host"})
_PROTOCOLS = ("SSL", "SASL_SSL", "PLAINTEXT", "SASL_PLAINTEXT")
_MISSPELT = 0.93
"""Similarity, from 0 to 1, above which a variable counts as a misspelling of one of ours."""
_CA, _CERT, _KEY = "ca.pem", "service.cert", "service.key"


def is_configured(folder: Path) -> bool:
    """Say whether a folder names a hosted target.

    Raises:
        ConfigError: only one of the two files exists.
    """
    try:
        # A broken link counts as present; reading it reports the error.
        there = [
            name
            for name in (KAFKA, OPENSEARCH)
            if (folder / name).exists() or (folder / name).is_symlink()
        ]
    except OSError as error:
        msg = f"looking into {folder}: {error.strerror}"
        raise ConfigError(msg, "mend its rights, or name another folder") from error
    if len(there) == 1:
        (missing,) = {KAFKA, OPENSEARCH}.difference(there)
        msg = f"{folder} has {there[0]} and no {missing}: a hosted target needs both"
        raise ConfigError(msg, f"write {folder / missing}, such as {EXAMPLES[missing]}")
    return bool(there)


def read(folder: Path) -> Settings:
    """Return the settings that a folder's two files describe.

    An environment variable overrides or adds a value: `CLICKSTREAM_KAFKA_` or
    `CLICKSTREAM_OPENSEARCH_` followed by the key in capitals, with `_` for `.`. A value
    `vault:PATH#FIELD` is read from Vault.

    Raises:
        ConfigError: a file is missing or is not a JSON object, a key is unknown, a value is
            missing or contradicts another, a certificate is unusable, or Vault has no value.
    """
    if not is_configured(folder):
        msg = f"the hosted target needs {folder / KAFKA} and {folder / OPENSEARCH}"
        raise ConfigError(msg, "the project's conf/README.md says what they hold")
    vault = Vault()
    kafka = _read(folder / KAFKA, KafkaFile, vault)
    opensearch = _read(folder / OPENSEARCH, OpenSearchFile, vault)
    return Settings(_kafka_settings(folder, kafka), _opensearch_settings(folder, opensearch))


def readable_by_others(folder: Path, settings: Settings) -> list[Path]:
    """List the files with secrets that other users of this machine can read, sorted."""
    kept = {folder / KAFKA, folder / OPENSEARCH, settings.opensearch.key}
    if key := settings.kafka.security.get("ssl.key.location"):
        kept.add(Path(key))
    return [
        path
        for path in sorted(filter(None, kept))
        if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH) and _holds_secret(path)
    ]


def chmod_remedy(paths: list[Path]) -> str:
    """Return the command that makes these files private."""
    return f"run `chmod 600 {' '.join(map(str, paths))}`"


def _holds_secret(path: Path) -> bool:
    if path.suffix != ".json":
        return True
    found = json.loads(path.read_text("utf-8-sig"))
    secrets = [found[key] for key in _SECRETS if key in found]
    return any(not str(each).startswith(PREFIX) for each in secrets)


def _read(path: Path, kind: type[_File], vault: Vault) -> _File:
    """Read a file, apply variables and Vault, and validate each value."""
    keys, values = KEYS[path.name], _parse(path)
    for key, value in values.items():
        if key in _REFUSED:
            msg = f"{path}: {key!r} is refused, for {_REFUSED[key]}"
            raise ConfigError(msg, "take it out")
        if key not in keys:
            msg = f"{path}: no key {key!r} is known"
            raise ConfigError(msg, _suggestion(key, keys))
        if not isinstance(value, str) or not value:
            what = "empty" if value == "" else "no text"
            msg = f"{path}: {key!r} is {what}"
            raise ConfigError(msg, "write one in quotes, or take the key out")
    values |= dict(_from_environment(path.name))
    for key, value in values.items():
        values[key] = _checked(path, key, vault.read(value) if value.startswith(PREFIX) else value)
    for field in msgspec.structs.fields(kind):
        if field.required:
            _require(path, field.encode_name, values)
    return msgspec.convert(values, kind)


def _checked(path: Path, key: str, value: str) -> str:
    if key in _ADDRESSES:
        value = value.strip()
    if not value.isprintable():
        msg = f"{path}: {key!r} holds a line break or another character without a sign"
        raise ConfigError(msg, "mend it")
    if key in _NAMES:
        pattern, letters = _NAMES[key]
        if not re.fullmatch(pattern, value):
            msg = f"{path}: {key!r} {value!r} is no name"
            raise ConfigError(msg, f"use {letters}")
    return value


def _parse(path: Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, times in Counter(key for key, _ in pairs).items():
            if times > 1:
                msg = f"{path}: {key!r} stands there more than once"
                raise ConfigError(msg, "take the others out")
        return dict(pairs)

    try:
        # Windows editors write a byte order mark before UTF-8.
        found: Any = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=once)
    except OSError as error:
        msg = f"reading {path}: {error.strerror}"
        raise ConfigError(msg, "mend it") from error
    except UnicodeDecodeError:
        msg = f"reading {path}: it is not UTF-8"
        # Without its cause: that holds the whole file.
        raise ConfigError(msg, "save it as that") from None
    except (ValueError, RecursionError) as error:
        where = "numbers or levels too long"
        if isinstance(error, json.JSONDecodeError):
            where = f"{error.msg} in line {error.lineno}"
            where += ": write \\ twice" if "escape" in error.msg else ""
        msg = f"{path} is no JSON: {where}"
        # Without its cause: that holds the whole file.
        raise ConfigError(msg, "mend it there") from None
    if not isinstance(found, dict):
        msg = f"{path} is no JSON object"
        raise ConfigError(msg, f"write it as {EXAMPLES[path.name]}")
    return found


def _from_environment(name: str) -> Iterator[tuple[str, str]]:
    variables = {_variable(name, key): key for key in KEYS[name]}
    for variable, value in os.environ.items():
        if variable in variables:
            if value:
                yield variables[variable], value
        elif variable.startswith(_variable(name, "")) or _is_misspelt(variable, variables):
            msg = f"no variable {variable} is known"
            raise ConfigError(msg, _suggestion(variable, variables))


def _suggestion(word: str, words: Iterable[str]) -> str:
    near = get_close_matches(word, words := list(words), 1)
    return f"perhaps {near[0]!r} is meant" if near else f"valid: {', '.join(words)}"


def _is_misspelt(variable: str, variables: Iterable[str]) -> bool:
    """Say whether it is one of them with a misspelt prefix."""
    is_ours = variable.startswith("CLICKSTREAM_")
    return is_ours and bool(get_close_matches(variable, variables, 1, cutoff=_MISSPELT))


def _variable(name: str, key: str) -> str:
    return f"CLICKSTREAM_{name.removesuffix('.json')}_{key}".upper().replace(".", "_")


def _require(path: Path, key: str, values: Mapping[str, str]) -> None:
    if key not in values:
        msg = f"{path}: {key!r} is missing"
        raise ConfigError(msg, f"write it there, or set {_variable(path.name, key)}")


def _url(path: Path, host: str) -> str:
    url = host if "://" in host else f"https://{host}"
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment:
        msg = f"{path}: 'host' is no address"
        raise ConfigError(msg, "write https://NAME:PORT")
    if parts.username is not None or parts.password is not None:
        msg = f"{path}: 'host' holds a user"
        raise ConfigError(
            msg, "write it as 'username' and 'password', with signs in place of codes such as %2F"
        )
    if parts.path.strip("/"):
        # Of Dashboards, mostly, whose address is what a browser shows.
        msg = f"{path}: 'host' holds a path"
        raise ConfigError(msg, "write the API's https://NAME:PORT")
    return url.rstrip("/")


def _brokers(path: Path, servers: str) -> str:
    """Normalise a broker list; refuse a user in it, because the list is shown in many places."""
    named = ",".join(filter(None, (each.strip() for each in servers.split(","))))
    if "@" in named:
        msg = f"{path}: 'bootstrap.servers' holds a user"
        raise ConfigError(msg, "write it as 'sasl.username' and 'sasl.password'")
    if "://" in named:
        msg = f"{path}: 'bootstrap.servers' holds '://'"
        raise ConfigError(msg, "write NAME:PORT alone")
    return named


def _kafka_settings(folder: Path, file: KafkaFile) -> KafkaSettings:
    path = folder / KAFKA
    servers = _brokers(path, file.bootstrap_servers)
    security = file.given()
    del security["bootstrap.servers"], security["topic"]
    protocol = file.security_protocol or _likely_protocol(folder, path, file)
    security["security.protocol"] = protocol
    if protocol not in _PROTOCOLS:
        msg = f"{path}: no 'security.protocol' {protocol!r}"
        raise ConfigError(msg, f"valid: {', '.join(_PROTOCOLS)}")
    if protocol.startswith("SASL_"):
        security.setdefault("sasl.mechanisms", "SCRAM-SHA-256")
        for key in ("sasl.username", "sasl.password"):
            _require(path, key, security)
    if protocol.endswith("SSL"):
        security |= _certificates(folder, protocol, security)
        _check_both(path, "ssl.certificate.location", "ssl.key.location", security)
        tls.for_kafka(security)
    else:
        _refuse_clear(path, protocol, servers, security)
    return KafkaSettings(servers, topic=file.topic, security=security, is_hosted=True)


def _certificates(folder: Path, protocol: str, security: Mapping[str, str]) -> dict[str, str]:
    """Return the certificate files that are named, or have their usual names in the folder."""
    usual = [_CA, _CERT, _KEY] if protocol == "SSL" else [_CA]
    beside = {
        property_: name
        for property_, name in zip(_KAFKA_FILES, usual, strict=False)
        if (folder / name).exists()
    }
    named = beside | {name: security[name] for name in _KAFKA_FILES if name in security}
    return {key: str(folder / os.path.expanduser(name)) for key, name in named.items()}


def _likely_protocol(folder: Path, path: Path, file: KafkaFile) -> str:
    if file.sasl_username:
        return "SASL_SSL"
    there = [name for name in (_CERT, _KEY) if (folder / name).exists()]
    if file.ssl_certificate_location or len(there) == 2:
        return "SSL"
    found = f"; {there[0]} alone is not enough" if there else ""
    msg = f"{path} says nothing of security"
    raise ConfigError(
        msg,
        f"put {_CA}, {_CERT} and {_KEY} beside it, or name 'sasl.username' and "
        f"'sasl.password', or a 'security.protocol'{found}",
    )


def _refuse_clear(path: Path, protocol: str, servers: str, security: Mapping[str, str]) -> None:
    wanted = ("ssl.", "sasl.") if protocol == "PLAINTEXT" else ("ssl.",)
    unused = [key for key in security if key.startswith(wanted)]
    if unused:
        msg = f"{path}: {protocol} uses no {unused[0]!r}"
        raise ConfigError(msg, "name SSL or SASL_SSL, or take it out")
    hosts = [each.strip().rpartition(":")[0].strip("[]") for each in servers.split(",")]
    if not all(map(is_loopback, hosts)):
        msg = f"{path}: {protocol} would send all in the clear"
        raise ConfigError(msg, "use SSL or SASL_SSL")


def _check_both(path: Path, one: str, other: str, values: Mapping[str, str]) -> None:
    if (one in values) != (other in values):
        there, missing = (one, other) if one in values else (other, one)
        msg = f"{path}: {there!r} without {missing!r}"
        raise ConfigError(msg, f"name both, or set {_variable(path.name, missing)}")


def _opensearch_settings(folder: Path, file: OpenSearchFile) -> OpenSearchSettings:
    path = folder / OPENSEARCH
    url = _url(path, file.host)
    _check_both(path, "username", "password", file.given())
    _check_both(path, "cert", "key", file.given())
    parts = urlsplit(url)
    is_plain = parts.scheme == "http"
    if is_plain and not is_loopback(parts.hostname or ""):
        msg = f"{path}: {url} would get all in the clear"
        raise ConfigError(msg, "write https://")
    if is_plain and parts.port is None:
        msg = f"{path}: 'host' {url} names no port"
        raise ConfigError(msg, "write http://NAME:PORT")
    if is_plain and (file.ca or file.cert or file.key):
        msg = f"{path}: 'host' is {url}, and 'ca', 'cert' and 'key' are for https"
        raise ConfigError(msg, "take them out")
    ca, cert, key = (
        folder / os.path.expanduser(name) if name else None
        for name in (file.ca, file.cert, file.key)
    )
    tls.context(ca, cert, key)
    return OpenSearchSettings(
        url,
        index=file.index,
        username=file.username,
        password=file.password,
        ca=ca,
        cert=cert,
        key=key,
        is_hosted=True,
    )
