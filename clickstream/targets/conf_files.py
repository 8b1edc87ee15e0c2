"""The hosted target: what the files in `conf/` say, made into settings.

What is wrong in them is told here, before anything is sent; but for a value that lies in
Vault, no connection is opened.
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
from typing import Any, Final
from urllib.parse import urlsplit

from clickstream import tls
from clickstream.errors import ConfigError
from clickstream.settings import KafkaSettings, OpenSearchSettings, Settings, is_loopback
from clickstream.targets.vault import PREFIX, Vault

KAFKA, OPENSEARCH = "kafka.json", "opensearch.json"

_KAFKA_FILES = ("ssl.ca.location", "ssl.certificate.location", "ssl.key.location")
_KAFKA_SECRETS = ("sasl.password", "ssl.key.password")
KEYS: Final = {
    KAFKA: (
        *("bootstrap.servers", "topic", "security.protocol", *_KAFKA_FILES),
        *("sasl.mechanisms", "sasl.username", *_KAFKA_SECRETS),
    ),
    OPENSEARCH: ("host", "username", "password", "index", "ca", "cert", "key"),
}
"""By file: librdkafka's own names, and those that the kit has from its first version."""
EXAMPLES: Final = {
    KAFKA: '{"bootstrap.servers": "kafka.example.com:9092"}',
    OPENSEARCH: '{"host": "https://opensearch.example.com", "username": "…", "password": "…"}',
}
_NEVER = {
    "enable.ssl.certificate.verification": "it would turn verification off",
    "ssl.endpoint.identification.algorithm": "the name is always verified",
}
_NAMES: Final = {
    "topic": (r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,240}", "letters, digits, '.', '_' and '-'"),
    "index": (r"[a-z0-9][a-z0-9._-]{0,240}", "lower-case letters, digits, '.', '_' and '-'"),
}
"""Of one topic, of one index: a pattern for several, as `*`, would be deleted whole by a reset."""
_ADDRESSES: Final = frozenset({"bootstrap.servers", "host"})
_PROTOCOLS = ("SSL", "SASL_SSL", "PLAINTEXT", "SASL_PLAINTEXT")
_ALMOST = 0.93
_CA, _CERT, _KEY = "ca.pem", "service.cert", "service.key"


def is_configured(folder: Path) -> bool:
    """Say whether a folder names a hosted target.

    Raises:
        ConfigError: only one of the two files is there.
    """
    try:
        # A link that points nowhere is there, too: reading it says so.
        there = [name for name in KEYS if (folder / name).exists() or (folder / name).is_symlink()]
    except OSError as error:
        msg = f"looking into {folder}: {error.strerror}; mend its rights, or name another folder"
        raise ConfigError(msg) from error
    if len(there) == 1:
        (missing,) = set(KEYS) - set(there)
        msg = (
            f"{folder} has {there[0]} and no {missing}: a hosted target needs both; write "
            f"{folder / missing}, such as {EXAMPLES[missing]}"
        )
        raise ConfigError(msg)
    return bool(there)


def read(folder: Path) -> Settings:
    """Give the settings that a folder's two files describe.

    A variable replaces a file's value, or gives what it lacks: `CLICKSTREAM_KAFKA_` or
    `CLICKSTREAM_OPENSEARCH_` before the key in capitals, `.` written as `_`. A value
    `vault:PATH#FIELD` is read from Vault.

    Raises:
        ConfigError: a file is missing or is no JSON object, a key is unknown, a value is
            missing or contradicts another, a certificate is unusable, Vault gave nothing.
    """
    if not is_configured(folder):
        msg = (
            f"the hosted target needs {folder / KAFKA} and {folder / OPENSEARCH}; the project's "
            "conf/README.md says what they hold"
        )
        raise ConfigError(msg)
    vault = Vault()
    kafka, opensearch = (_values(folder / name, vault) for name in (KAFKA, OPENSEARCH))
    return Settings(_kafka(folder, kafka), _opensearch(folder, opensearch))


def loose(folder: Path, settings: Settings) -> list[Path]:
    """Name the files with secrets that other users of this machine can read; in order."""
    kept = {folder / KAFKA, folder / OPENSEARCH, settings.opensearch.key}
    if key := settings.kafka.security.get("ssl.key.location"):
        kept.add(Path(key))
    return [
        path
        for path in sorted(filter(None, kept))
        if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH) and _holds_secret(path)
    ]


def remedy(read: list[Path]) -> str:
    """Say what to do about them."""
    return f"run `chmod 600 {' '.join(map(str, read))}`"


def _holds_secret(path: Path) -> bool:
    if path.suffix != ".json":
        return True
    found = json.loads(path.read_text("utf-8-sig"))
    secrets = [found[key] for key in (*_KAFKA_SECRETS, "password") if key in found]
    return any(not str(each).startswith(PREFIX) for each in secrets)


