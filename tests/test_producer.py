"""The producer on a real broker: it counts every delivery, and a stop loses no event."""

import math
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from random import Random

import pytest

from clickstream import events, producer
from clickstream.errors import ConfigError, Interrupted
from clickstream.kafka import messages, offsets
from clickstream.reports import ProduceReport
from clickstream.settings import Settings
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic
from tests.support.by_id import wait_until

MONDAY_MS = 1_767_571_200_000


def live(rate: float, *, num_events: int | None = None) -> PacedEvents:
    """Readers that act in real time."""
    traffic, pace = Traffic(live_now(seed=1)), Pace(rate, rng=Random(1))
    return PacedEvents(traffic, pace, num_events=num_events)


class Listed:
    """A list of events that are due at once, and others that are held back to the end."""

    def __init__(self, given: Iterable[events.Event], held: list[events.Event]) -> None:
        self._given, self._held = given, held

    def __iter__(self) -> Iterator[events.Event]:
        return iter(self._given)

    def finish(self) -> list[events.Event]:
        """Return the held-back events."""
        return self._held


def some_events(number: int) -> list[events.Event]:
    """Events of a Monday."""
    return list(islice(Simulator(seed=2, start_ms=MONDAY_MS).events(), number))


def read_events(made: Settings) -> list[events.Event]:
    """The events of the topic, in time order."""
    found = [events.decode(message.value or b"") for message in messages.read(made.kafka)]
    return sorted(found, key=lambda event: event.timestamp)


def test_every_event_sent_is_delivered_and_counted(made: Settings) -> None:
    """Report, topic and events agree by id."""
    sent = some_events(5_000)
    report = producer.send(made.kafka, sent)

    assert (report.sent, report.delivered, report.failed) == (5_000, 5_000, 0)
    assert report.bytes == sum(len(events.encode(event)) for event in sent)
    assert sorted(e.event_id for e in read_events(made)) == sorted(e.event_id for e in sent)


def test_a_report_of_the_callers_is_filled_as_it_goes(made: Settings) -> None:
    """The caller's report is up to date at any time, not only once per second."""
    report, stop, source = ProduceReport(made.kafka.topic), threading.Event(), live(100)

    def watch() -> None:
        wait_until(lambda: report.delivered >= 20, 15)
        stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    given = producer.produce(made.kafka, source, stop=stop, report=report, duration_s=20)
    watcher.join()
    assert given is report
    assert 20 <= report.delivered == offsets.count(made.kafka) < 1_500


def test_a_topic_that_is_missing_is_made(fresh: Settings) -> None:
    """A missing topic is created with three partitions."""
    producer.send(fresh.kafka, some_events(100))
    assert [each.partition for each in offsets.partitions(fresh.kafka)] == [0, 1, 2]
    assert offsets.count(fresh.kafka) == 100


def test_the_stop_button_sends_what_was_begun(made: Settings) -> None:
    """An interrupt is a one-line error with counts, and everything sent is delivered."""

    def press(report: ProduceReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"stopped by interrupt; ([\d,]+) of \1 events"):
        producer.produce(made.kafka, live(1_000), on_second=press)
    assert offsets.count(made.kafka) > 500


def test_what_was_taken_from_the_source_is_sent_before_stop_is_looked_at(made: Settings) -> None:
    """After a stop, the current event and the held-back ones are sent, and no other."""
    sent, stop = some_events(10), threading.Event()

    def given() -> Iterator[events.Event]:
        for event in sent[:5]:
            if event is sent[2]:
                stop.set()
            yield event

    report = producer.produce(made.kafka, Listed(given(), sent[8:]), stop=stop)
    assert report.delivered == report.sent == 5
    wanted = [event.event_id for event in sent[:3] + sent[8:]]
    assert sorted(event.event_id for event in read_events(made)) == sorted(wanted)


def test_after_an_error_nothing_more_is_sent(made: Settings) -> None:
    """The source's error is raised, and events sent before it are delivered."""
    sent = some_events(10)

    def given() -> Iterator[events.Event]:
        yield from sent[:3]
        raise LookupError("no more readers")

    with pytest.raises(LookupError, match="no more readers"):
        producer.produce(made.kafka, Listed(given(), sent[3:]))
    assert offsets.count(made.kafka) == 3


def test_it_stops_after_so_many_seconds_though_no_event_is_due(made: Settings) -> None:
    """At one event per five seconds, it stops within 0.2 s plus a flush."""
    report = producer.produce(made.kafka, live(0.2), duration_s=0.5)
    assert report.delivered == report.sent <= 2
    assert 0.5 <= report.seconds < 3


@pytest.mark.parametrize("duration_s", [0, -1.0, math.nan, math.inf])
def test_asking_for_no_time_at_all_is_refused(made: Settings, duration_s: float) -> None:
    """A duration of 0 is refused: 0 events would look like success; so is one that never ends."""
    with pytest.raises(
        ConfigError, match=r"produce for .* seconds: the duration must be more than 0"
    ):
        producer.produce(made.kafka, live(20), duration_s=duration_s)


@pytest.mark.timed
def test_the_mean_rate_is_kept(made: Settings) -> None:
    """The duration of four seconds of events is within twice the promised 5 %."""
    report = producer.produce(made.kafka, live(2_000, num_events=8_000))

    assert report.events_per_second == pytest.approx(2_000, rel=0.10)


@pytest.mark.timed
def test_the_rate_changes_while_running(made: Settings) -> None:
    """A new rate applies within a second, even to the event that is due next."""
    pace, stop = Pace(0.2, rng=Random(7)), threading.Event()
    source = PacedEvents(Traffic(live_now(seed=1)), pace)
    counts: list[tuple[float, int]] = []

    def faster_after_a_second(report: ProduceReport) -> None:
        counts.append((time.monotonic(), report.sent))
        pace.events_per_second = 1_000
        if len(counts) == 4:
            stop.set()

    producer.produce(made.kafka, source, stop=stop, on_second=faster_after_a_second)

    assert counts[0][1] <= 3
    rates = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(counts)]
    assert rates == pytest.approx([1_000] * 3, rel=0.25)


def test_no_event_is_in_the_future_and_time_never_goes_back(made: Settings) -> None:
    """The timestamp of every event is the moment it was due, at any rate."""
    source = live(math.inf, num_events=3_000)
    before = events.format_timestamp(int(time.time() * 1000))
    producer.produce(made.kafka, source)
    after = events.format_timestamp(int(time.time() * 1000))

    found = read_events(made)
    assert before <= found[0].timestamp <= found[-1].timestamp <= after
    by_reader: dict[str, str] = {}
    for message in messages.read(made.kafka):
        event = events.decode(message.value or b"")
        assert by_reader.get(event.user_id, "") <= event.timestamp
        by_reader[event.user_id] = event.timestamp
