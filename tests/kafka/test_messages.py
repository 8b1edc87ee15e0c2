"""Reading the messages of a topic, on a real broker."""

from itertools import islice
from random import Random

import pytest
from confluent_kafka import Producer

from clickstream import producer
from clickstream.errors import ConfigError
from clickstream.kafka import messages, offsets
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator
from tests.support.by_id import MONDAY_MS


def test_reading_gives_every_message_once(made: Settings) -> None:
    """Every message is read once, with consecutive offsets and its key and value."""
    sent = list(islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), 600))
    producer.send(made.kafka, sent)

    found = list(messages.read(made.kafka))
    assert sorted((m.partition, m.offset) for m in found) == [
        (each.partition, offset)
        for each in offsets.partitions(made.kafka)
        for offset in range(each.end_offset)
    ]
    assert sorted(m.key or "" for m in found) == sorted(event.user_id for event in sent)


def test_peeking_gives_the_newest_messages_in_order(made: Settings) -> None:
    """Peeking returns at most `n` of the newest messages, oldest first."""
    assert messages.peek(made.kafka, 5) == []
    producer.send(made.kafka, islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), 50))

    newest = messages.peek(made.kafka, 5)
    assert len(newest) == 5
    assert newest == sorted(newest, key=lambda message: message.timestamp)
    assert len(messages.peek(made.kafka, 500)) == 50
    with pytest.raises(ConfigError, match="must be 1 or more"):
        messages.peek(made.kafka, 0)


def test_a_time_that_no_calendar_has_breaks_no_look(made: Settings) -> None:
    """A message with an invalid time is shown as 1970."""
    client = Producer({"bootstrap.servers": made.kafka.bootstrap_servers})
    client.produce(made.kafka.topic, b"x", timestamp=-(10**14))
    assert client.flush(10) == 0

    assert [message.timestamp.year for message in messages.peek(made.kafka)] == [1970]


def test_a_key_stays_in_one_partition(made: Settings) -> None:
    """All messages of a reader are in one partition, in the order of their events."""
    crowd = Simulator(seed=Random(3).randrange(100), start_ms=MONDAY_MS)
    producer.send(made.kafka, islice(crowd.events(), 2_000))

    where: dict[str | None, set[int]] = {}
    for message in messages.read(made.kafka):
        where.setdefault(message.key, set()).add(message.partition)
    assert {len(partitions) for partitions in where.values()} == {1}
    assert set.union(*where.values()) == {0, 1, 2}


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("Zürich 9 °C".encode(), "Zürich 9 °C"),
        (b"\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        (b"one\r\ntwo\tthree", r"one\r\ntwo\tthree"),
        ("\x9b31m".encode(), r"\x9b31m"),
        ("abc\u202edcb\u2028".encode(), r"abc\u202edcb\u2028"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"", ""),
    ],
)
def test_no_value_drives_a_terminal(data: bytes, shown: str) -> None:
    """Control characters, reversed text and invalid UTF-8 are escaped, on one line."""
    assert messages.text(data) == shown