def _values(path: Path, vault: Vault) -> dict[str, str]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = Counter(key for key, _ in pairs)
        for key, times in keys.items():
            if times > 1:
                msg = f"{path}: {key!r} stands there more than once; take the others out"
                raise ConfigError(msg)
        return dict(pairs)

    try:
        # Windows' editors put a mark before UTF-8.
        found: Any = json.loads(path.read_text("utf-8-sig"), object_pairs_hook=once)
    except OSError as error:
        msg = f"reading {path}: {error.strerror}; mend it"
        raise ConfigError(msg) from error
    except UnicodeDecodeError:
        msg = f"reading {path}: it is not UTF-8; save it as that"
        # Without its cause: that holds the whole file.
        raise ConfigError(msg) from None
    except (ValueError, RecursionError) as error:
        where = "numbers or levels too long"
        if isinstance(error, json.JSONDecodeError):
            where = f"{error.msg} in line {error.lineno}"
            where += ": write \\ twice" if "escape" in error.msg else ""
        msg = f"{path} is no JSON: {where}; mend it there"
        # Without its cause: that holds the whole file.
        raise ConfigError(msg) from None
    if not isinstance(found, dict):
        msg = f"{path} is no JSON object; write it as {EXAMPLES[path.name]}"
        raise ConfigError(msg)
    for key, value in found.items():
        if key in _NEVER:
            msg = f"{path}: {key!r} is refused, for {_NEVER[key]}; take it out"
            raise ConfigError(msg)
        if key not in KEYS[path.name]:
            msg = f"{path}: no key {key!r} is known; {_meant(key, KEYS[path.name])}"
            raise ConfigError(msg)
        if not isinstance(value, str) or not value:
            what = "empty" if value == "" else "no text"
            msg = f"{path}: {key!r} is {what}; write one in quotes, or take the key out"
            raise ConfigError(msg)
    values = found | dict(_from_environment(path.name))
    values = {
        key: vault.read(value) if value.startswith(PREFIX) else value
        for key, value in values.items()
    }
    for key in _ADDRESSES.intersection(values):
        values[key] = values[key].strip()
    for key, value in values.items():
        if not value.isprintable():
            msg = f"{path}: {key!r} holds a line break or another character without a sign; mend it"
            raise ConfigError(msg)
        if key in _NAMES:
            pattern, letters = _NAMES[key]
            if not re.fullmatch(pattern, value):
                msg = f"{path}: {key!r} {value!r} is no name; use {letters}"
                raise ConfigError(msg)
    return values


def _from_environment(name: str) -> Iterator[tuple[str, str]]:
    variables = {_variable(name, key): key for key in KEYS[name]}
    for variable, value in os.environ.items():
        if variable in variables:
            if value:
                yield variables[variable], value
        elif variable.startswith(_variable(name, "")) or _is_nearly(variable, variables):
            msg = f"no variable {variable} is known; {_meant(variable, variables)}"
            raise ConfigError(msg)


def _meant(word: str, words: Iterable[str]) -> str:
    near = get_close_matches(word, words := list(words), 1)
    return f"perhaps {near[0]!r} is meant" if near else f"valid: {', '.join(words)}"


def _is_nearly(variable: str, variables: Iterable[str]) -> bool:
    """Whether it is one of them with a slip in what all of them begin with."""
    is_ours = variable.startswith("CLICKSTREAM_")
    return is_ours and bool(get_close_matches(variable, variables, 1, cutoff=_ALMOST))


def _variable(name: str, key: str) -> str:
    return f"CLICKSTREAM_{name.removesuffix('.json')}_{key}".upper().replace(".", "_")


def _needed(values: Mapping[str, str], key: str, path: Path) -> str:
    if key not in values:
        msg = f"{path}: {key!r} is missing; write it there, or set {_variable(path.name, key)}"
        raise ConfigError(msg)
    return values[key]


def _url(path: Path, host: str) -> str:
    url = host if "://" in host else f"https://{host}"
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or parts.query or parts.fragment:
        msg = f"{path}: 'host' is no address; write https://NAME:PORT"
        raise ConfigError(msg)
    if parts.username is not None or parts.password is not None:
        msg = (
            f"{path}: 'host' holds a user; write it as 'username' and 'password', with signs in "
            "place of codes such as %2F"
        )
        raise ConfigError(msg)
    if parts.path.strip("/"):
        # Of Dashboards, mostly, whose address is what a browser shows.
        msg = f"{path}: 'host' holds a path; write the API's https://NAME:PORT"
        raise ConfigError(msg)
    return url.rstrip("/")


