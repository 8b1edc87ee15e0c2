"""The consumer on real servers: no loss and no duplicates, always checked by id."""

import json
import os
import threading
import time
from dataclasses import replace
from itertools import islice
from random import Random

import pytest
from confluent_kafka import Producer

from clickstream import consumer, events, producer
from clickstream.demo import audit
from clickstream.demo.dead_letter_replay import replay_dead_letters
from clickstream.errors import BulkError, ConfigError, Interrupted
from clickstream.kafka import dead_letters, messages, offsets, topics
from clickstream.kafka.dead_letters import Place
from clickstream.reports import IndexReport
from clickstream.settings import Settings
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic
from tests.support.by_id import MONDAY_MS, lag, send, send_raw, stored_ids, wait_until
from tests.support.errors import raises_shown
from tests.support.foreign import send_with_headers


def test_every_event_becomes_one_document(made: Settings) -> None:
    """The index holds every id of the topic once, and the lag is 0."""
    sent = send(made, 10_000)
    report = consumer.index_topic(made, until_caught_up=True)

    assert (report.stored, report.replayed, report.dead_lettered) == (10_000, 0, 0)
    assert stored_ids(made) == sent
    assert lag(made) == 0


def test_a_replay_doubles_nothing(made: Settings) -> None:
    """Another group reads everything again, and OpenSearch recognises each document."""
    sent = send(made, 5_000)
    consumer.index_topic(made, until_caught_up=True)
    again = consumer.index_topic(made.for_group("again-" + made.kafka.topic), until_caught_up=True)

    assert (again.stored, again.replayed) == (0, 5_000)
    assert stored_ids(made) == sent


def test_poison_ends_in_the_dead_letter_topic_and_the_rest_is_stored(made: Settings) -> None:
    """A dead letter keeps key, value and headers, and adds origin and reason."""
    sent = send(made, 1_000)
    good = json.loads(events.encode(Simulator(seed=3, start_ms=MONDAY_MS).take()))
    poison: list[bytes | None] = [
        b"{ not json",
        b"\xff\xfe",
        b"",
        None,
        json.dumps(good | {"session_seq": "seven"}).encode(),
        json.dumps(good | {"colour": "red"}).encode(),
        json.dumps(good | {"timestamp": "2026-02-31T00:00:00.000Z"}).encode(),
        # Passes the typed check; only OpenSearch knows the largest integer of its field.
        json.dumps(
            good | {"event_id": "019b8b74-0000-7000-8000-000000000005", "session_seq": 2**31}
        ).encode(),
    ]
    send_raw(made, *poison)
    report = consumer.index_topic(made, until_caught_up=True)

    assert (report.stored, report.dead_lettered) == (1_000, len(poison))
    assert stored_ids(made) == sent
    assert lag(made) == 0
    letters = list(messages.read(made.kafka, made.kafka.dead_letter_topic))
    assert sorted((m.value or b"") for m in letters) == sorted(value or b"" for value in poison)
    for letter in letters:
        assert letter.key == "reader-0666"
        assert letter.headers["trace"] == "7"
        assert letter.headers["clickstream.topic"] == made.kafka.topic
        assert int(letter.headers["clickstream.offset"]) >= 0
        assert int(letter.headers["clickstream.partition"]) in (0, 1, 2)
        assert letter.headers["clickstream.error.type"]
    reasons = " ".join(letter.headers["clickstream.error.reason"] for letter in letters)
    assert "session_seq" in reasons
    assert "colour" in reasons
    assert "timestamp" in reasons


