"""Events → messages: every delivery counted, the rate kept and changed, on a real broker."""

import math
import threading
import time
from collections import Counter
from itertools import islice, pairwise
from random import Random
from typing import Any

import pytest

from clickstream import events, producer
from clickstream.errors import ConfigError, Interrupted
from clickstream.kafka import messages, offsets
from clickstream.settings import Settings
from clickstream.simulation.sessions import Session
from clickstream.simulation.simulator import Simulator, crowd_for
from clickstream.simulation.traffic import Stage
from tests.support.by_id import wait_until

MONDAY_MS = 1_767_571_200_000


def live() -> Stage:
    """A crowd that acts now."""
    now_ms = int(time.time() * 1000)
    return Stage(Simulator(seed=1, start_ms=now_ms, live_from_ms=now_ms))


def read_events(made: Settings) -> list[events.Event]:
    """The topic's events in order of their time."""
    found = [events.decode(message.value or b"") for message in messages.read(made.kafka)]
    return sorted(found, key=lambda event: event.timestamp)


def test_every_event_sent_is_delivered_and_counted(made: Settings) -> None:
    """The report, the topic and the events agree, by id."""
    sent = list(islice(Simulator(seed=2, start_ms=MONDAY_MS).events(), 5_000))
    report = producer.send(made.kafka, sent)

    assert (report.sent, report.delivered, report.failed) == (5_000, 5_000, 0)
    assert report.bytes == sum(len(events.encode(event)) for event in sent)
    assert sorted(e.event_id for e in read_events(made)) == sorted(e.event_id for e in sent)


def test_a_report_of_the_callers_is_filled_as_it_goes(made: Settings) -> None:
    """Whoever watches need not wait for the next second to see what was delivered."""
    report, stop = producer.ProduceReport(made.kafka.topic), threading.Event()

    def watch() -> None:
        wait_until(lambda: report.delivered >= 20, 15)
        stop.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    pace = producer.Pace(100, rng=Random(1))
    given = producer.produce(made.kafka, live(), pace=pace, stop=stop, report=report, duration_s=20)
    watcher.join()
    assert given is report
    assert 20 <= report.delivered == offsets.count(made.kafka) < 1_500


def test_a_topic_that_is_missing_is_made(fresh: Settings) -> None:
    """With three partitions."""
    producer.send(fresh.kafka, islice(Simulator(seed=2, start_ms=MONDAY_MS).events(), 100))
    assert [each.partition for each in offsets.partitions(fresh.kafka)] == [0, 1, 2]
    assert offsets.count(fresh.kafka) == 100


def test_the_stop_button_sends_what_was_begun(made: Settings) -> None:
    """Interrupted in the middle: one line that counts, and everything sent is there."""

    def press(report: producer.ProduceReport) -> None:
        raise KeyboardInterrupt

    pace = producer.Pace(1_000, rng=Random(1))
    with pytest.raises(Interrupted, match=r"stopped by interrupt; ([\d,]+) of \1 events"):
        producer.produce(made.kafka, live(), pace=pace, on_second=press)
    assert offsets.count(made.kafka) > 500


@pytest.mark.parametrize("rate", [0, 10_000, math.nan, "max", max, None])
def test_a_rate_that_is_none_is_told_in_one_line(rate: Any) -> None:
    """With the range, and what to write for no limit, here and in a terminal."""
    with pytest.raises(ConfigError, match=r"from 0.2 to 5,000; .* `math.inf`, in a terminal `max`"):
        producer.Pace(rate, rng=Random(1))


@pytest.mark.parametrize("asked", [{"num_events": 0}, {"num_events": -5}, {"duration_s": -1.0}])
def test_asking_for_nothing_is_refused(made: Settings, asked: dict[str, Any]) -> None:
    """A report of 0 events would look like success."""
    with pytest.raises(ConfigError, match="ask for"):
        producer.produce(made.kafka, live(), pace=producer.Pace(20, rng=Random(1)), **asked)


@pytest.mark.timed
@pytest.mark.parametrize("rate", [pytest.param(800, marks=pytest.mark.slow), 2_000])
def test_the_mean_rate_is_kept(made: Settings, rate: float) -> None:
    """Five seconds of events take their time within twice the promised 5 %."""
    pace = producer.Pace(rate, rng=Random(4))
    report = producer.produce(made.kafka, live(), pace=pace, num_events=round(5 * rate))

    assert report.events_per_second == pytest.approx(rate, rel=0.10)


@pytest.mark.timed
@pytest.mark.slow
def test_a_slow_rate_is_kept_within_three_sigma(made: Settings) -> None:
    """At 20 events/s for six seconds the count is 120 within 3√n."""
    pace = producer.Pace(20, rng=Random(5))
    report = producer.produce(made.kafka, live(), pace=pace, duration_s=6)

    assert abs(report.sent - 120) <= 3 * math.sqrt(120)