def _brokers(path: Path, servers: str) -> str:
    """Leave out what a list may hold without harm; a user in it would be shown wherever it is."""
    named = ",".join(filter(None, (each.strip() for each in servers.split(","))))
    if "@" in named:
        msg = (
            f"{path}: 'bootstrap.servers' holds a user; write it as 'sasl.username' and "
            "'sasl.password'"
        )
        raise ConfigError(msg)
    if "://" in named:
        msg = f"{path}: 'bootstrap.servers' holds '://'; write NAME:PORT alone"
        raise ConfigError(msg)
    return named


def _kafka(folder: Path, values: dict[str, str]) -> KafkaSettings:
    path = folder / KAFKA
    servers = _brokers(path, _needed(values, "bootstrap.servers", path))
    security = {
        key: value for key, value in values.items() if key not in ("bootstrap.servers", "topic")
    }
    if "security.protocol" not in security:
        security["security.protocol"] = _likely_protocol(folder, path, security)
    protocol = security["security.protocol"]
    if protocol not in _PROTOCOLS:
        msg = f"{path}: no 'security.protocol' {protocol!r}; valid: {', '.join(_PROTOCOLS)}"
        raise ConfigError(msg)
    if protocol.startswith("SASL_"):
        security.setdefault("sasl.mechanisms", "SCRAM-SHA-256")
        for key in ("sasl.username", "sasl.password"):
            _needed(security, key, path)
    if protocol.endswith("SSL"):
        beside = [(_KAFKA_FILES[0], _CA)]
        if protocol == "SSL":
            beside += [(_KAFKA_FILES[1], _CERT), (_KAFKA_FILES[2], _KEY)]
        for property_, name in beside:
            if (folder / name).exists():
                security.setdefault(property_, name)
        for property_ in _KAFKA_FILES:
            if property_ in security:
                security[property_] = str(folder / os.path.expanduser(security[property_]))
        _check_both(path, *_KAFKA_FILES[1:], security)
        tls.for_kafka(security)
    else:
        _refuse_clear(path, protocol, servers, security)
    topic = values.get("topic", KafkaSettings.topic)
    return KafkaSettings(servers, topic=topic, security=security, is_hosted=True)


def _likely_protocol(folder: Path, path: Path, security: Mapping[str, str]) -> str:
    if "sasl.username" in security:
        return "SASL_SSL"
    there = [name for name in (_CERT, _KEY) if (folder / name).exists()]
    if "ssl.certificate.location" in security or len(there) == 2:
        return "SSL"
    found = f"; {there[0]} alone is not enough" if there else ""
    msg = (
        f"{path} says nothing of security; put {_CA}, {_CERT} and {_KEY} beside it, or name "
        f"'sasl.username' and 'sasl.password', or a 'security.protocol'{found}"
    )
    raise ConfigError(msg)


def _refuse_clear(path: Path, protocol: str, servers: str, security: Mapping[str, str]) -> None:
    wanted = ("ssl.", "sasl.") if protocol == "PLAINTEXT" else ("ssl.",)
    unused = [key for key in security if key.startswith(wanted)]
    if unused:
        msg = f"{path}: {protocol} uses no {unused[0]!r}; name SSL or SASL_SSL, or take it out"
        raise ConfigError(msg)
    hosts = [each.strip().rpartition(":")[0].strip("[]") for each in servers.split(",")]
    if not all(map(is_loopback, hosts)):
        msg = f"{path}: {protocol} would send all in the clear; use SSL or SASL_SSL"
        raise ConfigError(msg)


def _check_both(path: Path, one: str, other: str, values: Mapping[str, str]) -> None:
    if (one in values) != (other in values):
        there, missing = (one, other) if one in values else (other, one)
        msg = (
            f"{path}: {there!r} without {missing!r}; name both, or set "
            f"{_variable(path.name, missing)}"
        )
        raise ConfigError(msg)


def _opensearch(folder: Path, values: dict[str, str]) -> OpenSearchSettings:
    path = folder / OPENSEARCH
    url = _url(path, _needed(values, "host", path))
    _check_both(path, "username", "password", values)
    _check_both(path, "cert", "key", values)
    is_plain = urlsplit(url).scheme == "http"
    if is_plain and not is_loopback(urlsplit(url).hostname or ""):
        msg = f"{path}: {url} would get all in the clear; write https://"
        raise ConfigError(msg)
    if is_plain and urlsplit(url).port is None:
        msg = f"{path}: 'host' {url} names no port; write http://NAME:PORT"
        raise ConfigError(msg)
    ca, cert, key = (
        folder / os.path.expanduser(values[each]) if each in values else None
        for each in ("ca", "cert", "key")
    )
    if is_plain and (ca or cert or key):
        msg = f"{path}: 'host' is {url}, and 'ca', 'cert' and 'key' are for https; take them out"
        raise ConfigError(msg)
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
