"""The faults of notebook 07, on real servers.

All tests run in one worker, because a state folder records one consumer.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clickstream import consumer
from clickstream.demo.demo import Demo
from clickstream.errors import ServerError
from clickstream.kafka import offsets, topics
from clickstream.servers import local, processes
from clickstream.settings import Settings
from clickstream.widgets import workers
from clickstream.widgets.chaos import Chaos, end_all
from clickstream.widgets.faults import CONSUMER
from tests.support.by_id import lag, wait_until


@pytest.fixture(autouse=True)
def nothing_left(made: Settings) -> Iterator[None]:
    """End and repair everything a test broke, before its topic is deleted."""
    yield
    local.start("opensearch")
    end_all()


def assert_all_there(chaos: Chaos, patience_s: float = 16) -> None:
    """Check that events are stored, none lost or doubled; a new consumer may need time."""
    wait_until(lambda: topics.consumers(chaos._settings.kafka) > 0, 60)
    wait_until(lambda: chaos.audit(patience_s=patience_s).messages > 0, 20)
    found = chaos.audit(patience_s=patience_s)
    assert (found.lost, found.doubled) == ([], [])


@pytest.fixture
def hosted(made: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The same servers, as a hosted target that the kernel's environment names."""
    kafka = {"bootstrap.servers": made.kafka.bootstrap_servers, "security.protocol": "PLAINTEXT"}
    (tmp_path / "kafka.json").write_text(json.dumps(kafka))
    (tmp_path / "opensearch.json").write_text(json.dumps({"host": made.opensearch.url}))
    monkeypatch.setenv("CLICKSTREAM_CONF", str(tmp_path))
    return replace(
        made,
        kafka=replace(made.kafka, is_hosted=True),
        opensearch=replace(made.opensearch, is_hosted=True),
    )


@pytest.mark.timeout(240)
@pytest.mark.parametrize("target", ["local", pytest.param("hosted", marks=pytest.mark.slow)])
def test_opensearch_goes_and_comes_under_live_traffic(
    made: Settings, hosted: Settings, target: str
) -> None:
    """OpenSearch goes down without blocking a cell; a hosted one stays up behind a proxy."""
    settings = hosted if target == "hosted" else made
    chaos = Chaos(Demo(settings))
    chaos.start_consumer()
    chaos.start_traffic(100)
    assert_all_there(chaos)
    for lever in (chaos.take_down, chaos.take_down):
        started_s = time.monotonic()
        lever()
        assert time.monotonic() - started_s < 2
    figure = chaos.watch(above=200)
    assert max(figure.data[0].y) > 200
    if target == "hosted":
        assert {server.state for server in local.status()} == {"up"}
    for lever in (chaos.bring_up, chaos.bring_up):
        started_s = time.monotonic()
        lever()
        assert time.monotonic() - started_s < 2
    wait_until(lambda: chaos.until_up() == "OpenSearch answers", 60)
    assert "OpenSearch up" in str(chaos.watch())
    chaos.watch(below=50)
    assert_all_there(chaos)
    chaos.take_down()
    wait_until(lambda: "call bring_up() to start it" in chaos.until_up(), 20)
    chaos.bring_up()
    started_s = time.monotonic()
    chaos = Chaos(Demo(settings))  # as a cell that is run again
    assert time.monotonic() - started_s < 10
    chaos.close()

    assert processes.running(CONSUMER) is None
    assert not workers.is_running("producer")


def test_a_killed_consumer_is_replaced_and_one_is_enough(made: Settings) -> None:
    """A second start replaces the consumer, a killed one is replaced, and `down` ends it."""
    chaos = Chaos(Demo(made))
    chaos.start_consumer()
    first = processes.running(CONSUMER)
    chaos.start_consumer()
    second = processes.running(CONSUMER)
    assert first is not None
    assert second is not None
    assert not first.is_running()
    chaos.start_traffic(100)
    assert_all_there(chaos)
    assert "was killed" in chaos.kill_consumer()
    assert chaos.kill_consumer() == "no consumer is running"
    chaos.watch(above=100)
    chaos.start_consumer()
    # The partitions of the killed one are free six seconds later.
    wait_until(lambda: lag(made) < 300, 60)
    assert_all_there(chaos)
    assert Demo(made).members()[0].stored > 0
    Chaos(Demo(made))  # as a cell that is run again, or another kernel

    assert processes.running(CONSUMER) is None
    assert not workers.is_running("producer")


