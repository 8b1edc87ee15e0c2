"""The producer with a frozen Kafka."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from random import Random

import pytest

from clickstream import events, producer
from clickstream.errors import DeliveryError
from clickstream.kafka import offsets
from clickstream.reports import ProduceReport
from clickstream.settings import Settings
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic

MONDAY_MS = 1_767_571_200_000
Freeze = Callable[[str], AbstractContextManager[None]]


def test_a_full_local_queue_slows_the_producer_and_loses_nothing(
    made: Settings, monkeypatch: pytest.MonkeyPatch, frozen: Freeze
) -> None:
    """While the broker is frozen, events stay in the source; later all of them arrive."""
    monkeypatch.setattr(producer, "_QUEUE_MESSAGES", 2_000)
    taken = 0

    def source() -> Iterator[events.Event]:
        nonlocal taken
        for event in islice(Simulator(seed=2, start_ms=MONDAY_MS).events(), 20_000):
            taken += 1
            yield event
            if taken == 1_000:
                at_one_thousand.set()
                begin_again.wait(10)

    at_one_thousand, begin_again = threading.Event(), threading.Event()
    reports: list[ProduceReport] = []
    worker = threading.Thread(target=lambda: reports.append(producer.send(made.kafka, source())))
    worker.start()
    assert at_one_thousand.wait(30)
    with frozen("kafka"):
        begin_again.set()
        time.sleep(2)
        assert 2_000 <= taken <= 3_001
    worker.join(60)

    assert reports[0].delivered == reports[0].sent == 20_000
    assert offsets.count(made.kafka) == 20_000


def test_stop_is_quick_while_kafka_stands_still_and_tells_what_is_open(
    made: Settings, monkeypatch: pytest.MonkeyPatch, frozen: Freeze
) -> None:
    """A stop works with a full queue; unacknowledged events count as failed."""
    monkeypatch.setattr(producer, "_QUEUE_MESSAGES", 2_000)
    monkeypatch.setattr(producer, "_FLUSH_S", 1.0)
    stop = threading.Event()
    stopped_s: list[float] = []

    def press() -> None:
        stopped_s.append(time.monotonic())
        stop.set()

    pace = Pace(100, rng=Random(1))
    source = PacedEvents(Traffic(live_now(seed=1)), pace)

    def freeze(report: ProduceReport) -> None:
        if not freezing:
            freezing.append(True)
            kafka.enter_context(frozen("kafka"))
            pace.events_per_second = math.inf
            threading.Timer(1.5, press).start()

    freezing: list[bool] = []
    with ExitStack() as kafka, pytest.raises(DeliveryError, match=r"of [\d,]+ events were not ack"):
        producer.produce(made.kafka, source, stop=stop, on_second=freeze)
    assert time.monotonic() - stopped_s[0] < 8


def test_what_was_held_back_is_sent_by_a_deadline_while_kafka_stands_still(
    made: Settings, monkeypatch: pytest.MonkeyPatch, frozen: Freeze
) -> None:
    """With more held-back events than queue space, each is sent or reported, and the call ends."""
    monkeypatch.setattr(producer, "_QUEUE_MESSAGES", 1_000)
    monkeypatch.setattr(producer, "_FLUSH_S", 1.0)
    own = list(islice(Simulator(seed=2, start_ms=MONDAY_MS).events(), 6_000))

    class HoldingBack:
        """Yields 500 events, and holds the others back until Kafka is frozen."""

        def __iter__(self) -> Iterator[events.Event]:
            return iter(own[:500])

        def finish(self) -> list[events.Event]:
            kafka.enter_context(frozen("kafka"))
            self.finished_s = time.monotonic()
            return own[500:]

    source = HoldingBack()
    with (
        ExitStack() as kafka,
        pytest.raises(DeliveryError, match=r"of 6,000 events were not acknowledged \(no answer"),
    ):
        producer.produce(made.kafka, source)
    assert time.monotonic() - source.finished_s < 5
