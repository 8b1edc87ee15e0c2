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
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from clickstream import tls
from clickstream.errors import ConfigError, Hint
from clickstream.settings import (
    KafkaSettings,
    OpenSearchSettings,
    Settings,
    is_loopback,
    separator,
    split_brokers,
    split_url,
)
from clickstream.targets.vault import PREFIX, Vault

KAFKA, OPENSEARCH = "kafka.json", "opensearch.json"
KEYS: Final = {
    KAFKA: (
        *("bootstrap.servers", "topic", "security.protocol"),
        *("ssl.ca.location", "ssl.certificate.location", "ssl.key.location"),
        *("sasl.mechanisms", "sasl.username", "sasl.password", "ssl.key.password"),
    ),
    OPENSEARCH: ("host", "username", "password", "index", "ca", "cert", "key"),
}
"""The keys that a file may contain. The first one is required, and all values are strings."""
EXAMPLES: Final = {
    KAFKA: '{"bootstrap.servers": "kafka.example.com:9092"}',
    OPENSEARCH: '{"host": "https://opensearch.example.com", "username": "…", "password": "…"}',
}
_USUAL_FILES = {
    "ssl.ca.location": "ca.pem",
    "ssl.certificate.location": "service.cert",
    "ssl.key.location": "service.key",
}
"""Files that are used without being named, if they are beside `kafka.json`."""
_SECRETS = ("sasl.password", "ssl.key.password", "password")
_REFUSED = {
    "enable.ssl.certificate.verification": "it would turn off verification",
    "ssl.endpoint.identification.algorithm": "the name is always verified",
}
_NAMES: Final = {
    "topic": (r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,240}", "letters, digits, '.', '_' and '-'"),
    "index": (r"[a-z0-9][a-z0-9._-]{0,240}", "lower-case letters, digits, '.', '_' and '-'"),
}
"""Valid names of one topic and one index; a reset would delete all matches of a pattern."""
_PROTOCOLS = ("SSL", "SASL_SSL", "PLAINTEXT", "SASL_PLAINTEXT")
_MISSPELT = 0.93
"""Similarity, from 0 to 1, above which a variable counts as a misspelling of one of the kit's."""


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
        msg = f"reading folder {folder}: {error.strerror}"
        raise ConfigError(msg, "fix its permissions, or choose another folder") from error
    if len(there) == 1:
        (missing,) = {KAFKA, OPENSEARCH}.difference(there)
        msg = f"{folder} has {there[0]} but no {missing}; a hosted target needs both"
        raise ConfigError(msg, f"create {folder / missing}, such as {EXAMPLES[missing]}")
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
        raise ConfigError(msg, "the project's conf/README.md describes them")
    vault = Vault()
    kafka, opensearch = (_read(folder / name, vault) for name in (KAFKA, OPENSEARCH))
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


def _mistake(path: Path, what: str, hint: Hint) -> ConfigError:
    return ConfigError(f"{path}: {what}", hint)


def _read(path: Path, vault: Vault) -> dict[str, str]:
    """Read a file, apply variables and Vault, and validate each value."""
    keys, values = KEYS[path.name], _parse(path)
    for key, value in values.items():
        if key in _REFUSED:
            raise _mistake(path, f"{key!r} is not allowed: {_REFUSED[key]}", "remove it")
        if key not in keys:
            raise _mistake(path, f"unknown key {key!r}", _suggestion(key, keys))
        if not isinstance(value, str) or not value:
            what = f"{key!r} is {'empty' if value == '' else 'not a string'}"
            raise _mistake(path, what, "write a string in quotes, or remove the key")
    values |= _from_environment(path.name)
    for key, value in values.items():
        values[key] = _checked(path, key, vault.read(value) if value.startswith(PREFIX) else value)
    _require(path, keys[0], values)
    return values


def _checked(path: Path, key: str, value: str) -> str:
    if key in ("bootstrap.servers", "host"):
        value = value.strip()
    if not value.isprintable():
        what = f"{key!r} contains a line break or another unprintable character"
        raise _mistake(path, what, "fix it")
    if key in _NAMES:
        pattern, letters = _NAMES[key]
        if not re.fullmatch(pattern, value):
            raise _mistake(path, f"{key!r} {value!r} is not a valid name", f"use {letters}")
    return value