@pytest.mark.slow
def test_a_consumer_that_is_started_while_opensearch_is_down_waits_for_it(hosted: Settings) -> None:
    """A consumer waits for OpenSearch; one that ends by itself is reported once, with a reason."""
    chaos = Chaos(Demo(hosted))
    chaos.start_traffic(50)
    chaos.take_down()
    chaos.start_consumer()
    log = processes.log_path(CONSUMER)
    wait_until(lambda: "waiting:" in log.read_text(), 30)
    chaos.bring_up()
    assert_all_there(chaos)
    process = processes.running(CONSUMER)
    assert process is not None
    os.kill(process.pid, signal.SIGTERM)
    wait_until(lambda: processes.running(CONSUMER) is None, 20)

    with pytest.raises(ServerError, match=r"exited: last log lines.*documents stored"):
        chaos.watch()
    chaos.watch(most_s=0.1)


@pytest.mark.slow
def test_whoever_reads_beside_the_consumer_is_told(made: Settings) -> None:
    """Another consumer of the group is reported; a killed consumer does not count as one."""
    chaos, stop = Chaos(Demo(made)), threading.Event()
    other = threading.Thread(target=consumer.index_topic, args=(made,), kwargs={"stop": stop})
    other.start()
    try:
        wait_until(lambda: topics.consumers(made.kafka) == 1, 20)
        assert "1 more in group" in chaos.start_consumer()
    finally:
        stop.set()
        other.join()
    wait_until(lambda: topics.consumers(made.kafka) == 1, 60)
    chaos.kill_consumer()
    assert topics.consumers(made.kafka) == 1, "still a member"
    assert "more in group" not in chaos.start_consumer()


@pytest.mark.slow
def test_a_count_waits_for_an_opensearch_that_is_on_its_way_up(
    hosted: Settings,
) -> None:
    """The audit waits for a starting OpenSearch, so that *Run All* works on a slow machine."""
    chaos = Chaos(Demo(hosted))
    up = chaos._opensearch.bring_up
    chaos._opensearch.bring_up = lambda: (time.sleep(14), up())
    chaos.start_consumer()
    chaos.start_traffic(50)
    assert_all_there(chaos)
    chaos.take_down()
    chaos.watch(above=10)
    chaos.bring_up()
    assert_all_there(chaos, patience_s=10)


def test_poison_of_every_kind_becomes_dead_letters(made: Settings) -> None:
    """Each invalid message becomes a dead letter; those of an earlier show are not counted."""
    Chaos(Demo(made)).send_invalid_events()
    Demo(made).consume()
    chaos = Chaos(Demo(made))
    assert chaos.dead_letters() == []
    chaos.start_consumer()
    chaos.start_traffic(50)
    report = chaos.send_invalid_events()
    wait_until(lambda: lag(made) < offsets.count(made.kafka), 60)  # the consumer is at work
    found = chaos.audit()

    assert found.dead_lettered == report.sent == 8
    assert (found.lost, found.doubled) == ([], [])
    assert len(chaos.dead_letters()) == 8
    assert offsets.count(made.kafka, made.kafka.dead_letter_topic) == 16


def test_what_ended_the_traffic_is_told_where_it_is_looked_at(made: Settings) -> None:
    """The error that ended the traffic is one line in the next cell."""
    chaos = Chaos(Demo(made))

    def fail(stop: object) -> None:
        msg = "the readers went home"
        raise ServerError(msg)

    workers.start("producer", fail)._thread.join(5)
    with pytest.raises(ServerError, match="went home"):
        chaos.watch(above=10)
    chaos.watch(above=10, most_s=0.5)


@pytest.mark.slow
def test_the_consumer_says_in_its_log_why_it_waits(made: Settings) -> None:
    """While OpenSearch is down, the consumer logs one line per attempt and no traceback."""
    chaos = Chaos(Demo(made))
    chaos.start_consumer()
    chaos.start_traffic(50)
    assert_all_there(chaos)
    chaos.take_down()
    log = processes.log_path(CONSUMER)
    wait_until(lambda: "bulk rejected, sending again" in log.read_text(), 20)

    assert "Traceback" not in log.read_text()
    process = processes.running(CONSUMER)
    assert process is not None
    os.kill(process.pid, signal.SIGTERM)
    wait_until(lambda: processes.running(CONSUMER) is None, 20)
