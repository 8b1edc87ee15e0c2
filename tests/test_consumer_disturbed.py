"""The consumer with servers that hang or are down: no loss, checked by id."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from clickstream import consumer
from clickstream.errors import ServerError
from clickstream.kafka import topics
from clickstream.opensearch import client, index
from clickstream.reports import IndexReport
from clickstream.settings import Settings
from tests.support.by_id import lag, send, stored_ids, wait_until
from tests.support.errors import raises_shown
from tests.support.outages import taken_down

Freeze = Callable[[str], AbstractContextManager[None]]


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGINT]
)
def test_signals_stop_the_command_cleanly_even_while_opensearch_hangs(
    settings: Settings, made: Settings, number: signal.Signals, frozen: Freeze
) -> None:
    """`clickstream consume` ends soon with exit code 0, its report and no traceback."""
    topics.ensure_topics(settings.kafka)
    send(settings, 5_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "clickstream", "consume", "--group", made.kafka.group_id],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "bulk indexed" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(1)
    with frozen("opensearch"):
        send(settings, 5_000)
        time.sleep(0.5)
        started_s = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        took_s = time.monotonic() - started_s
    topics.delete_group(settings.for_group(made.kafka.group_id).kafka)
    topics.delete_topics(settings.kafka)
    index.delete(client.connect(settings.opensearch), settings.opensearch.index)

    assert process.returncode == 0, err
    assert took_s < 20, "twice the promise, and the process's end"
    assert "documents stored" in out
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_hanging_opensearch_ends_patience_and_holds_up_no_stop(
    made: Settings, frozen: Freeze
) -> None:
    """If OpenSearch accepts nothing for too long, one line says so; a stop is quick."""
    sent = send(made, 10_000)
    with frozen("opensearch"):
        started_s = time.monotonic()
        with raises_shown(
            ServerError, match=r"OpenSearch accepted nothing for \d+ s .*nothing is lost"
        ):
            consumer.index_topic(made, until_caught_up=True, patience_s=1)
        assert time.monotonic() - started_s < 25
        stop = threading.Event()
        threading.Timer(2, stop.set).start()
        started_s = time.monotonic()
        report = consumer.index_topic(made, stop=stop)
        assert time.monotonic() - started_s < 2 + 10
        assert (report.messages, report.in_flight) == (0, 0)
    assert lag(made) == 10_000
    consumer.index_topic(made, until_caught_up=True)
    assert stored_ids(made) == sent


@pytest.mark.slow
def test_a_hanging_kafka_holds_up_no_stop(made: Settings, frozen: Freeze) -> None:
    """A stop succeeds although Kafka accepts requests and never answers."""
    sent = send(made, 5_000)
    stop = threading.Event()
    worker = threading.Thread(target=lambda: consumer.index_topic(made, stop=stop))
    worker.start()
    wait_until(lambda: lag(made) == 0, 30)
    with frozen("kafka"):
        time.sleep(1)
        started_s = time.monotonic()
        stop.set()
        worker.join(30)
        took_s = time.monotonic() - started_s
    assert not worker.is_alive()
    assert took_s < 16, "twice the promise"
    assert stored_ids(made) == sent


def test_opensearch_away_in_the_middle_is_waited_for(made: Settings) -> None:
    """The consumer waits for OpenSearch and continues by itself, and the ids agree."""
    sent = send(made, 60_000)
    reports: list[IndexReport] = []
    in_the_middle, is_down = threading.Event(), threading.Event()

    def note(report: IndexReport) -> None:
        if report.stored >= 10_000:
            in_the_middle.set()
            is_down.wait(30)

    worker = threading.Thread(
        target=lambda: reports.append(
            consumer.index_topic(made, until_caught_up=True, on_bulk=note)
        )
    )
    worker.start()
    assert in_the_middle.wait(60)
    with taken_down("opensearch"):
        is_down.set()
        assert 0 < lag(made) < 60_000
        time.sleep(3)
        assert worker.is_alive()
    worker.join(60)

    assert not worker.is_alive()
    assert reports[0].retried > 0
    assert stored_ids(made) == sent