def _parse(path: Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, times in Counter(key for key, _ in pairs).items():
            if times > 1:
                raise _mistake(path, f"{key!r} appears more than once", "remove the others")
        return dict(pairs)

    try:
        # Windows editors write a byte order mark before UTF-8.
        found: Any = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=once)
    except OSError as error:
        msg, hint = f"reading {path}: {error.strerror}", "fix it"
    except UnicodeDecodeError:
        msg, hint = f"reading {path}: it is not UTF-8", "save it as UTF-8"
    except json.JSONDecodeError as error:
        twice = ": write each \\ twice" if "escape" in error.msg else ""
        msg, hint = f"{path} is not valid JSON: {error.msg} in line {error.lineno}{twice}", "fix it"
    except (ValueError, RecursionError):
        msg, hint = (
            f"{path} is not valid JSON: a number is too long, or it is nested too deeply",
            "fix it",
        )
    else:
        if isinstance(found, dict):
            return found
        msg, hint = f"{path} is not a JSON object", f"write it as {EXAMPLES[path.name]}"
    # Raised here, so that it has no cause: that may contain the whole file.
    raise ConfigError(msg, hint)


def _from_environment(name: str) -> dict[str, str]:
    """Return the values of our variables by key, and refuse misspelt ones."""
    variables = {_variable(name, key): key for key in KEYS[name]}
    for variable in os.environ:
        if variable in variables or not variable.startswith("CLICKSTREAM_"):
            continue
        near = get_close_matches(variable, variables, 1, cutoff=_MISSPELT)
        if near or variable.startswith(_variable(name, "")):
            msg = f"unknown variable {variable}"
            raise ConfigError(msg, _suggestion(variable, variables))
    given = {key: os.environ.get(variable, "") for variable, key in variables.items()}
    return {key: value for key, value in given.items() if value}


def _suggestion(word: str, words: Iterable[str]) -> str:
    near = get_close_matches(word, words := list(words), 1)
    return f"did you mean {near[0]!r}?" if near else f"valid: {', '.join(words)}"


def _variable(name: str, key: str) -> str:
    return f"CLICKSTREAM_{name.removesuffix('.json')}_{key}".upper().replace(".", "_")


def _require(path: Path, key: str, values: Mapping[str, str]) -> None:
    if key not in values:
        hint = f"add it, or set {_variable(path.name, key)}"
        raise _mistake(path, f"{key!r} is missing", hint)


def _require_both(path: Path, one: str, other: str, values: Mapping[str, str]) -> None:
    if (one in values) != (other in values):
        there, missing = (one, other) if one in values else (other, one)
        hint = f"set both, or set {_variable(path.name, missing)}"
        raise _mistake(path, f"{there!r} without {missing!r}", hint)


def _kafka_settings(folder: Path, values: dict[str, str]) -> KafkaSettings:
    path = folder / KAFKA
    servers = _brokers(path, values.pop("bootstrap.servers"))
    topic = values.pop("topic", KafkaSettings.topic)
    security = values  # the remaining keys are librdkafka's
    protocol = security.get("security.protocol") or _likely_protocol(path, security)
    security["security.protocol"] = protocol
    if protocol not in _PROTOCOLS:
        hint = f"valid: {', '.join(_PROTOCOLS)}"
        raise _mistake(path, f"unknown 'security.protocol' {protocol!r}", hint)
    if protocol.startswith("SASL_"):
        security.setdefault("sasl.mechanisms", "SCRAM-SHA-256")
        for key in ("sasl.username", "sasl.password"):
            _require(path, key, security)
    if protocol.endswith("SSL"):
        security |= _certificates(folder, protocol, security)
        _require_both(path, "ssl.certificate.location", "ssl.key.location", security)
        tls.for_kafka(security)
    else:
        _check_unencrypted(path, protocol, servers, security)
    return KafkaSettings(servers, topic=topic, security=security, is_hosted=True)


