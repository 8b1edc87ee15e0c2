"""Live scenarios: each shows in its chart within ten seconds, and ends."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import pandas as pd
import pytest

from clickstream import consumer, producer
from clickstream.charts.ab_test import AbTest
from clickstream.charts.device_category import DeviceCategory
from clickstream.charts.event_types import EventTypes
from clickstream.charts.search import Answer
from clickstream.charts.top_readers import TopReaders
from clickstream.charts.volume import Volume
from clickstream.demo.demo import Demo
from clickstream.kafka import offsets
from clickstream.opensearch import index
from clickstream.settings import Settings
from clickstream.simulation import scenarios
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.traffic import Traffic
from tests.support.by_id import wait_until

SOON_S = 10


class Show:
    """Live readers and a consumer."""

    def __init__(self, made: Settings) -> None:
        self.kit = Demo(made)
        self.traffic = Traffic(live_now(seed=1))

    def ask(self) -> Answer:
        """The current data of the charts."""
        index.refresh(self.kit._client, self.kit.settings.opensearch.index)
        return self.kit.ask(bucket_s=1)

    def seen(self, text: str, is_shown: Callable[[Answer, Answer], bool]) -> float:
        """Start a scenario, and return the seconds until its chart shows it."""
        before = self.ask()
        self.traffic.start(scenarios.make(text))
        started_s = time.monotonic()
        while (took_s := time.monotonic() - started_s) < 3 * SOON_S:
            if is_shown(before, self.ask()):
                return took_s
            time.sleep(0.25)
        pytest.fail(f"{text} is not seen after {took_s:.0f} s")

    def settled(self, counted: Callable[[Answer], int]) -> None:
        """Wait until everything sent is indexed, so that a count is stable for two seconds."""
        kafka = self.kit.settings.kafka
        ends = {each.partition: each.end_offset for each in offsets.partitions(kafka)}
        wait_until(
            lambda: all(
                each.end_offset - each.lag >= ends[each.partition]
                for each in offsets.partitions(kafka)
            ),
            20,
        )
        ends_s, now = time.monotonic() + 30, counted(self.ask())
        before = -1
        while now != before:
            assert time.monotonic() < ends_s, f"still growing at {now:,}"
            time.sleep(2)
            before, now = now, counted(self.ask())


@contextmanager
def show(made: Settings) -> Iterator[Show]:
    """Produce and index 40 events per second during a block."""
    on, stop = Show(made), threading.Event()
    source = PacedEvents(on.traffic, Pace(40, rng=Random(1)))
    workers = [
        threading.Thread(target=producer.produce, args=(made.kafka, source), kwargs={"stop": stop}),
        threading.Thread(target=consumer.index_topic, args=(made,), kwargs={"stop": stop}),
    ]
    for worker in workers:
        worker.start()
    try:
        while on.kit.documents() < 200:
            time.sleep(0.25)
        yield on
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def count(frame: pd.DataFrame, **where: str) -> int:
    """Count the events of a frame that match."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return int(frame["count"].sum())


def of_type(answer: Answer, kind: str) -> int:
    """Count events of a type."""
    return count(answer.frames[EventTypes.name], event_type=kind)


def last_seconds(answer: Answer, number: int) -> float:
    """Events per second, shortly before the newest."""
    return float(answer.frames[Volume.name]["count"].iloc[-number - 1 : -1].mean())


@pytest.mark.timed
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_each_scenario_is_in_its_chart_within_ten_seconds_and_gone_when_stopped(
    made: Settings,
) -> None:
    """Each scenario shows in its chart within ten seconds, even with others at once."""
    with show(made) as on:
        took_s = {
            "breaking-news": on.seen("breaking-news", lambda _, now: last_seconds(now, 2) > 2 * 40),
            "bot": on.seen(
                "bot:per_minute=300",
                lambda _, now: now.frames[TopReaders.name]["user_id"].iloc[0] == "reader-bot",
            ),
            "comment-storm": on.seen(
                "comment-storm:peak=5",
                lambda was, now: of_type(now, "comment") - of_type(was, "comment") > 30,
            ),
            "dirty-data": on.seen(
                "dirty-data:malformed=0.1", lambda _, now: on.kit.overview().dead_letters > 3
            ),
        }
        for name in on.traffic.running:
            on.traffic.stop(name)
        on.settled(lambda now: count(now.frames["volume-scenarios"]))
        added = on.ask().frames["volume-scenarios"]
        assert set(added["scenario"]) == {"breaking-news", "bot", "comment-storm"}
        time.sleep(2)
        assert count(on.ask().frames["volume-scenarios"]) == count(added)

        took_s["ab-test"] = on.seen(
            "ab-test", lambda _, now: count(now.frames[AbTest.name], variant="B") > 20
        )
        on.traffic.stop("ab-test")
        took_s["logout-wave"] = on.seen(
            "logout-wave:seconds=3",
            lambda was, now: of_type(now, "logout") - of_type(was, "logout") > 40,
        )
        time.sleep(4)
        outage = "device-outage:device=mobile,seconds=30"
        before = on.ask()
        on.traffic.start(scenarios.make(outage))
        on.settled(lambda now: count(now.frames[DeviceCategory.name], device_type="mobile"))
        begun = on.ask().frames[DeviceCategory.name]
        time.sleep(5)
        ended = on.ask().frames[DeviceCategory.name]
        assert (
            count(begun, device_type="mobile")
            > count(before.frames[DeviceCategory.name], device_type="mobile") * 0.99
        )
        assert count(ended, device_type="mobile") == count(begun, device_type="mobile")
        assert count(ended, device_type="desktop") > count(begun, device_type="desktop")

    assert {name: s for name, s in took_s.items() if s >= 2 * SOON_S} == {}


def test_produce_plays_scenarios_by_name_and_ends_them_with_it(made: Settings) -> None:
    """Scenarios add events to the requested number, and late events are sent at the end."""
    kit = Demo(made)
    report = kit.produce(
        400, events_per_second=200, scenarios=["bot:per_minute=600", "dirty-data:late=1,delay=60"]
    )
    indexed = kit.consume()

    assert report.delivered == report.sent > 400
    assert indexed.stored == report.sent == kit.documents()
    added = kit.ask().frames["volume-scenarios"]
    assert set(added["scenario"]) == {"bot"}
    assert count(added) == report.sent - 400
    again = kit.produce(50, events_per_second=200)
    assert again.sent == 50
