"""The count by id finds missing and doubled documents, and dead letters."""

import threading
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer, TopicPartition

from clickstream import consumer
from clickstream.demo.audit import audit, end_offsets
from clickstream.demo.dead_letter_replay import replay_dead_letters
from clickstream.errors import ServerError
from clickstream.opensearch import client as opensearch
from clickstream.settings import Settings
from clickstream.simulation import invalid_events
from clickstream.simulation.simulator import Simulator
from clickstream.widgets import workers
from tests.support.by_id import MONDAY_MS, send, send_raw


def test_every_message_is_accounted_for(made: Settings) -> None:
    """The audit counts documents, repeats and dead letters, and ignores earlier messages."""
    send(made, 50, seed=1)
    start = end_offsets(made)
    send(made, 300, seed=2)
    send(made, 100, seed=2)
    event = Simulator(seed=9, start_ms=MONDAY_MS).take()
    assert event is not None
    broken = invalid_events.of_every_kind(event)
    send_raw(made, *broken)
    consumer.index_topic(made, until_caught_up=True)
    found = audit(made, start, patience_s=10)

    assert found.messages == 400 + len(broken)
    assert (found.stored, found.repeated, found.dead_lettered) == (300, 100, len(broken))
    assert (found.lost, found.doubled) == ([], [])
    assert "0 lost, 0 doubled" in str(found)


def test_what_is_missing_or_doubled_is_named(made: Settings) -> None:
    """The audit names a deleted document, and one doubled in a second backing index."""
    start = end_offsets(made)
    ids = send(made, 200, seed=2)
    consumer.index_topic(made, until_caught_up=True)
    client, name = opensearch.connect(made.opensearch), made.opensearch.index
    (backing,) = client.indices.get(index=name)
    client.delete(index=backing, id=ids[7])
    client.indices.rollover(alias=name)
    second = {"timestamp": datetime.now(UTC).isoformat(timespec="milliseconds")}
    client.index(index=name, id=ids[3], body=second, op_type="create")
    found = audit(made, start, patience_s=10)

    assert len(found.lost) == 1
    assert found.doubled == [ids[3]]


def test_a_consumer_that_is_behind_is_waited_for_and_then_told(made: Settings) -> None:
    """The audit waits for a consumer, then raises one line with the number of open messages."""
    start = end_offsets(made)
    send(made, 200, seed=2)

    with pytest.raises(
        ServerError, match=r"still has 200 messages to read, and has read none for 1 s"
    ):
        audit(made, start, patience_s=1)


def test_a_consumer_that_comes_nearer_is_waited_for_however_slow_it_is(made: Settings) -> None:
    """The audit waits for slow progress beyond its patience; unstored messages count as lost."""
    start = end_offsets(made)
    send(made, 200, seed=2)
    ends = end_offsets(made)
    kafka = made.kafka.client_config() | {"group.id": made.kafka.group_id}
    reader = Consumer(kafka)

    def step(stop: threading.Event) -> None:
        for fifths in range(1, 6):
            stop.wait(2)
            offsets = {each: end * fifths // 5 for each, end in ends.items()}
            reader.commit(
                offsets=[TopicPartition(made.kafka.topic, *each) for each in offsets.items()],
                asynchronous=False,
            )

    workers.start("slow", step)
    found = audit(made, start, patience_s=8)
    workers.stop("slow")
    reader.close()

    assert (found.messages, len(found.lost)) == (200, 200)


def test_a_dead_letter_stays_one_when_its_event_is_mended_in_another(made: Settings) -> None:
    """A dead letter still counts if another message of its event is repaired."""
    start = end_offsets(made)
    event = Simulator(seed=9, start_ms=MONDAY_MS).take()
    assert event is not None
    send_raw(made, *invalid_events.of_every_kind(event))
    consumer.index_topic(made, until_caught_up=True)
    replay_dead_letters(made.kafka, lambda each: (each.value or b"").replace(b'"seven"', b"7"))
    consumer.index_topic(made, until_caught_up=True)
    found = audit(made, start, patience_s=10)

    assert (found.messages, found.stored, found.repeated, found.dead_lettered) == (9, 1, 0, 8)
