"""Topics and their consumer group: create, delete and empty them.

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
"""Enough to show keys and parallel reading, few enough for one chart."""

_MEMBERS_GONE_S = 7.0  # a killed consumer stays a member of its group for six more seconds


def ensure_topics(settings: KafkaSettings, *, num_partitions: int = NUM_PARTITIONS) -> bool:
    """Create the topic and its dead-letter topic if they are missing.

    It returns after Kafka lists the new topics.

    Returns:
        Whether this call created the topic itself.

    Raises:
        ConfigError: a topic is missing, and we may not create it.
        ServerError: Kafka did not answer, or refused.
    """
    admin = Admin(settings)
    there = admin.partitions_by_topic()
    wanted = [
        NewTopic(settings.topic, num_partitions=num_partitions),
        NewTopic(
            settings.dead_letter_topic,
            # One partition, so that people read dead letters in their order of arrival.
            num_partitions=1,
            config={"max.message.bytes": str(DEAD_LETTER_BYTES)},
        ),
    ]
    made = {new.topic for new in wanted if new.topic not in there and _create(admin, new)}
    if made:
        admin.wait_until("creating topics", lambda found: made <= found.keys())
    return settings.topic in made


def _create(admin: Admin, new: NewTopic) -> bool:
    """Create a topic, and say whether this call did; another client may have been faster."""
    create = partial(AdminClient.create_topics, new_topics=[new])
    try:
        admin.ask(f"creating topic {new.topic!r}", create)
    except Refused as refused:
        if refused.code == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        if refused.code in NOT_ALLOWED:
            msg = f"topic {new.topic!r} does not exist, and we lack the permission to create it"
            conf = ConfFile("kafka.json")
            hint = "fix 'topic' in ", conf, ", or have it created as described in docs/hosted.md"
            raise ConfigError(msg, hint) from refused
        raise
    return True


def delete_topics(settings: KafkaSettings) -> None:
    """Delete the group's offsets, the topic and its dead-letter topic; repeating is safe.

    It returns when the names are gone, so that the topic can be created again at once.

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
    """Delete every message of both topics, and move the group to the end; nothing else changes.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer or refused, or a member of the group is reading.
    """
    admin = Admin(settings)
    for topic in (settings.topic, settings.dead_letter_topic):
        wanted = [TopicPartition(topic, i, OFFSET_END) for i in admin.partitions(topic)]
        delete = partial(AdminClient.delete_records, topic_partition_offsets=wanted)
        admin.ask(f"emptying topic {topic!r}", delete)
    offsets.start_at_newest(settings, 0)


def delete_group(settings: KafkaSettings) -> None:
    """Delete the consumer group with its offsets; repeating is safe.

    Raises:
        ServerError: as `require_no_reader`, or we lack the permission.
    """
    require_no_reader(settings)
    delete = partial(AdminClient.delete_consumer_groups, group_ids=[settings.group_id])
    try:
        Admin(settings).ask(f"deleting consumer group {settings.group_id!r}", delete)
    except Refused as refused:
        if refused.code != KafkaError.GROUP_ID_NOT_FOUND:
            raise


def require_no_reader(settings: KafkaSettings) -> None:
    """Check that the group has no member.

    It waits until the broker removes a killed member.

    Raises:
        ServerError: Kafka did not answer, or a member of the group is still reading.
    """
    ends_s = time.monotonic() + _MEMBERS_GONE_S
    while consumers(settings):
        if time.monotonic() > ends_s:
            msg = f"a consumer is still reading in group {settings.group_id!r}; nothing was deleted"
            consume = Command("consume")
            hint = (
                "stop that consumer (Stop in the control room, Ctrl-C for ",
                consume,
                "), then try again",
            )
            raise ServerError(msg, hint)
        time.sleep(0.2)


def consumers(settings: KafkaSettings) -> int:
    """Count the consumers in the group now; a killed consumer counts for 6 more seconds.

    Raises:
        ServerError: Kafka did not answer.
    """
    return Admin(settings).consumers(settings.group_id)
