"""Topics seen from outside: make them, look into them, count what a group has still to read.

Looking never joins a consumer group, so it cannot cause a rebalance. Writing messages is
`producer.py`, reading them for good is `consumer.py`.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from confluent_kafka import OFFSET_END, Consumer, KafkaError, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from clickstream import reports
from clickstream.errors import ConfigError, ServerError, command, conf_file
from clickstream.kafka.admin import NOT_ALLOWED, Admin, Refused, no_answer
from clickstream.reports import Member
from clickstream.settings import DEAD_LETTER_BYTES, KafkaSettings

NUM_PARTITIONS = 3
"""Enough to show keys and parallel reading, few enough for a chart on a stage."""

_LAST_MS = 253_402_300_799_000
"""The last second of the year 9999."""

_GONE_S = 7.0  # a killed consumer counts as a member of its group for six seconds more


@dataclass(frozen=True)
class Partition:
    """One partition of a topic as a consumer group sees it; offsets count messages."""

    partition: int
    first_offset: int
    end_offset: int
    """The offset that the next message will get."""
    committed_offset: int | None
    """What the group will read next; None where it never committed."""
    lag: int
    """Messages the group has still to read; all of them where it never committed."""


@dataclass(frozen=True)
class TopicMessage:
    """One message as it lies in the topic."""

    partition: int
    offset: int
    key: str | None
    timestamp: datetime
    value: bytes | None = field(repr=False)
    headers: dict[str, str] = field(default_factory=dict)


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
    made = set()
    for new in wanted:
        if new.topic in there:
            continue
        try:
            create = partial(AdminClient.create_topics, new_topics=[new])
            admin.ask(f"making topic {new.topic!r}", create)
        except Refused as refused:
            if refused.code in NOT_ALLOWED:
                msg = (
                    f"topic {new.topic!r} is missing, and Kafka does not let us make it; mend "
                    f"'topic' in {conf_file('kafka.json')}, or have it made as the README says"
                )
                raise ConfigError(msg) from refused
            if refused.code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            made.add(new.topic)
    if made:
        admin.wait_until("making topics", lambda found: made <= found.keys())
    return settings.topic in made


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
    doing = f"deleting {', '.join(sorted(names))}"
    admin.wait_until(doing, names.isdisjoint)


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
    start_at_newest(settings, 0)


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
    deadline_s = time.monotonic() + _GONE_S
    while consumers(settings):
        if time.monotonic() > deadline_s:
            msg = (
                f"somebody is still reading as consumer group {settings.group_id!r}; nothing was "
                f"deleted; stop that consumer (Stop in a room, Ctrl-C in {command('consume')}), "
                "then try again"
            )
            raise ServerError(msg)
        time.sleep(0.2)


def start_at_newest(settings: KafkaSettings, most: int) -> None:
    """Let a group that nobody reads as begin with the newest `most` messages of the topic.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer, or somebody is reading as the group.
    """
    found = partitions(settings)
    share = -(-most // len(found))
    starts = {each.partition: max(each.first_offset, each.end_offset - share) for each in found}
    Admin(settings).commit(settings.topic, settings.group_id, starts)


def partitions(settings: KafkaSettings) -> list[Partition]:
    """Describe every partition of the topic, in order, with the group's offsets and lag.

    Raises:
        ConfigError: no such topic; the message lists those that exist.
        ServerError: Kafka did not answer.

    Source: LAG as Kafka's own consumer-groups tool prints it (end offset minus committed).
    """
    admin = Admin(settings)
    firsts = admin.offsets(settings.topic, OffsetSpec.earliest())
    # Committed before end: what is committed meanwhile can only make the lag look larger.
    committed = admin.committed(settings.topic, settings.group_id)
    ends = admin.offsets(settings.topic, OffsetSpec.latest())
    return [
        Partition(
            partition=i,
            first_offset=firsts[i],
            end_offset=ends[i],
            committed_offset=committed.get(i),
            lag=max(0, ends[i] - max(firsts[i], committed.get(i, firsts[i]))),
        )
        for i in sorted(firsts)
    ]


def waiting_s(settings: KafkaSettings) -> dict[int, float]:
    """Say for how long the next message that the group will read has lain there, by partition.

    Returns:
        Seconds by Kafka's timestamp, one key per partition; 0 where nothing waits.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    found = partitions(settings)
    starts = {each.partition: each.end_offset - each.lag for each in found if each.lag}
    waiting = dict.fromkeys((each.partition for each in found), 0.0)
    # Up to the end, for what is next in a partition may lie behind a gap.
    ends = {each.partition: each.end_offset for each in found}
    now = datetime.now(UTC)
    with closing(_read_between(settings, settings.topic, starts, ends)) as messages:
        for message in messages:
            if (i := message.partition()) in starts:
                del starts[i]
                waiting[i] = max(0.0, (now - moment(message)).total_seconds())
            if not starts:
                break
    return waiting


