"""Events → messages: every delivery counted, the rate kept and changed, on a real broker."""

import math
import threading
import time
from collections import Counter
from itertools import islice, pairwise
from random import Random

import pytest

from clickstream import events, producer, topics
from clickstream.errors import ConfigError
from clickstream.settings import Settings
from clickstream.simulator import Simulator

MONDAY_MS = 1_767_571_200_000


def live_crowd() -> Simulator:
    """A crowd that acts now."""
    now_ms = int(time.time() * 1000)
    return Simulator(seed=1, start_ms=now_ms, live_from_ms=now_ms)


def read_events(made: Settings) -> list[events.Event]:
    """The topic's events in order of their time."""
    found = [events.decode(message.value or b"") for message in topics.read(made.kafka)]
    return sorted(found, key=lambda event: event.timestamp)


def test_every_event_sent_is_delivered_and_counted(made: Settings) -> None:
    """The report, the topic and the events agree, by id."""
    sent = list(islice(Simulator(seed=2, start_ms=MONDAY_MS).events(), 5_000))
    report = producer.send(made.kafka, sent)

    assert (report.sent, report.delivered, report.failed) == (5_000, 5_000, 0)
    assert report.bytes == sum(len(events.encode(event)) for event in sent)
    assert sorted(e.event_id for e in read_events(made)) == sorted(e.event_id for e in sent)


def test_a_full_local_queue_slows_the_producer_and_loses_nothing(made: Settings) -> None:
    """More events than the local queue holds all arrive."""
    sent = islice(Simulator(seed=2, start_ms=MONDAY_MS).events(), 130_000)

    assert producer.send(made.kafka, sent).delivered == 130_000
    assert topics.count(made.kafka) == 130_000


@pytest.mark.parametrize("rate", [800, 4_000])
def test_the_mean_rate_is_kept(made: Settings, rate: float) -> None:
    """4,000 events take their time within twice the promised 5 %."""
    pace = producer.Pace(rate, rng=Random(4))
    report = producer.produce(made.kafka, live_crowd(), pace=pace, num_events=4_000)

    assert report.events_per_second == pytest.approx(rate, rel=0.10)


def test_a_slow_rate_is_kept_within_three_sigma(made: Settings) -> None:
    """At 20 events/s for six seconds the count is 120 within 3√n."""
    pace = producer.Pace(20, rng=Random(5))
    report = producer.produce(made.kafka, live_crowd(), pace=pace, duration_s=6)

    assert abs(report.sent - 120) <= 3 * math.sqrt(120)


def test_events_are_spread_over_each_second(made: Settings) -> None:
    """Tenths of a second look like chance, not like one batch a second."""
    pace = producer.Pace(400, rng=Random(6))
    producer.produce(made.kafka, live_crowd(), pace=pace, duration_s=4)

    tenths = Counter(event.timestamp[:21] for event in read_events(made))
    counts = sorted(tenths.values())[1:-1]  # first and last tenth are not whole
    mean = sum(counts) / len(counts)
    dispersion = sum((n - mean) ** 2 for n in counts) / len(counts) / mean
    assert 0.4 < dispersion < 2.0


def test_the_rate_changes_while_running(made: Settings) -> None:
    """A change acts within a second, even on an event that is waited for."""
    pace = producer.Pace(0.2, rng=Random(7))
    stop = threading.Event()
    counts: list[int] = []

    def faster_after_a_second(report: producer.ProduceReport) -> None:
        counts.append(report.sent)
        pace.events_per_second = 1_000
        if len(counts) == 4:
            stop.set()

    producer.produce(
        made.kafka, live_crowd(), pace=pace, stop=stop, on_second=faster_after_a_second
    )

    assert counts[0] <= 3
    seconds = [after - before for before, after in pairwise(counts)]
    assert seconds == pytest.approx([1_000] * 3, rel=0.25)


def test_no_event_is_in_the_future_and_time_never_goes_back(made: Settings) -> None:
    """Every event carries the moment it was due, whatever the rate."""
    pace = producer.Pace(math.inf, rng=Random(8))
    before = events.format_timestamp(int(time.time() * 1000))
    producer.produce(made.kafka, live_crowd(), pace=pace, num_events=3_000)
    after = events.format_timestamp(int(time.time() * 1000))

    found = read_events(made)
    assert before <= found[0].timestamp <= found[-1].timestamp <= after
    by_reader: dict[str, str] = {}
    for message in topics.read(made.kafka):
        event = events.decode(message.value or b"")
        assert by_reader.get(event.user_id, "") <= event.timestamp
        by_reader[event.user_id] = event.timestamp


def test_a_replay_starts_in_the_past_and_goes_live_when_it_reaches_now(made: Settings) -> None:
    """Past events carry their own time; from now on the rate is the crowd's natural one."""
    now_ms = int(time.time() * 1000)
    crowd = Simulator(seed=1, start_ms=now_ms - 120_000, live_from_ms=now_ms)
    pace = producer.Pace(math.inf, rng=Random(9))
    producer.produce(made.kafka, crowd, pace=pace, duration_s=4)

    found = read_events(made)
    assert pace.events_per_second == crowd.natural_rate
    assert events.parse_timestamp(found[0].timestamp) < now_ms - 100_000
    assert events.parse_timestamp(found[-1].timestamp) > now_ms + 1_000
    times = [events.parse_timestamp(event.timestamp) for event in found]
    live = [at for at in times if at >= now_ms]
    assert max(after - before for before, after in pairwise(live)) < 2_000


@pytest.mark.parametrize("rate", [0, 0.1, -1, 5_001, math.nan])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    """The error says which rates there are."""
    with pytest.raises(ConfigError, match=r"from 0\.2 to 5,000"):
        producer.Pace(rate, rng=Random(1))
