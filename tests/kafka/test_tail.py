"""Following a topic, on a real broker."""

from collections.abc import Iterator
from itertools import islice

import pytest

from clickstream import producer
from clickstream.errors import ConfigError
from clickstream.events import Event
from clickstream.kafka import messages
from clickstream.kafka.messages import TopicMessage
from clickstream.kafka.tail import follow
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator
from tests.support.by_id import MONDAY_MS


@pytest.fixture
def crowd() -> Iterator[Event]:
    """The events of a crowd."""
    return Simulator(seed=1, start_ms=MONDAY_MS).events()


def places(found: list[TopicMessage]) -> list[tuple[int, int]]:
    """Partition and offset of each message, in order."""
    return sorted((each.partition, each.offset) for each in found)


def test_what_is_sent_after_the_first_answer_is_found_once(
    made: Settings, crowd: Iterator[Event]
) -> None:
    """Nothing earlier is read, nothing is lost in between, and partitions are in order."""
    producer.send(made.kafka, islice(crowd, 50))
    before = list(messages.read(made.kafka))
    arriving = follow(made.kafka)
    assert next(arriving) == []
    producer.send(made.kafka, islice(crowd, 2_500))
    found: list[TopicMessage] = []
    while len(found) < 2_500:
        found += next(arriving)
    producer.send(made.kafka, islice(crowd, 10))
    while len(found) < 2_510:
        found += next(arriving)
    arriving.close()

    assert places(before + found) == places(list(messages.read(made.kafka)))
    for partition in range(3):
        offsets = [each.offset for each in found if each.partition == partition]
        assert offsets == sorted(offsets)


def test_a_key_s_messages_are_found_and_no_others(made: Settings, crowd: Iterator[Event]) -> None:
    """One reader is followed: the messages of one partition, with key, offset and value."""
    sent = list(islice(crowd, 1_000))
    user_id = sent[0].user_id
    own = [event.event_id for event in sent if event.user_id == user_id]
    arriving = follow(made.kafka, key=user_id)
    next(arriving)
    producer.send(made.kafka, sent)
    found: list[TopicMessage] = []
    while len(found) < len(own):
        found += next(arriving)
    arriving.close()

    everything = {(each.partition, each.offset): each for each in messages.read(made.kafka)}
    assert [everything[each.partition, each.offset] for each in found] == found
    assert {each.key for each in found} == {user_id}
    assert len({each.partition for each in found}) == 1


def test_an_idle_topic_gives_empty_lists_and_a_missing_one_is_named(made: Settings) -> None:
    """Whoever follows can stop at any time."""
    arriving = follow(made.kafka, key="reader-ada")
    assert [next(arriving) for _ in range(4)] == [[]] * 4
    arriving.close()
    assert list(arriving) == []
    missing = made.in_namespace("never-made")
    with pytest.raises(ConfigError, match="never-made"):
        next(follow(missing.kafka))