@pytest.mark.timed
@pytest.mark.slow
def test_events_are_spread_as_chance_spreads_them(made: Settings) -> None:
    """Counts of equal spans are as dispersed as a Poisson process makes them, 0.8 to 1.3."""
    pace = producer.Pace(1_000, rng=Random(6))
    producer.produce(made.kafka, live(), pace=pace, duration_s=8)

    spans = Counter(events.id_ms(event.event_id) // 20 for event in read_events(made))
    counts = [spans[span] for span in range(min(spans) + 1, max(spans))]  # the ends are not whole
    mean = sum(counts) / len(counts)
    dispersion = sum((n - mean) ** 2 for n in counts) / len(counts) / mean
    assert len(counts) > 300
    assert 0.8 < dispersion < 1.3


@pytest.mark.timed
@pytest.mark.slow
def test_the_slider_goes_from_20_to_5000_and_back_with_every_session_kept(made: Settings) -> None:
    """Each turn acts within a second; nobody is logged out, and nobody begins anew, by it."""
    pace = producer.Pace(20, rng=Random(12))
    stop = threading.Event()
    stage = live()
    turns: list[int] = []
    kept: list[tuple[Session, int]] = []

    def turn(report: producer.ProduceReport) -> None:
        turns.append(int(time.time() * 1000))
        if len(turns) == 3:
            kept.extend((session, session.next) for session in stage.crowd.open_sessions())
            pace.events_per_second = 5_000
        elif len(turns) == 5:
            pace.events_per_second = 20
        elif len(turns) == 9:
            stop.set()

    producer.produce(made.kafka, stage, pace=pace, stop=stop, on_second=turn)

    found = read_events(made)
    at_ms = [events.id_ms(event.event_id) for event in found]

    def per_second(since_ms: int, until_ms: int) -> float:
        return sum(since_ms <= at < until_ms for at in at_ms) / (until_ms - since_ms) * 1000

    up_ms, down_ms = turns[2], turns[4]
    assert per_second(up_ms + 500, up_ms + 1_000) == pytest.approx(5_000, rel=0.25)
    assert per_second(down_ms + 500, down_ms + 3_500) == pytest.approx(20, abs=3 * math.sqrt(20))
    by_session: dict[str, list[int]] = {}
    for event in found:
        by_session.setdefault(event.session_id, []).append(event.session_seq)
    assert all(seqs == list(range(len(seqs))) for seqs in by_session.values())
    still_open = {id(session) for session in stage.crowd.open_sessions()}
    assert len(kept) > 20
    assert any(session.next > before for session, before in kept)
    for session, _ in kept:
        assert session.next == len(session.actions) or id(session) in still_open


@pytest.mark.timed
def test_the_rate_changes_while_running(made: Settings) -> None:
    """A change acts within a second, even on an event that is waited for."""
    pace = producer.Pace(0.2, rng=Random(7))
    stop = threading.Event()
    counts: list[tuple[float, int]] = []

    def faster_after_a_second(report: producer.ProduceReport) -> None:
        counts.append((time.monotonic(), report.sent))
        pace.events_per_second = 1_000
        if len(counts) == 4:
            stop.set()

    producer.produce(made.kafka, live(), pace=pace, stop=stop, on_second=faster_after_a_second)

    assert counts[0][1] <= 3
    rates = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(counts)]
    assert rates == pytest.approx([1_000] * 3, rel=0.25)


def test_no_event_is_in_the_future_and_time_never_goes_back(made: Settings) -> None:
    """Every event carries the moment it was due, whatever the rate."""
    pace = producer.Pace(math.inf, rng=Random(8))
    before = events.format_timestamp(int(time.time() * 1000))
    producer.produce(made.kafka, live(), pace=pace, num_events=3_000)
    after = events.format_timestamp(int(time.time() * 1000))

    found = read_events(made)
    assert before <= found[0].timestamp <= found[-1].timestamp <= after
    by_reader: dict[str, str] = {}
    for message in messages.read(made.kafka):
        event = events.decode(message.value or b"")
        assert by_reader.get(event.user_id, "") <= event.timestamp
        by_reader[event.user_id] = event.timestamp


@pytest.mark.slow
def test_a_replay_starts_in_the_past_and_goes_live_when_it_reaches_now(made: Settings) -> None:
    """Past events carry their own time; from now on the rate is the crowd's natural one."""
    now_ms = int(time.time() * 1000)
    crowd = Simulator(seed=1, start_ms=now_ms - 120_000, live_from_ms=now_ms)
    pace = producer.Pace(math.inf, rng=Random(9))
    producer.produce(made.kafka, Stage(crowd), pace=pace, duration_s=4)

    found = read_events(made)
    assert pace.events_per_second == crowd.natural_rate
    assert events.parse_timestamp(found[0].timestamp) < now_ms - 100_000
    assert events.parse_timestamp(found[-1].timestamp) > now_ms + 1_000
    times = [events.parse_timestamp(event.timestamp) for event in found]
    live = [at for at in times if at >= now_ms]
    assert max(after - before for before, after in pairwise(live)) < 2_000


@pytest.mark.slow
def test_a_day_is_played_in_a_moment_from_a_past_start(made: Settings) -> None:
    """A crowd that starts a day ago catches up with now, with every hour of the day in it."""
    now_ms = int(time.time() * 1000)
    crowd = Simulator(
        seed=2, start_ms=now_ms - 86_400_000, readers=crowd_for(0.5), live_from_ms=now_ms
    )
    pace = producer.Pace(math.inf, rng=Random(13))
    producer.produce(made.kafka, Stage(crowd), pace=pace, duration_s=10)

    found = read_events(made)
    hours = Counter(event.timestamp[:13] for event in found)
    assert len(hours) >= 24
    assert pace.events_per_second == crowd.natural_rate  # now is reached
    assert len(found) == pytest.approx(86_400 * 0.5, rel=0.2)
    assert len({event.event_id for event in found}) == len(found)


@pytest.mark.parametrize("rate", [0, 0.1, -1, 5_001, math.nan])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    """The error says which rates there are."""
    with pytest.raises(ConfigError, match=r"from 0\.2 to 5,000"):
        producer.Pace(rate, rng=Random(1))
