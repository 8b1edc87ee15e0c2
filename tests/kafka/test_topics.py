"""Topics seen from outside, on a real broker."""

from itertools import islice
from random import Random

import pytest
from confluent_kafka import Producer

from clickstream import producer
from clickstream.errors import ConfigError, ServerError
from clickstream.kafka import topics
from clickstream.settings import KafkaSettings, Settings
from clickstream.simulation.simulator import Simulator

MONDAY_MS = 1_767_571_200_000


def test_topics_are_made_once(fresh: Settings) -> None:
    """Making them again changes nothing; topic and dead-letter topic come together."""
    assert topics.ensure_topics(fresh.kafka) is True
    assert topics.ensure_topics(fresh.kafka) is False

    assert [each.partition for each in topics.partitions(fresh.kafka)] == [0, 1, 2]
    assert topics.count(fresh.kafka, fresh.kafka.dead_letter_topic) == 0


def test_lag_of_a_group_that_never_read_is_everything(made: Settings) -> None:
    """A partition the group never committed counts from its beginning."""
    producer.send(made.kafka, islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), 600))

    assert sum(topics.consumer_lag(made.kafka).values()) == 600
    assert all(each.committed_offset is None for each in topics.partitions(made.kafka))


def test_reading_gives_every_message_once(made: Settings) -> None:
    """Partition by partition, offsets without gaps, key and value as sent."""
    sent = list(islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), 600))
    producer.send(made.kafka, sent)

    found = list(topics.read(made.kafka))
    assert sorted((m.partition, m.offset) for m in found) == [
        (each.partition, offset)
        for each in topics.partitions(made.kafka)
        for offset in range(each.end_offset)
    ]
    assert sorted(m.key or "" for m in found) == sorted(event.user_id for event in sent)


def test_peeking_gives_the_newest_messages_in_order(made: Settings) -> None:
    """No more than asked for, oldest first, and fewer where fewer are there."""
    assert topics.peek(made.kafka, 5) == []
    producer.send(made.kafka, islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), 50))

    newest = topics.peek(made.kafka, 5)
    assert len(newest) == 5
    assert newest == sorted(newest, key=lambda message: message.timestamp)
    assert len(topics.peek(made.kafka, 500)) == 50


def test_a_time_that_no_calendar_has_breaks_no_look(made: Settings) -> None:
    """Kafka takes any from a client; it is shown as 1970."""
    client = Producer({"bootstrap.servers": made.kafka.bootstrap_servers})
    client.produce(made.kafka.topic, b"x", timestamp=-(10**14))
    assert client.flush(10) == 0

    assert [message.timestamp.year for message in topics.peek(made.kafka)] == [1970]


def test_a_missing_topic_is_told_with_those_that_exist(made: Settings) -> None:
    """The error quotes the name, lists the others and says what makes one."""
    nowhere = made.in_namespace("nowhere").kafka

    with pytest.raises(ConfigError, match=rf"no topic .*there is: .*{made.kafka.topic}"):
        topics.partitions(nowhere)
    with pytest.raises(ConfigError, match="ask for 1 or more"):
        topics.peek(made.kafka, 0)


def test_a_broker_that_is_not_there_is_one_line() -> None:
    """After the time-out the error names the address and the remedy."""
    nobody = KafkaSettings("127.0.0.1:9", timeout_s=1.0)

    with pytest.raises(ServerError, match=r"did not answer on 127\.0\.0\.1:9 within 1 s"):
        topics.consumer_lag(nobody)


def test_deleting_leaves_names_that_can_be_made_again_at_once(made: Settings) -> None:
    """Deleted twice without complaint; made anew it is empty."""
    producer.send(made.kafka, islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), 50))
    topics.delete_topics(made.kafka)
    topics.delete_topics(made.kafka)

    assert topics.ensure_topics(made.kafka) is True
    assert topics.count(made.kafka) == 0


def test_a_group_can_begin_with_the_newest(made: Settings) -> None:
    """About as many as asked for, shared evenly between the partitions."""
    producer.send(made.kafka, islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), 3_000))
    topics.start_at_newest(made.kafka, 600)

    assert topics.consumer_lag(made.kafka) == {0: 200, 1: 200, 2: 200}
    topics.start_at_newest(made.kafka, 1_000_000)
    assert sum(topics.consumer_lag(made.kafka).values()) == 3_000


def test_a_key_stays_in_one_partition(made: Settings) -> None:
    """One reader's messages lie in one partition, in the order of their events."""
    crowd = Simulator(seed=Random(3).randrange(100), start_ms=MONDAY_MS)
    producer.send(made.kafka, islice(crowd.events(), 2_000))

    where: dict[str | None, set[int]] = {}
    for message in topics.read(made.kafka):
        where.setdefault(message.key, set()).add(message.partition)
    assert {len(partitions) for partitions in where.values()} == {1}
    assert set.union(*where.values()) == {0, 1, 2}
