"""The consumer under every fault: kills, lost connections, wrong answers, invalid messages.

Every test checks by id. `make test` runs five short forms, `make test-all` all of them, and
`make torture` the long ones.
"""

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from clickstream import consumer, events, producer
from clickstream.errors import BulkError, DeliveryError, ServerError, shown
from clickstream.kafka import group_reader, messages, offsets, topics
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.opensearch.flood_guard import FloodGuard
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator
from clickstream.widgets.outage_proxy import Answer
from tests.end_to_end.conftest import Start
from tests.support.by_id import (
    MONDAY_MS,
    Consumer,
    lag,
    send,
    send_raw,
    stored,
    stored_ids,
    topic_ids,
    wait_until,
)
from tests.support.delivery import assert_exactly_once, caught_up, running, shares, through
from tests.support.errors import raises_shown
from tests.support.faults import (
    Bulk,
    CutAnswer,
    Delay,
    FaultProxy,
    LoseAnswer,
    Refuse,
    RejectItems,
    Reset,
    Storm,
)


def assigned(made: Settings) -> list[int]:
    """Return the number of members, and how many partitions each has."""
    given = shares(made)
    return [sum(given), len(given)]


# Processes that die.


def test_kills_in_the_middle_lose_nothing_and_double_nothing(
    made: Settings, is_long: bool, start: Start
) -> None:
    """After SIGKILLs with a bulk unanswered, the next consumer continues; the ids agree."""
    num_events, kills = (1_000_000, 20) if is_long else (40_000, 2)
    rng, sent = random.Random(1), send(made, num_events)
    for _ in range(kills):
        committed, documents = num_events - lag(made), stored(made)
        victim = start(made)
        victim.wait_until_settled(documents - committed + rng.randrange(num_events // kills // 2))
        found = victim.freeze_with_an_answer_missing(committed)
        victim.kill()

        assert num_events - found > 0, "it was through already"
        assert num_events - lag(made) < found, "everything stored was committed"
    report = consumer.index_topic(made, until_caught_up=True)
    assert report.replayed > 0
    assert topic_ids(made) == sent
    assert_exactly_once(made, sent)


@pytest.mark.parametrize("graceful", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_members_come_and_go(made: Settings, is_long: bool, start: Start, graceful: bool) -> None:
    """A clean leave or handover causes no repeats; a kill causes a few."""
    topics.delete_topics(made.kafka)
    topics.ensure_topics(made.kafka, num_partitions=6)
    changes, num_events = (25, 100_000) if is_long else (2, 60_000)
    rng, sent = random.Random(2), send(made, num_events)
    reports = []
    with FaultProxy(made.opensearch.url) as proxy:
        proxy.fault = Delay(0.5)  # so that something is in flight whenever a partition moves

        def member() -> Consumer:
            return start(through(made, proxy), bulk_documents=200)

        members = [member()]
        members[0].wait_until_settled(1)
        for change in range(changes):
            # Each partition holds something, so that whoever joins has something to settle.
            if min(offsets.consumer_lag(made.kafka).values()) < num_events // 20:
                sent += send(made, num_events, seed=100 + change)
            members.append(member())
            members[-1].wait_until_settled(1)  # others have handed some of theirs over
            leaving = members.pop(rng.randrange(len(members)))
            assert lag(made) > 0
            if graceful:
                # Who leaves while members still join gets no offset committed any more.
                wait_until(lambda: assigned(made) == [6, len(members) + 1], 30)
                reports.append(leaving.stop())
            else:
                leaving.kill()
            if len(members) < 3:
                members.append(member())
        proxy.fault = None
        caught_up(made, 120)
        reports += [member.stop() for member in members]

    if graceful:
        assert sum(report["replayed"] for report in reports) == 0
        assert sum(report["stored"] for report in reports) == len(sent)
    assert_exactly_once(made, sorted(sent))


@pytest.mark.slow
def test_what_a_paused_member_is_given_it_reads_later(
    made: Settings, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If another member dies while OpenSearch refuses everything, no message is lost."""
    topics.delete_topics(made.kafka)
    topics.ensure_topics(made.kafka, num_partitions=4)
    paused: set[int] = set()

    class Watched(group_reader.Consumer):
        def pause(self, places: list[TopicPartition]) -> None:
            paused.update(each.partition for each in places)
            super().pause(places)

    monkeypatch.setattr(group_reader, "Consumer", Watched)
    with FaultProxy(made.opensearch.url) as proxy:
        other = start(through(made, proxy))
        with running(through(made, proxy), bulk_documents=100) as worker:
            wait_until(lambda: shares(made) == [2, 2], 30)
            proxy.fault = Refuse(503)
            sent = send(made, 4_000)
            time.sleep(3)
            other.kill()
            sent += send(made, 4_000, seed=9)
            wait_until(lambda: len(paused) == 4, 30)  # those of the other, too
            proxy.fault = None
            caught_up(made)
            worker.stop()

    assert_exactly_once(made, sorted(sent))


# OpenSearch in trouble.


@pytest.mark.slow
def test_a_storm_is_weathered_and_only_what_was_rejected_is_sent_again(
    made: Settings, is_long: bool
) -> None:
    """The consumer survives rejected items, refused requests, reset connections and cut answers."""
    storm_s, num_events = (30, 2_000_000) if is_long else (3, 200_000)
    sent = send(made, num_events)
    with FaultProxy(made.opensearch.url) as proxy, running(through(made, proxy)) as worker:
        worker.settled(1)
        proxy.fault = RejectItems(share=0.3)
        time.sleep(storm_s)
        wait_until(lambda: worker.report.retried > 0, 30)  # told when a whole batch is through
        proxy.fault = Storm(
            Reset(), Refuse(429), CutAnswer(), Refuse(503), CutAnswer(honest_length=False)
        )
        time.sleep(1)
        proxy.counts.most_at_once = 0
        time.sleep(storm_s)
        most_at_once, stormy = proxy.counts.most_at_once, replace(proxy.counts)
        assert worker.report.messages < num_events, "the storm came too late"
        proxy.fault = None
        calm_s = time.monotonic()
        worker.settled(num_events, 120)
        first_s = next(at for at in worker.progress_s if at > calm_s)
        caught_up(made)
        worker.stop()

    assert stormy.connections_reset > 0
    assert stormy.answers_cut > 0
    assert most_at_once == 1
    assert first_s - calm_s < 10, "twice the promise"
    assert_exactly_once(made, sent)


def test_only_rejected_documents_are_sent_again(made: Settings) -> None:
    """Each of ten thousand documents is sent once more than it was rejected."""
    sent = send(made, 10_000)
    with FaultProxy(made.opensearch.url) as proxy:
        proxy.fault = RejectItems(share=0.3)
        report = consumer.index_topic(through(made, proxy), until_caught_up=True)

    assert report.retried == proxy.counts.documents_rejected > 2_000
    assert proxy.counts.documents_passed_on == 10_000
    assert (report.stored, report.replayed) == (10_000, 0)
    assert_exactly_once(made, sent)


def test_answers_lost_after_storing_double_nothing(made: Settings, is_long: bool) -> None:
    """Documents that were stored without an answer are sent again and recognised."""
    answers = 200 if is_long else 10
    sent = send(made, 200 * answers)
    with FaultProxy(made.opensearch.url) as proxy:
        proxy.fault = LoseAnswer(share=0.6)
        report = consumer.index_topic(
            through(made, proxy), until_caught_up=True, bulk_documents=100
        )

    assert proxy.counts.answers_lost >= answers
    assert report.replayed > 0
    assert report.messages == len(sent)
    assert_exactly_once(made, sent)


@pytest.mark.slow
def test_a_document_that_is_rejected_for_long_holds_up_offsets_alone(made: Settings) -> None:
    """Later documents are stored and counted, up to a limit, and committed after it."""
    sent = send(made, 6_000)
    first: list[bytes] = []

    def reject_the_first(bulk: Bulk) -> Answer | None:
        first.extend(bulk.actions[: not first])
        if first[0] not in bulk.actions:
            return bulk.forward()
        others = [each for each in bulk.actions if each != first[0]]
        answer = bulk.forward(others) if others else Answer(200, b'{"items": []}')
        items = json.loads(answer.body)["items"]
        items.insert(bulk.actions.index(first[0]), {"create": {"status": 429}})
        return replace(answer, body=json.dumps({"errors": True, "items": items}).encode())

    with FaultProxy(made.opensearch.url) as proxy:
        proxy.fault = reject_the_first
        with running(through(made, proxy), bulk_documents=100) as worker:
            worker.settled(100 * (consumer.MOST_UNCOMMITTED // 2))
            assert lag(made) >= 6_000 - 100 * consumer.BULKS_IN_FLIGHT
            before = -1
            while (documents := stored(made)) != before:
                before = documents
                time.sleep(3)
            assert documents <= 100 * (consumer.MOST_UNCOMMITTED + consumer.BULKS_IN_FLIGHT)
            proxy.fault = None
            caught_up(made)
            worker.stop()

    assert_exactly_once(made, sent)


@pytest.mark.slow
def test_a_refusal_is_told_while_an_older_bulk_is_under_way(made: Settings) -> None:
    """The older bulk is counted and committed; nothing sent after it is."""
    found = list(islice(Simulator(seed=3, start_ms=MONDAY_MS).events(), 1_000))
    # Of one key, so that they lie in one partition, and the first one is in the oldest bulk.
    producer.send_raw(made.kafka, [(events.encode(each), "reader-0666", None) for each in found])
    is_refused = threading.Event()

    def refuse_all_but_the_oldest(bulk: Bulk) -> Answer | None:
        if found[0].event_id.encode() not in bulk.exchange.body:
            is_refused.set()
            return Refuse(403)(bulk)
        assert is_refused.wait(30)
        time.sleep(0.5)
        return bulk.forward()

    with FaultProxy(made.opensearch.url) as proxy:
        proxy.fault = refuse_all_but_the_oldest
        with pytest.raises(BulkError, match="403"):
            consumer.index_topic(through(made, proxy), until_caught_up=True, bulk_documents=100)

    assert 1_000 - lag(made) == stored(made) > 0


@pytest.mark.slow
def test_a_read_only_index_is_waited_for(made: Settings, is_long: bool) -> None:
    """The consumer continues by itself after writes were blocked and unblocked."""
    sent = send(made, 60_000)
    client = opensearch.connect(made.opensearch)

    def block(*, is_blocked: bool) -> None:
        body = {"index.blocks.write": is_blocked}
        client.indices.put_settings(index=made.opensearch.index, body=body)

    with running(made) as worker:
        worker.settled(10_000)
        block(is_blocked=True)
        time.sleep(30 if is_long else 3)
        assert worker.report.messages < len(sent)
        block(is_blocked=False)
        freed_s = time.monotonic()
        worker.settled(len(sent))
        first_s = next(at for at in worker.progress_s if at > freed_s)
        caught_up(made)
        worker.stop()

    assert first_s - freed_s < 10, "twice the promise"
    assert_exactly_once(made, sent)


# Poison.


def poison(event: events.Event, i: int) -> bytes | None:
    """Return the i-th invalid copy of an event, cycling through all kinds."""
    good = json.loads(events.encode(event))
    victim = event.event_id.encode()
    kinds: list[Callable[[], bytes | None]] = [
        lambda: b"{ not json %d" % i,
        lambda: json.dumps(good | {"session_seq": f"seven-{i}"}).encode(),
        lambda: json.dumps(good | {"colour": f"red-{i}"}).encode(),
        lambda: b"\xff\xfe%d" % i,
        lambda: b"x" * 2_000_000 + b"%d" % i,
        lambda: b'{"event_id":1}\n{"delete":{"_id":"%b"}}\n%d' % (victim, i),
        lambda: None,
        lambda: b"",
        # Passes the typed check; only OpenSearch knows the largest integer of its field.
        lambda: json.dumps(
            good
            | {
                "event_id": f"019b8b74-0000-7000-8000-{i:012d}",
                "session_seq": 2**31,
            }
        ).encode(),
    ]
    return kinds[i % len(kinds)]()


@pytest.mark.slow
def test_each_poisoned_message_is_dead_lettered_once_and_nothing_else_is(
    made: Settings, is_long: bool
) -> None:
    """One message in a hundred is dead-lettered with its headers; every valid event is stored."""
    num_events = 200_000 if is_long else 9_000
    allow(made, made.kafka.topic, 3_000_000)
    batch: list[producer.Raw] = []
    sent, broken = [], []
    for event in islice(Simulator(seed=3, start_ms=MONDAY_MS).events(), num_events):
        if len(sent) % 100 == 0:
            broken.append(poison(event, len(broken)))
            batch.append((broken[-1], "reader-0666", {"trace": b"7"}))
        sent.append(event.event_id)
        batch.append((events.encode(event), event.user_id, None))
    producer.send_raw(made.kafka, batch)
    report = consumer.index_topic(made, until_caught_up=True)

    assert (report.stored, report.dead_lettered) == (num_events, len(broken))
    letters = list(messages.read(made.kafka, made.kafka.dead_letter_topic))
    assert sorted((m.value or b"") for m in letters) == sorted(value or b"" for value in broken)
    places = {
        (m.headers["clickstream.partition"], m.headers["clickstream.offset"]) for m in letters
    }
    assert len(places) == len(letters)
    for letter in letters:
        assert letter.key == "reader-0666"
        assert letter.headers["trace"] == "7"
        assert letter.headers["clickstream.topic"] == made.kafka.topic
        assert letter.headers["clickstream.error.type"]
        assert letter.headers["clickstream.error.reason"]
    assert_exactly_once(made, sorted(sent))


@pytest.mark.slow
def test_a_request_over_the_servers_limit_is_halved_until_it_fits(made: Settings) -> None:
    """A document that is too large alone becomes a dead letter; all others are stored."""
    sent = send(made, 2_000)
    event = Simulator(seed=9, start_ms=MONDAY_MS).take()
    assert event is not None
    event.share_channel = "x" * 60_000
    send_raw(made, events.encode(event))

    def limit(bulk: Bulk) -> Answer | None:
        return bulk.forward() if sum(map(len, bulk.actions)) < 50_000 else Answer(413, b"{}")

    with FaultProxy(made.opensearch.url) as proxy:
        proxy.fault = limit
        report = consumer.index_topic(through(made, proxy), until_caught_up=True)

    assert (report.stored, report.dead_lettered) == (2_000, 1)
    (letter,) = messages.read(made.kafka, made.kafka.dead_letter_topic)
    assert letter.headers["clickstream.error.type"] == "too_large"
    assert_exactly_once(made, sent)


def allow(made: Settings, topic: str, num_bytes: int) -> None:
    """Set the largest message that a topic accepts."""
    entry = ConfigEntry(
        "max.message.bytes", str(num_bytes), incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient(made.kafka.client_config())
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()


@pytest.mark.slow
def test_dead_letters_that_nobody_takes_stop_the_consumer(made: Settings) -> None:
    """It stops and says why; after the topic is repaired it continues, and nothing is lost."""
    send_raw(made, b"{ not json")
    sent = send(made, 1_000)
    allow(made, made.kafka.dead_letter_topic, 60)

    with pytest.raises(DeliveryError, match=r"1 of 1 letters were refused.*has stopped"):
        consumer.index_topic(made, until_caught_up=True)
    assert lag(made) > 0
    assert offsets.count(made.kafka, made.kafka.dead_letter_topic) == 0
    allow(made, made.kafka.dead_letter_topic, 1_000_000)
    report = consumer.index_topic(made, until_caught_up=True)
    assert report.dead_lettered == 1
    assert report.stored + report.replayed == 1_000
    assert_exactly_once(made, sent)


def test_a_flood_of_poison_stops_the_consumer_until_somebody_lets_it_pass(made: Settings) -> None:
    """One invalid message in ten stops it; without the guard each becomes a dead letter."""
    sent = send(made, 10_000)
    send_raw(made, *[b"{ not json %d" % i for i in range(1_000)])

    with raises_shown(BulkError, match=r"are invalid.*--no-flood-guard"):
        consumer.index_topic(made, until_caught_up=True)
    letters = offsets.count(made.kafka, made.kafka.dead_letter_topic)
    assert letters < FloodGuard.AT_LEAST
    assert lag(made) > 0
    consumer.index_topic(made, until_caught_up=True, flood_guard=False)
    values = [m.value for m in messages.read(made.kafka, made.kafka.dead_letter_topic)]
    assert len(set(values)) == 1_000
    assert_exactly_once(made, sent)


# Offsets that are not what they seem.


@pytest.mark.slow
def test_gaps_in_the_offsets_leave_no_lag(made: Settings) -> None:
    """The lag is 0 after aborted transactions and after retention deleted the first messages."""
    client = Producer(
        {"bootstrap.servers": made.kafka.bootstrap_servers, "transactional.id": made.kafka.topic}
    )
    client.init_transactions(60)
    crowd = Simulator(seed=3, start_ms=MONDAY_MS).events()
    kept = []
    for i in range(6):
        client.begin_transaction()
        batch = list(islice(crowd, 200))
        for event in batch:
            client.produce(made.kafka.topic, events.encode(event), event.user_id)
        client.flush(10)  # what is aborted before it was sent leaves no gap, and Kafka refuses it
        if i % 2:
            client.abort_transaction(10)
        else:
            client.commit_transaction(10)
            kept += batch
    cut = {each.partition: each.end_offset // 4 for each in offsets.partitions(made.kafka)}
    delete_below(made, cut)
    left = {
        (message.partition, message.offset): events.decode(message.value or b"").event_id
        for message in messages.read(made.kafka)
    }
    report = consumer.index_topic(made, until_caught_up=True)

    assert 0 < report.stored == len(left) < len(kept)
    assert min(offset for _, offset in left) > 0
    assert_exactly_once(made, sorted(left.values()))


def delete_below(made: Settings, offsets: dict[int, int]) -> None:
    """Delete the first messages of each partition, as retention does."""
    wanted = [TopicPartition(made.kafka.topic, i, offset) for i, offset in offsets.items()]
    admin = AdminClient(made.kafka.client_config())
    for future in admin.delete_records(wanted).values():
        future.result()


@pytest.mark.slow
def test_a_compacted_topic_leaves_no_lag(fresh: Settings, is_long: bool) -> None:
    """Compaction keeps only the newest message per key; the consumer reads across the gaps."""
    topics.ensure_topics(fresh.kafka)
    index.ensure(opensearch.connect(fresh.opensearch), fresh.opensearch.index)
    admin = AdminClient(fresh.kafka.client_config())
    config = {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.01",
        "segment.ms": "100",
        "max.compaction.lag.ms": "100",
    }
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, fresh.kafka.topic, incremental_configs=entries)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()
    for seed in range(4):
        send(fresh, 2_000, seed=seed)
        time.sleep(0.3)
    end = sum(each.end_offset for each in offsets.partitions(fresh.kafka))
    wait_until(lambda: len(list(messages.read(fresh.kafka))) < end * 0.9, 60)
    consumer.index_topic(fresh, until_caught_up=True)

    assert lag(fresh) == 0
    assert set(stored_ids(fresh)) >= set(topic_ids(fresh))


@pytest.mark.slow
@pytest.mark.parametrize("pause_s", [0, 3])
def test_a_topic_that_was_deleted_and_made_again_is_read_from_its_beginning(
    made: Settings, pause_s: int
) -> None:
    """All new messages are read, whether the consumer keeps running or is restarted."""
    first = send(made, 3_000)
    with running(made) as worker:
        worker.settled(3_000)
        admin = AdminClient(made.kafka.client_config())
        admin.delete_topics([made.kafka.topic])[made.kafka.topic].result()
        wait_until(lambda: made.kafka.topic not in admin.list_topics(timeout=5).topics, 10)
        time.sleep(pause_s)
        new = NewTopic(made.kafka.topic, num_partitions=3)
        admin.create_topics([new])[made.kafka.topic].result()
        second = send(made, 9_000, seed=4)
        with_error = worker.error is not None
        if not with_error:
            wait_until(lambda: worker.error is not None or stored(made) == 12_000, 60)
    if worker.error is not None:
        assert isinstance(worker.error, ServerError)
        assert "nothing is lost" in shown(worker.error)
        consumer.index_topic(made, until_caught_up=True)

    assert_exactly_once(made, sorted(first + second))
