"""Which Kafka and OpenSearch to talk to, and under which names.

A value of this module opens no connection. Names follow one rule: a namespace is a suffix
of topic, index and consumer group, so that two users of one pair of servers never meet.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from clickstream.errors import ConfigError

DEAD_LETTER_BYTES = 10_000_000
"""The largest dead letter: ten times a message's default limit, for topics that allow more."""

LOCAL, HOSTED = "local", "hosted"
"""The two targets: the kit's own servers on this machine, and those that `conf/` names."""

_NAMESPACE_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_LONGEST_NAMESPACE = 100

CLONE = Path(__file__).resolve().parent.parent
"""Root of the clone that this library is installed from."""


@dataclass(frozen=True)
class KafkaSettings:
    """Where Kafka answers, and the names used there."""

    bootstrap_servers: str
    topic: str = "clickstream-events"
    group_id: str = "clickstream-indexer"
    timeout_s: float = 10.0
    """How long one request may take before it is told as an error."""
    security: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    """librdkafka's own properties of TLS and login, of a hosted Kafka. Never shown."""
    is_hosted: bool = False
    """Whether somebody else runs it: then an error's remedy is not to start it here."""

    @property
    def dead_letter_topic(self) -> str:
        """The topic for messages that can never become documents."""
        return f"{self.topic}-dlq"

    def client_config(self) -> dict[str, Any]:
        """Give the properties every librdkafka client of the kit starts from."""
        return {
            **self.security,
            "bootstrap.servers": self.bootstrap_servers,
            # Errors are raised; what librdkafka also writes to stderr would show in a
            # notebook's output as red noise.
            "log_level": 0,
            # A broker that shuts down answers for a moment that there are no brokers. librdkafka
            # then drops the last one it knew, and by default returns to the bootstrap servers
            # five minutes later. Here it does so when no metadata came for `trigger`; an idle
            # client asks for it every `refresh`.
            "metadata.recovery.rebootstrap.trigger.ms": 6_000,
            "topic.metadata.refresh.interval.ms": 2_000,
        }


@dataclass(frozen=True)
class OpenSearchSettings:
    """Where OpenSearch answers, and the index used there."""

    url: str
    index: str = "clickstream-events"
    timeout_s: float = 30.0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    """PEM file of the CA to trust; None for those that the system trusts."""
    cert: Path | None = None
    """With `key`, for an OpenSearch that asks for a client certificate."""
    key: Path | None = None
    is_hosted: bool = False
    """Whether somebody else runs it: then an error's remedy is not to start it here."""


@dataclass(frozen=True)
class Settings:
    """One target: a Kafka and an OpenSearch."""

    kafka: KafkaSettings
    opensearch: OpenSearchSettings

    @property
    def is_hosted(self) -> bool:
        """Whether somebody else runs them, who also made topic and index."""
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
        """Give the same target with `-namespace` behind topic, index and group names.

        Raises:
            ConfigError: the namespace holds anything but lower-case letters, digits and `-`,
                or more than 100 of them.
        """
        is_short = 0 < len(namespace) <= _LONGEST_NAMESPACE
        if not is_short or not _NAMESPACE_CHARACTERS.issuperset(namespace):
            msg = (
                f"namespace {namespace[: 2 * _LONGEST_NAMESPACE]!r}: 1 to {_LONGEST_NAMESPACE} "
                "lower-case letters, digits and '-' serve as part of a topic's and an index's "
                "name"
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
        """Give the same in the namespace that `CLICKSTREAM_NAMESPACE` names, if it names one.

        Raises:
            ConfigError: as `in_namespace`.
        """
        namespace = os.environ.get("CLICKSTREAM_NAMESPACE")
        return self.in_namespace(namespace) if namespace else self

    def for_group(self, group_id: str) -> Settings:
        """Give the same target and names, read as another consumer group."""
        return replace(self, kafka=replace(self.kafka, group_id=group_id))

    def named(self, *, topic: str | None, index: str | None, opensearch: str | None) -> Settings:
        """Give the same target with another topic, index or URL of OpenSearch; None keeps its own.

        Raises:
            ConfigError: the URL is plain http, off this machine, and there is a password.
        """
        url = urlsplit(opensearch or self.opensearch.url)
        is_clear = url.scheme == "http" and not is_loopback(url.hostname or "")
        if self.opensearch.password and is_clear:
            msg = f"{opensearch} would get the password in the clear"
            raise ConfigError(msg, "write https://")
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
    """Say whether a name or an address is this machine's own: its traffic crosses no network."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
