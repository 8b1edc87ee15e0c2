"""The consumer while servers are killed; every test checks by id.

`make test-all` runs the short forms, `make torture` the long ones of the same tests.
"""

import logging
import random
import threading
import time
from statistics import median

import psutil
import pytest
from confluent_kafka.admin import AdminClient

from clickstream import producer
from clickstream.kafka import messages
from clickstream.kafka.group_reader import PROPERTIES
from clickstream.servers import local
from clickstream.settings import Settings
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.traffic import Traffic
from clickstream.widgets.outage_proxy import Answer
from tests.end_to_end.conftest import Start
from tests.support.by_id import send, send_raw, topic_ids
from tests.support.delivery import assert_exactly_once, caught_up, kill_server, running, through
from tests.support.faults import Bulk, FaultProxy, LoseAnswer, Refuse, RejectItems, Reset, Storm


@pytest.mark.slow
def test_a_killed_broker_is_waited_for(made: Settings, is_long: bool) -> None:
    """After a SIGKILL of Kafka under load the consumer continues, and the ids agree."""
    num_events, away_s = (1_000_000, 15) if is_long else (60_000, 3)
    sent = send(made, num_events)
    with running(made) as worker:
        worker.settled(num_events // 10)
        kill_server("kafka")
        assert worker.report.messages < num_events
        time.sleep(away_s)
        local.start("kafka")
        back_s = time.monotonic()
        sent += send(made, 10_000, seed=4)
        worker.settled(num_events + 10_000, 120)
        first_s = next(at for at in worker.progress_s if at > back_s)
        caught_up(made)
        worker.stop()

    assert first_s - back_s < 20, "twice the promise"
    assert_exactly_once(made, sorted(sent))


@pytest.mark.slow
def test_a_killed_opensearch_is_waited_for(
    made: Settings, is_long: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumer survives a SIGKILL of OpenSearch, even if it is down beyond the poll limit."""
    outages_s, num_events = (60, 360), 1_000_000
    if not is_long:
        outages_s, num_events = (12,), 60_000
        # Twelve seconds are past this, as six minutes are past Kafka's own five.
        monkeypatch.setitem(PROPERTIES, "max.poll.interval.ms", 7_000)
    admin = AdminClient(made.kafka.client_config())

    def member() -> str:
        found = admin.describe_consumer_groups([made.kafka.group_id])[made.kafka.group_id].result()
        return str(found.members[0].member_id)

    sent: list[str] = []
    with running(made) as worker:
        for place, away_s in enumerate(outages_s):
            settled = len(sent)
            sent += send(made, num_events, seed=place)
            worker.settled(settled + num_events // 10)
            before = member()
            kill_server("opensearch")
            assert worker.report.messages < len(sent)
            time.sleep(away_s)
            local.start("opensearch")
            back_s = time.monotonic()
            worker.settled(len(sent), 120)
            first_s = next(at for at in worker.progress_s if at > back_s)

            assert member() == before, "it lost its seat in the group"
            assert first_s - back_s < 10, "twice the promise"
        caught_up(made)
        worker.stop()
    assert worker.report.retried > 0
    assert_exactly_once(made, sorted(sent))


@pytest.mark.slow
def test_dead_letters_wait_for_a_broker_that_is_away(made: Settings) -> None:
    """If Kafka dies while a letter is being sent, the consumer survives and the letter arrives.

    It may arrive twice, because its offset may not have been committed; its origin is the same.
    """
    sent = send(made, 3_000)
    in_the_way = threading.Event()

    def kill_first(bulk: Bulk) -> Answer | None:
        if not in_the_way.is_set():
            kill_server("kafka")
            in_the_way.set()
        return bulk.forward()

    send_raw(made, b"{ not json")
    with FaultProxy(made.opensearch.url) as proxy:
        proxy.fault = kill_first
        with running(through(made, proxy)) as worker:
            assert in_the_way.wait(30)
            time.sleep(2)
            assert worker.error is None
            local.start("kafka")
            worker.settled(3_001)
            caught_up(made)
            worker.stop()

    letters = list(messages.read(made.kafka, made.kafka.dead_letter_topic))
    assert {letter.value for letter in letters} == {b"{ not json"}
    assert len({letter.headers["clickstream.offset"] for letter in letters}) == 1
    assert_exactly_once(made, sent)


@pytest.mark.slow
def test_a_soak_with_one_fault_after_the_other(
    made: Settings, is_long: bool, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """With a random fault every few seconds the ids agree, and memory does not grow."""
    caplog.set_level(logging.ERROR)
    soak_s, every_s, rate = (1_800, 60, 2_000) if is_long else (25, 5, 1_000)
    rng = random.Random(5)
    stop = threading.Event()
    source = PacedEvents(Traffic(live_now(seed=6)), Pace(rate, rng=random.Random(1)))
    traffic = threading.Thread(target=lambda: producer.produce(made.kafka, source, stop=stop))
    with FaultProxy(made.opensearch.url) as proxy:
        member, victim = start(through(made, proxy)), start(through(made, proxy))
        watched = psutil.Process(member.process.pid)
        traffic.start()
        memory: list[int] = []

        def kill_consumer() -> None:
            nonlocal victim
            victim.kill()
            victim = start(through(made, proxy))

        def storm() -> None:
            proxy.fault = Storm(Refuse(429), Refuse(503), Reset(), LoseAnswer(), RejectItems())
            time.sleep(every_s / 2)
            proxy.fault = None

        def away() -> None:
            proxy.take_down()
            time.sleep(every_s / 2)
            proxy.bring_up()

        def broker() -> None:
            kill_server("kafka")
            local.start("kafka")

        faults = [kill_consumer, storm, away, broker]
        try:
            ends_s = time.monotonic() + soak_s
            struck = 0
            while time.monotonic() < ends_s:
                next_s = time.monotonic() + every_s
                faults[struck % 4 if struck < 4 else rng.randrange(4)]()
                struck += 1
                time.sleep(max(0.0, next_s - time.monotonic()))
                memory.append(watched.memory_info().rss)
        finally:
            stop.set()
            traffic.join(60)
            caught_up(made, 120)
            member.stop()
            victim.stop()
    assert struck >= 4
    assert_exactly_once(made, topic_ids(made))
    # What waits after an outage is read ahead, so it varies by tens of megabytes.
    assert max(memory) < 200e6, memory
    early, late = memory[len(memory) // 4 : len(memory) // 2], memory[-len(memory) // 4 :]
    assert median(late) - median(early) < 40e6, memory
