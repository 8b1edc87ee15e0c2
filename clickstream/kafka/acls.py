"""Compare our permissions on Kafka with those that the kit needs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Final

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from clickstream.errors import ConfigError
from clickstream.kafka.admin import Admin, Refused
from clickstream.settings import KafkaSettings

TOPIC: Final = ("READ", "WRITE", "DESCRIBE")
"""Permissions on the topic and on its dead-letter topic."""
GROUP: Final = ("READ", "DESCRIBE")
"""Permissions on the consumer group, as a prefix: replays and round trips append to its name."""


def check(settings: KafkaSettings) -> str:
    """Ask Kafka for our permissions on topic, dead-letter topic and group, and describe them.

    A topic that does not exist yet is left out.

    Raises:
        ConfigError: a permission is missing; the message lists what to grant.
        ServerError: Kafka did not answer.
    """
    admin = Admin(settings)
    there = admin.partitions_by_topic()
    topics = [each for each in (settings.topic, settings.dead_letter_topic) if each in there]
    missing = [_missing_on_topic(admin, topic, TOPIC) for topic in topics]
    missing += [_missing_on_group(admin, settings.group_id)]
    if any(missing):
        msg = f"permissions are missing in Kafka: {', '.join(filter(None, missing))}"
        raise ConfigError(msg, "grant them, as listed in docs/hosted.md")
    on_topics = f"read and write on {' and '.join(topics)}, " if topics else ""
    return f"{on_topics}read as {settings.group_id}"


def check_delete_permission(settings: KafkaSettings) -> None:
    """Check that we may empty the topic and the dead-letter topic.

    Raises:
        ConfigError: we may not empty one, or it is missing; the message says what to do.
        ServerError: Kafka did not answer.
    """
    admin, missing = Admin(settings), []
    for topic in (settings.topic, settings.dead_letter_topic):
        admin.partitions(topic)  # raises if it is missing
        missing.append(_missing_on_topic(admin, topic, ("DELETE",)))
    if any(missing):
        msg = (
            f"nothing deleted, permissions are missing in Kafka: {', '.join(filter(None, missing))}"
        )
        raise ConfigError(msg, "grant them, or have somebody else empty the topics")


def _missing_on_topic(admin: Admin, topic: str, needed: tuple[str, ...]) -> str:
    wanted = TopicCollection([topic])
    describe = partial(AdminClient.describe_topics, topics=wanted, **_WITH_PERMISSIONS)
    return _missing(admin, f"topic {topic}", describe, needed)


def _missing_on_group(admin: Admin, group_id: str) -> str:
    describe = partial(
        AdminClient.describe_consumer_groups, group_ids=[group_id], **_WITH_PERMISSIONS
    )
    return _missing(admin, f"group {group_id}", describe, GROUP)


_WITH_PERMISSIONS: Final = {"include_authorized_operations": True}


def _missing(
    admin: Admin,
    what: str,
    describe: Callable[[AdminClient], dict[str, Future[Any]]],
    needed: tuple[str, ...],
) -> str:
    """Name the permissions that we need and do not have; empty if we have all."""
    try:
        (described,) = admin.ask(f"asking for our permissions on {what}", describe).values()
        granted = {AclOperation(each).name for each in described.authorized_operations or ()}
    except Refused:
        granted = set()
    lacking = [each.capitalize() for each in needed if each not in granted]
    return f"{' and '.join(lacking)} on {what}" if lacking else ""
