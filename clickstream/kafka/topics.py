"""Topics and their consumer group: make them, delete them, empty them.

Nothing is deleted while a member of the group is reading.
"""

from __future__ import annotations

import time
from functools import partial

from confluent_kafka import OFFSET_END, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from clickstream.errors import Command, ConfFile, ConfigError, ServerError
from clickstream.kafka import offsets
from clickstream.kafka.admin import NOT_ALLOWED, Admin, Refused
from clickstream.settings import DEAD_LETTER_BYTES, KafkaSettings

NUM_PARTITIONS = 3
"""Enough to show keys and parallel reading, few enough for a chart on a stage."""

_MEMBERS_GONE_S = 7.0  # a killed consumer counts as a member of its group for six seconds more


def ensure_topics(settings: KafkaSettings, *, num_partitions: int = NUM_PARTITIONS) -> bool:
    """Make the topic and its dead-letter topic where they are missing.

    Returns:
        Whether the topic itself was made now; what was made, Kafka lists by then.

    Raises:
        ConfigError: one is missing, and we may not make it.
        ServerError: Kafka did not answer, or refused.
    """
    admin = Admin(settings)
    there = admin.partitions_by_topic()
    wanted = [
        NewTopic(settings.topic, num_partitions=num_partitions),
        NewTopic(
            settings.dead_letter_topic,
            # One partition: dead letters are read by people, in the order they came.
            num_partitions=1,
            config={"max.message.bytes": str(DEAD_LETTER_BYTES)},
        ),
    ]
    made = {new.topic for new in wanted if new.topic not in there and _create(admin, new)}
    if made:
        admin.wait_until("making topics", lambda found: made <= found.keys())
    return settings.topic in made


def _create(admin: Admin, new: NewTopic) -> bool:
    """Say whether it was made now; somebody else may have been quicker."""
    create = partial(AdminClient.create_topics, new_topics=[new])
    try:
        admin.ask(f"making topic {new.topic!r}", create)
    except Refused as refused:
        if refused.code == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        if refused.code in NOT_ALLOWED:
            msg = f"topic {new.topic!r} is missing, and Kafka does not let us make it"
            raise ConfigError(
                msg,
                (
                    "mend 'topic' in ",
                    ConfFile("kafka.json"),
                    ", or have it made as the README says",
                ),
            ) from refused
        raise
    return True


def delete_topics(settings: KafkaSettings) -> None:
    """Delete the group's offsets, the topic and its dead-letter topic; repeat at will.

    Returns when the names are gone, so that the topic can be made again at once.

    Raises:
        ServerError: Kafka did not answer, or a member of the group is still reading; then
            nothing was deleted.
    """
    delete_group(settings)
    admin = Admin(settings)
    names = {settings.topic, settings.dead_letter_topic}
    for name in names:
        try:
            delete = partial(AdminClient.delete_topics, topics=[name])
            admin.ask(f"deleting topic {name!r}", delete)
        except Refused as refused:
            if refused.code != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    admin.wait_until(f"deleting {', '.join(sorted(names))}", names.isdisjoint)


def empty_topics(settings: KafkaSettings) -> None:
    """Delete every message of both topics and leave all else; the group begins behind them.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer, or does not let us, or somebody reads as the group.
    """
    admin = Admin(settings)
    for topic in (settings.topic, settings.dead_letter_topic):
        wanted = [TopicPartition(topic, i, OFFSET_END) for i in admin.partitions(topic)]
        delete = partial(AdminClient.delete_records, topic_partition_offsets=wanted)
        admin.ask(f"emptying topic {topic!r}", delete)
    offsets.start_at_newest(settings, 0)


def delete_group(settings: KafkaSettings) -> None:
    """Delete the consumer group with its offsets; repeat at will.

    Raises:
        ServerError: as `require_no_reader`, or we may not.
    """
    require_no_reader(settings)
    delete = partial(AdminClient.delete_consumer_groups, group_ids=[settings.group_id])
    try:
        Admin(settings).ask(f"deleting consumer group {settings.group_id!r}", delete)
    except Refused as refused:
        if refused.code != KafkaError.GROUP_ID_NOT_FOUND:
            raise


def require_no_reader(settings: KafkaSettings) -> None:
    """Make sure that nobody reads as the group.

    A member that was killed is waited for until the broker forgets it.

    Raises:
        ServerError: Kafka did not answer, or a member of the group is still reading.
    """
    ends_s = time.monotonic() + _MEMBERS_GONE_S
    while consumers(settings):
        if time.monotonic() > ends_s:
            msg = (
                f"somebody is still reading as consumer group {settings.group_id!r}; nothing "
                "was deleted"
            )
            raise ServerError(
                msg,
                (
                    "stop that consumer (Stop in a room, Ctrl-C in ",
                    Command("consume"),
                    "), then try again",
                ),
            )
        time.sleep(0.2)


def consumers(settings: KafkaSettings) -> int:
    """Count the consumers in the group now; one that was killed counts for 6 s more.

    Raises:
        ServerError: Kafka did not answer.
    """
    return Admin(settings).consumers(settings.group_id)