def _brokers(path: Path, servers: str) -> str:
    """Normalise a broker list; refuse a user in it, because the list is shown in many places."""
    named = ",".join(filter(None, (each.strip() for each in servers.split(","))))
    if "@" in named:
        hint = "write it as 'sasl.username' and 'sasl.password'"
        raise _mistake(path, "'bootstrap.servers' contains a user", hint)
    if "://" in named:
        raise _mistake(path, "'bootstrap.servers' contains '://'", "write only NAME:PORT")
    try:
        split_brokers(named)
    except ConfigError as error:
        raise _mistake(path, str(error), *error.hints) from error
    return named


def _likely_protocol(path: Path, values: Mapping[str, str]) -> str:
    if "sasl.username" in values:
        return "SASL_SSL"
    ca, *pair = _USUAL_FILES.values()
    there = [name for name in pair if path.with_name(name).exists()]
    if "ssl.certificate.location" in values or there == pair:
        return "SSL"
    found = f"; {there[0]} alone is not enough" if there else ""
    msg = f"{path} has no security settings"
    raise ConfigError(
        msg,
        f"put {ca}, {' and '.join(pair)} beside it, or set 'sasl.username' and "
        f"'sasl.password', or a 'security.protocol'{found}",
    )


def _certificates(folder: Path, protocol: str, security: Mapping[str, str]) -> dict[str, str]:
    """Return the certificate files that are named, or have their usual names in the folder."""
    found = {}
    for key, usual in _USUAL_FILES.items():
        is_used = protocol == "SSL" or key == "ssl.ca.location"
        if key in security:
            found[key] = str(folder / os.path.expanduser(security[key]))
        elif is_used and (folder / usual).exists():
            found[key] = str(folder / usual)
    return found


def _check_unencrypted(
    path: Path, protocol: str, servers: str, security: Mapping[str, str]
) -> None:
    unused = ("ssl.", "sasl.") if protocol == "PLAINTEXT" else ("ssl.",)
    for key in security:
        if key.startswith(unused):
            hint = "set SSL or SASL_SSL, or remove it"
            raise _mistake(path, f"{protocol} does not use {key!r}", hint)
    if not all(is_loopback(host) for host, _ in split_brokers(servers)):
        raise _mistake(path, f"{protocol} would send everything unencrypted", "use SSL or SASL_SSL")


def _opensearch_settings(folder: Path, values: Mapping[str, str]) -> OpenSearchSettings:
    path = folder / OPENSEARCH
    url = _url(path, values["host"])
    _require_both(path, "username", "password", values)
    _require_both(path, "cert", "key", values)
    ca, cert, key = (
        folder / os.path.expanduser(values[name]) if name in values else None
        for name in ("ca", "cert", "key")
    )
    if urlsplit(url).scheme == "http" and (ca or cert or key):
        what = f"'host' is {url}, and 'ca', 'cert' and 'key' are for https"
        raise _mistake(path, what, "remove them")
    tls.context(ca, cert, key)
    return OpenSearchSettings(
        url,
        index=values.get("index", OpenSearchSettings.index),
        username=values.get("username"),
        password=values.get("password"),
        ca=ca,
        cert=cert,
        key=key,
        is_hosted=True,
    )


def _url(path: Path, host: str) -> str:
    url = (host if "://" in host else f"https://{host}").rstrip("/")
    parts = split_url(url)
    if not parts or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        what = "is not a valid address"
        if between := separator(url):
            what = f"contains {between}"
        elif not parts and split_url(url.rpartition(":")[0]):
            what = "has an invalid port"
        raise _mistake(path, f"'host' {what}", "write one address, https://NAME:PORT")
    if parts.username is not None or parts.password is not None:
        hint = "use 'username' and 'password', with characters instead of codes such as %2F"
        raise _mistake(path, "'host' contains a user", hint)
    if parts.path.strip("/"):
        # Mostly that of Dashboards, as copied from a browser.
        raise _mistake(path, "'host' contains a path", "write the API's https://NAME:PORT")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise _mistake(path, f"everything would be sent unencrypted to {url}", "use https://")
    if parts.scheme == "http" and parts.port is None:
        raise _mistake(path, f"'host' {url} has no port", "write http://NAME:PORT")
    return url
