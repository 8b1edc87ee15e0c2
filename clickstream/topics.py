"""Topics seen from outside: make them, look into them, count what a group has still to read.

Looking never joins a consumer group, so it cannot cause a rebalance. Writing messages is
`producer.py`, reading them for good is `consumer.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from clickstream.errors import ConfigError, ServerError
from clickstream.settings import KafkaSettings

NUM_PARTITIONS = 3
"""Enough to show keys and parallel reading, few enough for a chart on a stage."""


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
        Whether the topic itself was made now.

    Raises:
        ServerError: Kafka did not answer, or refused.
    """
    made = False
    wanted = [
        NewTopic(settings.topic, num_partitions=num_partitions),
        # One partition: dead letters are read by people, in the order they came.
        NewTopic(settings.dead_letter_topic, num_partitions=1),
    ]
    admin = _admin(settings)
    for name, future in admin.create_topics(wanted).items():
        try:
            _result(settings, future, f"making topic {name!r}")
        except _Refused as refused:
            if refused.code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
        else:
            made = made or name == settings.topic
    return made


def delete_topics(settings: KafkaSettings) -> None:
    """Delete the topic, its dead-letter topic and the group's offsets; repeat at will.

    Returns when the names are gone, so that the topic can be made again at once.

    Raises:
        ServerError: Kafka did not answer, or a member of the group is still reading.
    """
    admin = _admin(settings)
    names = [settings.topic, settings.dead_letter_topic]
    for name, future in admin.delete_topics(names).items():
        try:
            _result(settings, future, f"deleting topic {name!r}")
        except _Refused as refused:
            if refused.code != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    delete_group(settings)
    deadline = time.monotonic() + settings.timeout_s
    while _existing(settings, admin).intersection(names) and time.monotonic() < deadline:
        time.sleep(0.05)


def delete_group(settings: KafkaSettings) -> None:
    """Delete the consumer group with its offsets; repeat at will.

    Raises:
        ServerError: Kafka did not answer, or a member of the group is still reading.
    """
    admin = _admin(settings)
    group_id = settings.group_id
    try:
        _soon(
            settings,
            lambda: _result(
                settings,
                admin.delete_consumer_groups([group_id])[group_id],
                f"deleting consumer group {group_id!r}",
            ),
        )
    except _Refused as refused:
        if refused.code != KafkaError.GROUP_ID_NOT_FOUND:
            raise


def partitions(settings: KafkaSettings) -> list[Partition]:
    """Describe every partition of the topic, in order, with the group's offsets and lag.

    Raises:
        ConfigError: no such topic; the message lists those that exist.
        ServerError: Kafka did not answer.

    Source: LAG as Kafka's own consumer-groups tool prints it (end offset minus committed).
    """
    admin = _admin(settings)
    ids = _partition_ids(settings, admin)
    firsts = _offsets(settings, admin, ids, OffsetSpec.earliest())
    # Committed before end: what is committed meanwhile can only make the lag look larger.
    committed = _committed(settings, admin, ids)
    ends = _offsets(settings, admin, ids, OffsetSpec.latest())
    return [
        Partition(
            partition=i,
            first_offset=firsts[i],
            end_offset=ends[i],
            committed_offset=committed.get(i),
            lag=max(0, ends[i] - max(firsts[i], committed.get(i, firsts[i]))),
        )
        for i in ids
    ]


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
    admin = _admin(settings)
    ids = _partition_ids(settings, admin, topic)
    firsts = _offsets(settings, admin, ids, OffsetSpec.earliest(), topic)
    ends = _offsets(settings, admin, ids, OffsetSpec.latest(), topic)
    return sum(ends[i] - firsts[i] for i in ids)


def read(settings: KafkaSettings, topic: str | None = None) -> Iterator[TopicMessage]:
    """Read every message that lies in a topic now, from the beginning, and stop there.

    Partitions come mixed, each in its own order. Joins no group and commits nothing.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer for `timeout_s`.
    """
    admin = _admin(settings)
    ids = _partition_ids(settings, admin, topic)
    ends = _offsets(settings, admin, ids, OffsetSpec.latest(), topic)
    firsts = _offsets(settings, admin, ids, OffsetSpec.earliest(), topic)
    wanted = {i: firsts[i] for i in ids if ends[i] > firsts[i]}
    yield from _read_between(settings, topic or settings.topic, wanted, ends)


def peek(settings: KafkaSettings, n: int = 10, topic: str | None = None) -> list[TopicMessage]:
    """Give the newest `n` messages of a topic, oldest first; fewer where fewer are there.

    Raises:
        ConfigError: no such topic, or `n` is below 1.
        ServerError: Kafka did not answer.
    """
    if n < 1:
        msg = f"peek at {n} messages: ask for 1 or more"
        raise ConfigError(msg)
    admin = _admin(settings)
    ids = _partition_ids(settings, admin, topic)
    firsts = _offsets(settings, admin, ids, OffsetSpec.earliest(), topic)
    ends = _offsets(settings, admin, ids, OffsetSpec.latest(), topic)
    wanted = {i: max(firsts[i], ends[i] - n) for i in ids if ends[i] > firsts[i]}
    found = _read_between(settings, topic or settings.topic, wanted, ends)
    return sorted(found, key=lambda message: message.timestamp)[-n:]