def test_what_the_client_cannot_decode_of_a_message_stops_nothing(made: Settings) -> None:
    """Events with unreadable headers are stored, other messages become letters without headers."""
    event = Simulator(seed=3, start_ms=MONDAY_MS).take()
    start = audit.end_offsets(made)
    # Python calls a method faster after some calls, and then misses the client's exception.
    for value in [*[b"poison"] * 30, events.encode(event)]:
        headers = {b"trace": b"7", b"caf\xe9": b"1"}
        send_with_headers(made, value, headers, timestamp_ms=-1)
    report = consumer.index_topic(made, until_caught_up=True)

    assert (report.stored, report.dead_lettered) == (1, 30)
    assert lag(made) == 0
    letters = dead_letters.read(made.kafka)
    assert {each.source for each in letters} == {
        Place(made.kafka.topic, 0, offset) for offset in range(30)
    }
    assert {(each.key, each.value, each.headers) for each in letters} == {(b"k\xff", b"poison", ())}
    assert all("without its headers" in each.reason for each in letters)
    assert [each.headers for each in messages.peek(made.kafka, 40)] == [{}] * 31
    found = audit.audit(made, start, patience_s=10)
    assert (found.stored, found.dead_lettered, found.lost) == (1, 30, [])
    send_with_headers(
        replace(made, kafka=replace(made.kafka, topic=made.kafka.dead_letter_topic)),
        events.encode(event),
        {b"caf\xe9": b"1"},
        timestamp_ms=-1,
    )
    assert dead_letters.read(made.kafka)[-1].source is None
    assert replay_dead_letters(made.kafka).letters == 31


def test_the_largest_message_there_is_can_be_a_dead_letter(made: Settings) -> None:
    """A dead letter may exceed its topic's message limit by the size of our headers."""
    sent = send(made, 100)
    send_raw(made, b"x" * 999_800)
    report = consumer.index_topic(made, until_caught_up=True)

    assert (report.stored, report.dead_lettered) == (100, 1)
    assert stored_ids(made) == sent
    (letter,) = messages.read(made.kafka, made.kafka.dead_letter_topic)
    assert letter.value == b"x" * 999_800


def test_the_end_of_a_transaction_leaves_no_lag(made: Settings) -> None:
    """The lag reaches 0 although the topic ends with an undelivered transaction marker."""
    client = Producer(
        {"bootstrap.servers": made.kafka.bootstrap_servers, "transactional.id": made.kafka.topic}
    )
    client.init_transactions(60)
    client.begin_transaction()
    for event in islice(Simulator(seed=3, start_ms=MONDAY_MS).events(), 200):
        client.produce(made.kafka.topic, events.encode(event), event.user_id)
    client.commit_transaction(10)
    wait_until(lambda: lag(made) == 200 + 3, 30)  # Kafka writes the markers a little later
    report = consumer.index_topic(made, until_caught_up=True)

    assert report.stored == 200
    assert lag(made) == 0


def test_caught_up_comes_while_others_go_on_producing(made: Settings) -> None:
    """The call ends once the messages from its start are indexed, despite new ones."""
    sent = send(made, 2_000)
    stop = threading.Event()
    source = PacedEvents(Traffic(live_now(seed=4)), Pace(500, rng=Random(1)))
    worker = threading.Thread(target=lambda: producer.produce(made.kafka, source, stop=stop))
    worker.start()
    try:
        started_s = time.monotonic()
        consumer.index_topic(made, until_caught_up=True)
        took_s = time.monotonic() - started_s
        assert worker.is_alive()
    finally:
        stop.set()
        worker.join()

    assert took_s < 15
    assert set(sent) <= set(stored_ids(made))


def test_a_newline_inside_a_message_never_becomes_an_action(made: Settings) -> None:
    """A multi-line document is stored as one; injected actions become dead letters."""
    event = Simulator(seed=3, start_ms=MONDAY_MS).take()
    pretty = json.dumps(json.loads(events.encode(event)), indent=2).encode()
    smuggled = events.encode(event) + b'\n{"delete":{"_id":"%b"}}' % event.event_id.encode()
    send_raw(made, pretty, smuggled)
    report = consumer.index_topic(made, until_caught_up=True)

    assert (report.stored, report.dead_lettered) == (1, 1)
    assert stored_ids(made) == [event.event_id]


def test_somebody_elses_topic_is_told_not_dead_lettered(made: Settings) -> None:
    """A hundred foreign messages in a row stop the consumer before any dead letter is written."""
    send_raw(made, *[b'{"order": 1}'] * 300)

    with raises_shown(BulkError, match="if this is not yours"):
        consumer.index_topic(made, until_caught_up=True)
    assert offsets.count(made.kafka, made.kafka.dead_letter_topic) == 0
    assert lag(made) == 300