def members(settings: KafkaSettings) -> list[Member]:
    """Give the reports that the group's consumers committed beside their offsets, newest first.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    return reports.members(Admin(settings).metadata(settings.topic, settings.group_id))


def consumers(settings: KafkaSettings) -> int:
    """Count the consumers in the group now; one that was killed counts for 6 s more.

    Raises:
        ServerError: Kafka did not answer.
    """
    return Admin(settings).consumers(settings.group_id)


def consumer_lag(settings: KafkaSettings) -> dict[int, int]:
    """Count the messages the consumer group has still to read, by partition.

    A partition the group never committed counts from its beginning.

    Returns:
        One key per partition of the topic, zero included.

    Raises:
        ConfigError: no such topic; the message lists those that exist.
        ServerError: Kafka did not answer.
    """
    return {each.partition: each.lag for each in partitions(settings)}


def count(settings: KafkaSettings, topic: str | None = None) -> int:
    """Count the messages that lie in a topic (by default the settings' own).

    Offsets are counted, so transaction markers and compacted messages count too.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    admin, topic = Admin(settings), topic or settings.topic
    firsts = admin.offsets(topic, OffsetSpec.earliest())
    ends = admin.offsets(topic, OffsetSpec.latest())
    return sum(ends[i] - firsts[i] for i in firsts)


def read(settings: KafkaSettings, topic: str | None = None) -> Iterator[TopicMessage]:
    """Read every message that lies in a topic now, from the beginning, and stop there.

    Partitions come mixed, each in its own order. Joins no group and commits nothing.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer for `timeout_s`.
    """
    return map(_topic_message, read_raw(settings, topic))


def read_raw(
    settings: KafkaSettings,
    topic: str | None = None,
    *,
    starts: dict[int, int] | None = None,
    ends: dict[int, int] | None = None,
) -> Iterator[Message]:
    """Read as `read`, and give each message as it came: key, value and every header in bytes.

    Args:
        settings: where.
        topic: by default the settings' own.
        starts: the first offset to read, by partition; by default the first there is.
        ends: the offset to stop before, by partition; by default the end as it is now.

    Raises:
        ConfigError, ServerError: as `read`.
    """
    admin, topic = Admin(settings), topic or settings.topic
    ends = ends or admin.offsets(topic, OffsetSpec.latest())
    firsts = admin.offsets(topic, OffsetSpec.earliest())
    wanted = {i: max(first, (starts or {}).get(i, 0)) for i, first in firsts.items()}
    wanted = {i: first for i, first in wanted.items() if ends.get(i, 0) > first}
    yield from _read_between(settings, topic, wanted, ends)


def peek(settings: KafkaSettings, n: int = 10, topic: str | None = None) -> list[TopicMessage]:
    """Give the newest `n` messages of a topic, oldest first; fewer where fewer are there.

    Raises:
        ConfigError: no such topic, or `n` is below 1.
        ServerError: Kafka did not answer.
    """
    if n < 1:
        msg = f"peek at {n} messages: ask for 1 or more"
        raise ConfigError(msg)
    admin, topic = Admin(settings), topic or settings.topic
    firsts = admin.offsets(topic, OffsetSpec.earliest())
    ends = admin.offsets(topic, OffsetSpec.latest())
    wanted = {i: max(first, ends[i] - n) for i, first in firsts.items() if ends[i] > first}
    found = map(_topic_message, _read_between(settings, topic, wanted, ends))
    return sorted(found, key=lambda message: message.timestamp)[-n:]


def _read_between(
    settings: KafkaSettings, topic: str, starts: dict[int, int], ends: dict[int, int]
) -> Generator[Message]:
    config = settings.client_config() | {
        # A group id is mandatory; nothing is ever committed under it.
        "group.id": f"{settings.group_id}-looking",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
        "allow.auto.create.topics": False,
    }
    open_partitions = set(starts)
    with closing(Consumer(config)) as consumer:
        consumer.assign([TopicPartition(topic, i, offset) for i, offset in starts.items()])
        deadline = time.monotonic() + settings.timeout_s
        while open_partitions:
            for message in consumer.consume(10_000, timeout=0.2):
                deadline = time.monotonic() + settings.timeout_s
                error = message.error()
                i = message.partition()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    msg = (
                        f"reading topic {topic!r}: Kafka answered {error.str()!r}; "
                        f"see {command('status')}"
                    )
                    raise ServerError(msg)
                if error is None and message.offset() < ends[i]:
                    yield message
                if error is not None or message.offset() >= ends[i] - 1:
                    open_partitions.discard(i)
            if time.monotonic() > deadline:
                raise ServerError(no_answer(settings, f"reading topic {topic!r}"))


def moment(message: Message) -> datetime:
    """Give a message's time, as 1970 or 9999 where it says none or one that no calendar has."""
    _, timestamp_ms = message.timestamp()
    return datetime.fromtimestamp(min(max(0, timestamp_ms), _LAST_MS) / 1000, UTC)


def _topic_message(message: Message) -> TopicMessage:
    key = message.key()
    return TopicMessage(
        partition=message.partition(),
        offset=message.offset(),
        key=None if key is None else key.decode("utf-8", "replace"),
        timestamp=moment(message),
        value=message.value(),
        headers={
            name: (value or b"").decode("utf-8", "replace")
            for name, value in message.headers() or ()
        },
    )