def _read_between(
    settings: KafkaSettings, topic: str, starts: dict[int, int], ends: dict[int, int]
) -> Iterator[TopicMessage]:
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
                    msg = f"reading topic {topic!r}: Kafka answered {error.str()!r}"
                    raise ServerError(msg)
                if error is None and message.offset() < ends[i]:
                    yield _topic_message(message)
                if error is not None or message.offset() >= ends[i] - 1:
                    open_partitions.discard(i)
            if time.monotonic() > deadline:
                raise ServerError(_no_answer(settings, f"reading topic {topic!r}"))


def _topic_message(message: Message) -> TopicMessage:
    key = message.key()
    _, timestamp_ms = message.timestamp()
    return TopicMessage(
        partition=message.partition(),
        offset=message.offset(),
        key=None if key is None else key.decode("utf-8", "replace"),
        timestamp=datetime.fromtimestamp(timestamp_ms / 1000, UTC),
        value=message.value(),
        headers={
            name: (value or b"").decode("utf-8", "replace")
            for name, value in message.headers() or ()
        },
    )


class _Refused(ServerError):
    """Kafka answered, and said no."""

    code: int


def _admin(settings: KafkaSettings) -> AdminClient:
    """Make a client; keep a name on it, for its futures die with it."""
    return AdminClient(settings.client_config())


def _result(settings: KafkaSettings, future: Future[Any], doing: str) -> Any:
    try:
        return future.result(timeout=settings.timeout_s)
    except TimeoutError as error:
        raise ServerError(_no_answer(settings, doing)) from error
    except KafkaException as exception:
        cause: KafkaError = exception.args[0]
        if cause.code() in _UNREACHABLE:
            raise ServerError(_no_answer(settings, doing)) from exception
        refused = _Refused(f"{doing}: Kafka answered {cause.str()!r}")
        refused.code = cause.code()
        raise refused from exception


def _soon(settings: KafkaSettings, ask: Callable[[], _T]) -> _T:
    """Ask again while the broker is still appointing a group's coordinator or a new leader."""
    deadline = time.monotonic() + settings.timeout_s
    while True:
        try:
            return ask()
        except _Refused as refused:
            if refused.code not in _SOON or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


_T = TypeVar("_T")
_SOON = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)
_UNREACHABLE = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._RESOLVE,
    }
)


def _no_answer(settings: KafkaSettings, doing: str) -> str:
    return (
        f"{doing}: Kafka did not answer on {settings.bootstrap_servers} within "
        f"{settings.timeout_s:g} s; see `clickstream status`, start it with `clickstream up`"
    )


def _existing(settings: KafkaSettings, admin: AdminClient) -> set[str]:
    try:
        return set(admin.list_topics(timeout=settings.timeout_s).topics)
    except KafkaException as error:
        raise ServerError(_no_answer(settings, "listing topics")) from error


def _partition_ids(
    settings: KafkaSettings, admin: AdminClient, topic: str | None = None
) -> list[int]:
    topic = topic or settings.topic
    try:
        found = admin.list_topics(timeout=settings.timeout_s).topics
    except KafkaException as error:
        raise ServerError(_no_answer(settings, f"looking at topic {topic!r}")) from error
    if topic not in found:
        others = ", ".join(sorted(name for name in found if not name.startswith("__")))
        msg = (
            f"no topic {topic!r} on {settings.bootstrap_servers}; there is: {others or 'none'}; "
            "`clickstream produce` makes it"
        )
        raise ConfigError(msg)
    return sorted(found[topic].partitions)


def _offsets(
    settings: KafkaSettings,
    admin: AdminClient,
    ids: list[int],
    spec: OffsetSpec,
    topic: str | None = None,
) -> dict[int, int]:
    topic = topic or settings.topic

    def ask() -> dict[int, int]:
        futures = admin.list_offsets({TopicPartition(topic, i): spec for i in ids})
        return {
            asked.partition: _result(settings, future, f"asking offsets of {topic!r}").offset
            for asked, future in futures.items()
        }

    return _soon(settings, ask)


def _committed(settings: KafkaSettings, admin: AdminClient, ids: list[int]) -> dict[int, int]:
    request = ConsumerGroupTopicPartitions(
        settings.group_id, [TopicPartition(settings.topic, i) for i in ids]
    )
    try:
        answer = _soon(
            settings,
            lambda: _result(
                settings,
                admin.list_consumer_group_offsets([request])[settings.group_id],
                f"asking offsets of group {settings.group_id!r}",
            ),
        )
    except _Refused as refused:
        if refused.code == KafkaError.GROUP_ID_NOT_FOUND:
            return {}
        raise
    return {each.partition: each.offset for each in answer.topic_partitions if each.offset >= 0}
