"""The Kafka and the OpenSearch to use, and the names of topic, index and consumer group.

A settings object opens no connection. Names follow one rule: a namespace is a suffix of topic,
index and consumer group, so that two users of one pair of servers never collide.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from clickstream.errors import ConfigError

DEAD_LETTER_BYTES = 10_000_000
"""The largest dead letter: ten times the default message limit, for topics that allow more."""

LOCAL, HOSTED = "local", "hosted"
"""The two targets: the kit's own servers on this machine, and those that `conf/` names."""

_LONGEST_NAMESPACE = 100
_LAST_PORT = 65_535

CLONE = Path(__file__).resolve().parent.parent
"""Root of the clone that this library is installed from."""


@dataclass(frozen=True)
class KafkaSettings:
    """The address of Kafka, and the names used there."""

    bootstrap_servers: str
    topic: str = "clickstream-events"
    group_id: str = "clickstream-indexer"
    timeout_s: float = 10.0
    """How long one request may take before it becomes an error."""
    security: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    """librdkafka properties for TLS and login at a hosted Kafka. They are never shown."""
    is_hosted: bool = False
    """Whether somebody else runs it: then errors do not suggest starting it here."""

    @property
    def dead_letter_topic(self) -> str:
        """The topic for messages that can never become documents."""
        return f"{self.topic}-dlq"

    def client_config(self) -> dict[str, Any]:
        """Return the base properties of every librdkafka client of the kit."""
        return {
            **self.security,
            "bootstrap.servers": self.bootstrap_servers,
            # Errors are raised. librdkafka would also write them to stderr, which shows as
            # red text in a notebook's output.
            "log_level": 0,
            # A broker that is shutting down briefly reports that there are no brokers. librdkafka
            # then drops the last broker it knew, and by default returns to the bootstrap servers
            # five minutes later. Here it returns after `trigger` ms without metadata; an idle
            # client requests metadata every `refresh` ms.
            "metadata.recovery.rebootstrap.trigger.ms": 6_000,
            "topic.metadata.refresh.interval.ms": 2_000,
        }


@dataclass(frozen=True)
class OpenSearchSettings:
    """The address of OpenSearch, and the index used there."""

    url: str
    index: str = "clickstream-events"
    timeout_s: float = 30.0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    """PEM file of the CA to trust; None for those that the system trusts."""
    cert: Path | None = None
    """With `key`, for an OpenSearch that requires a client certificate."""
    key: Path | None = None
    is_hosted: bool = False
    """Whether somebody else runs it: then errors do not suggest starting it here."""


@dataclass(frozen=True)
class Settings:
    """One target: a Kafka and an OpenSearch."""

    kafka: KafkaSettings
    opensearch: OpenSearchSettings

    @property
    def is_hosted(self) -> bool:
        """Whether somebody else runs the servers and created the topic and the index."""
        return self.kafka.is_hosted or self.opensearch.is_hosted

    @property
    def target(self) -> str:
        """The target's name, as `--target` takes it."""
        return HOSTED if self.is_hosted else LOCAL

    def __str__(self) -> str:
        return (
            f"target {self.target}: Kafka on {self.kafka.bootstrap_servers}, topic "
            f"{self.kafka.topic}; OpenSearch on {self.opensearch.url}, index "
            f"{self.opensearch.index}"
        )

    def in_namespace(self, namespace: str) -> Settings:
        """Return the same target with `-namespace` appended to topic, index and group names.

        Raises:
            ConfigError: the namespace contains anything but lower-case letters, digits and `-`,
                or more than 100 of them.
        """
        if not re.fullmatch(f"[a-z0-9-]{{1,{_LONGEST_NAMESPACE}}}", namespace):
            msg = (
                f"namespace {namespace[: 2 * _LONGEST_NAMESPACE]!r}: it must be 1 to "
                f"{_LONGEST_NAMESPACE} lower-case letters, digits and '-'"
            )
            raise ConfigError(msg, "choose another")
        return replace(
            self,
            kafka=replace(
                self.kafka,
                topic=f"{self.kafka.topic}-{namespace}",
                group_id=f"{self.kafka.group_id}-{namespace}",
            ),
            opensearch=replace(self.opensearch, index=f"{self.opensearch.index}-{namespace}"),
        )

    def in_own_namespace(self) -> Settings:
        """Return the same target in the namespace of `CLICKSTREAM_NAMESPACE`, if it is set.

        Raises:
            ConfigError: as `in_namespace`.
        """
        namespace = os.environ.get("CLICKSTREAM_NAMESPACE")
        return self.in_namespace(namespace) if namespace else self

    def for_group(self, group_id: str) -> Settings:
        """Return the same target and names with another consumer group."""
        return replace(self, kafka=replace(self.kafka, group_id=group_id))

    def named(self, *, topic: str | None, index: str | None, opensearch: str | None) -> Settings:
        """Return the same target with another topic, index or OpenSearch URL; None keeps it.

        Raises:
            ConfigError: the URL is plain http, off this machine, and there is a password.
        """
        url = urlsplit(opensearch or self.opensearch.url)
        is_clear = url.scheme == "http" and not is_loopback(url.hostname or "")
        if self.opensearch.password and is_clear:
            msg = f"the password would be sent unencrypted to {opensearch}"
            raise ConfigError(msg, "use https://")
        return replace(
            self,
            kafka=replace(self.kafka, topic=topic or self.kafka.topic),
            opensearch=replace(
                self.opensearch,
                url=opensearch or self.opensearch.url,
                index=index or self.opensearch.index,
            ),
        )


def is_loopback(host: str) -> bool:
    """Say whether a name or address is loopback: its traffic stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def typed_path(named: str | Path) -> Path:
    """Make a path that a user typed absolute: `~` is expanded, and symlinks are resolved.

    Every spelling of a folder gives the same path.
    """
    return Path(os.path.realpath(os.path.expanduser(named)))


def split_url(url: str) -> SplitResult | None:
    """Split a URL into its parts; None if it names no host or several, or a port that cannot be."""
    try:
        parts = urlsplit(url)
        is_one = parts.hostname and parts.port != 0 and not separator(parts.netloc)
        return parts if is_one else None
    except ValueError:
        return None


def split_brokers(servers: str) -> list[tuple[str, int]]:
    """Split a list of brokers into hosts and ports.

    Raises:
        ConfigError: it is not NAME:PORT,NAME:PORT; the message says where.
    """
    hint = "write NAME:PORT, and ',' between two brokers"
    found = []
    for each in servers.split(","):
        host, colon, port = each.rpartition(":")
        what = f"{each!r} is not a valid address"
        if between := separator(each):
            what = f"contains {between}"
        elif each and not colon:
            what = f"{each!r} has no port"
        elif host and "/" not in host:
            if re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) <= _LAST_PORT:
                found.append((host.strip("[]"), int(port)))
                continue
            what = f"{each!r} has an invalid port"
        msg = f"'bootstrap.servers' {what}"
        raise ConfigError(msg, hint)
    return found


def separator(addresses: str) -> str:
    """Name a character that separates addresses, but not in our files; empty if there is none."""
    found = re.search(r"[\s;,]", addresses)
    return "" if found is None else "a blank" if found[0].isspace() else repr(found[0])