def test_a_consumer_is_seen_from_outside(made: Settings) -> None:
    """Its report is committed with its offsets; `status` shows the lag in messages and seconds."""
    send(made, 5_000)
    time.sleep(1.2)
    waiting_s = offsets.waiting_s(made.kafka)
    report = consumer.index_topic(made, until_caught_up=True)
    (member,) = offsets.members(made.kafka)

    assert {i: seconds > 1 for i, seconds in waiting_s.items()} == {0: True, 1: True, 2: True}
    assert offsets.waiting_s(made.kafka) == {0: 0, 1: 0, 2: 0}
    assert member.stored == report.stored == 5_000
    assert member.bytes == report.bytes > 5_000 * 200
    assert member.p50_ms is not None
    assert 1_000 < member.p50_ms <= (member.p99_ms or 0)
    assert member.consumer.endswith(f":{os.getpid()}")
    assert {i: lag.messages for i, lag in report.lag.items()} == {0: 0, 1: 0, 2: 0}


def test_lag_and_flight_are_reported_while_it_works(made: Settings) -> None:
    """Every bulk updates messages in flight and lag; both are 0 at the end."""
    send(made, 30_000)
    seen: list[tuple[int, int]] = []

    def note(report: IndexReport) -> None:
        seen.append((report.in_flight, sum(each.messages for each in report.lag.values())))

    consumer.index_topic(made, until_caught_up=True, on_bulk=note)

    assert max(in_flight for in_flight, _ in seen) > consumer.BULK_DOCUMENTS
    assert max(behind for _, behind in seen) > 5_000
    assert seen[-1] == (0, 0)


def test_a_missing_topic_or_index_is_one_line(fresh: Settings) -> None:
    """The error for a missing topic or index names the command that creates it."""
    with pytest.raises(ConfigError, match="no topic"):
        consumer.index_topic(fresh, until_caught_up=True)
    topics.ensure_topics(fresh.kafka)
    send(fresh, 10)
    with pytest.raises(BulkError, match="index_not_found"):
        consumer.index_topic(fresh, until_caught_up=True)
    assert lag(fresh) == 10


def test_stop_ends_within_five_seconds_with_everything_committed(made: Settings) -> None:
    """After a stop at full speed, the next start replays nothing and stores the rest.

    The bulks are small enough for a slow machine to store them before the deadline.
    """
    sent = send(made, 60_000)
    stop = threading.Event()
    stopped_at: list[float] = []

    def stop_in_the_middle(report: IndexReport) -> None:
        if report.stored >= 15_000 and not stop.is_set():
            stopped_at.append(time.monotonic())
            stop.set()

    first = consumer.index_topic(made, stop=stop, on_bulk=stop_in_the_middle, bulk_documents=1_000)
    took_s = time.monotonic() - stopped_at[0]
    second = consumer.index_topic(made, until_caught_up=True)

    assert took_s < 10, "twice the promise"
    assert 15_000 <= first.stored < 60_000
    assert second.replayed == 0
    assert first.stored + second.stored == 60_000
    assert stored_ids(made) == sent


def test_an_interrupt_leaves_everything_acknowledged_committed(made: Settings) -> None:
    """After an interrupt, everything acknowledged is committed, and the next call continues."""
    sent = send(made, 30_000)

    def press(report: IndexReport) -> None:
        if report.stored >= 10_000:
            raise KeyboardInterrupt

    with raises_shown(Interrupted, match=r"stopped by interrupt.*run the cell again"):
        consumer.index_topic(made, until_caught_up=True, on_bulk=press, bulk_documents=1_000)
    stored = len(stored_ids(made))
    assert 10_000 <= stored < 30_000
    assert 30_000 - lag(made) == stored
    again = consumer.index_topic(made, until_caught_up=True)
    assert (again.stored, again.replayed) == (30_000 - stored, 0)
    assert stored_ids(made) == sent
