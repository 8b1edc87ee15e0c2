"""Following a topic, and its newest messages, on a real broker."""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import pytest

from clickstream import producer
from clickstream.errors import ConfigError
from clickstream.events import Event
from clickstream.kafka import messages, offsets, topics
from clickstream.kafka.messages import TopicMessage
from clickstream.kafka.tail import Newest, follow
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator
from tests.support.by_id import MONDAY_MS, wait_until


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


def test_the_newest_messages_are_read_and_those_between_are_skipped(
    made: Settings, crowd: Iterator[Event]
) -> None:
    """Each answer has the newest ones, oldest first; each message is read once at most."""
    topics.ensure_topics(made.kafka)
    with closing(Newest(made.kafka, most=4)) as newest:

        def after(num_events: int) -> list[TopicMessage]:
            """The newest messages once these are in the topic."""
            producer.send(made.kafka, islice(crowd, num_events))
            ends = {each.partition: each.end_offset for each in offsets.partitions(made.kafka)}
            times = sorted(each.timestamp for each in messages.read(made.kafka))[-4:]
            # To connect may take longer than one call waits.
            wait_until(lambda: [each.timestamp for each in newest.read(ends)] == times, 20)
            return newest.read(ends)

        assert after(0) == []
        found = [after(num_events) for num_events in (3, 400, 2, 0, 2_000)]
        # As after a reset elsewhere, the topic is shorter than it was.
        topics.delete_topics(made.kafka)
        topics.ensure_topics(made.kafka)
        assert max(each.offset for each in after(30)) < 30

    assert [len(each) for each in found] == [3, 4, 4, 4, 4]
    assert found[3] == found[2]
    assert len({place for each in found for place in places(each)}) == 3 + 4 + 2 + 4
