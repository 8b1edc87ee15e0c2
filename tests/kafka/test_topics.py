"""Topics are created, deleted and created again, on a real broker."""

from itertools import islice

from clickstream import producer
from clickstream.kafka import offsets, topics
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator
from tests.support.by_id import MONDAY_MS


def test_topics_are_made_once(fresh: Settings) -> None:
    """Topic and dead-letter topic are created together; a second call changes nothing."""
    assert topics.ensure_topics(fresh.kafka) is True
    assert topics.ensure_topics(fresh.kafka) is False

    assert [each.partition for each in offsets.partitions(fresh.kafka)] == [0, 1, 2]
    assert offsets.count(fresh.kafka, fresh.kafka.dead_letter_topic) == 0


def test_deleting_leaves_names_that_can_be_made_again_at_once(made: Settings) -> None:
    """Deleting twice is no error, and a recreated topic is empty."""
    producer.send(made.kafka, islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), 50))
    topics.delete_topics(made.kafka)
    topics.delete_topics(made.kafka)

    assert topics.ensure_topics(made.kafka) is True
    assert offsets.count(made.kafka) == 0
