"""Compare our permissions on Kafka with those that the kit needs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
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
    admin, missing = Admin(settings), []
    there = admin.partitions_by_topic()
    for topic in (settings.topic, settings.dead_letter_topic):
        if topic in there:
            missing += _missing(f"topic {topic}", _of_topic(admin, topic), TOPIC)
    missing += _missing(f"group {settings.group_id}", _of_group(admin, settings.group_id), GROUP)
    if missing:
        msg = f"Kafka does not let us: {', '.join(missing)}"
        raise ConfigError(msg, "grant that, as docs/hosted.md lists it")
    ours = [each for each in (settings.topic, settings.dead_letter_topic) if each in there]
    on_topics = f"read and write on {' and '.join(ours)}, " if ours else ""
    return f"{on_topics}read as {settings.group_id}"


def check_empty(settings: KafkaSettings) -> None:
    """Check that we may empty the topic and the dead-letter topic.

    Raises:
        ConfigError: we may not empty one, or it is missing; the message says what to do.
        ServerError: Kafka did not answer.
    """
    admin, missing = Admin(settings), []
    for topic in (settings.topic, settings.dead_letter_topic):
        admin.partitions(topic)  # raises if it is missing
        missing += _missing(f"topic {topic}", _of_topic(admin, topic), ("DELETE",))
    if missing:
        msg = f"nothing deleted: Kafka does not let us: {', '.join(missing)}"
        raise ConfigError(msg, "have somebody empty them, or grant that")


def _of_topic(admin: Admin, topic: str) -> set[str]:
    wanted = TopicCollection([topic])
    return _granted(
        admin, f"topic {topic}", lambda client: client.describe_topics(wanted, **_WITH_RIGHTS)
    )


def _of_group(admin: Admin, group_id: str) -> set[str]:
    wanted = [group_id]
    return _granted(
        admin,
        f"group {group_id}",
        lambda client: client.describe_consumer_groups(wanted, **_WITH_RIGHTS),
    )


_WITH_RIGHTS: Final = {"include_authorized_operations": True}


def _granted(
    admin: Admin, what: str, describe: Callable[[AdminClient], dict[str, Future[Any]]]
) -> set[str]:
    try:
        (described,) = admin.ask(f"asking for our rights on {what}", describe).values()
    except Refused:
        return set()
    return {AclOperation(each).name for each in described.authorized_operations or ()}


def _missing(what: str, granted: set[str], needed: tuple[str, ...]) -> list[str]:
    lacking = [each.capitalize() for each in needed if each not in granted]
    return [f"{' and '.join(lacking)} on {what}"] if lacking else []
