"""Pacing in virtual time, so that tests do not wait."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clickstream import events
from clickstream.errors import ConfigError
from clickstream.events import Event
from clickstream.simulation import scenarios
from clickstream.simulation.pacing import Pace, PacedEvents, live_now, parse_rate
from clickstream.simulation.sessions import Session
from clickstream.simulation.simulator import Simulator, crowd_for
from clickstream.simulation.traffic import Traffic
from tests.support.errors import raises_shown

MONDAY_MS = 1_767_571_200_000

rates = st.floats(0.2, 5_000)
seeds = st.integers(0, 2**32)
in_virtual_time = settings(max_examples=25, deadline=None, derandomize=True)


class Clock:
    """A clock that only moves during a wait."""

    def __init__(self) -> None:
        self.at_s = MONDAY_MS / 1000

    def now(self) -> float:
        """Return seconds since 1970, also as the monotonic clock."""
        return self.at_s

    def wait(self, seconds: float) -> None:
        """Move the clock."""
        self.at_s += seconds

    def now_ms(self) -> int:
        """The time in milliseconds, as in events."""
        return int(self.at_s * 1000)


def live_crowd(readers: int | None = None) -> Simulator:
    """Live readers from the clock's start on; a small crowd is faster to make."""
    return Simulator(seed=1, start_ms=MONDAY_MS, live_from_ms=MONDAY_MS, readers=readers)


class Site:
    """A paced crowd with its clock."""

    def __init__(
        self,
        rate: float,
        *,
        seed: int = 1,
        num_events: int | None = None,
        crowd: Simulator | None = None,
    ) -> None:
        self.clock = Clock()
        self.pace = Pace(rate, rng=Random(seed), monotonic=self.clock.now)
        self.traffic = Traffic(crowd or live_crowd(2_000))
        self.source = PacedEvents(
            self.traffic,
            self.pace,
            num_events=num_events,
            now=self.clock.now,
            wait=self.clock.wait,
        )
        self._given = iter(self.source)

    def during(self, seconds: float) -> Iterator[Event]:
        """Yield the events of the next seconds."""
        until_s = self.clock.at_s + seconds
        while self.clock.at_s < until_s:
            event = next(self._given)
            if event is not None:
                yield event


def assert_no_gap(found: Iterable[Event]) -> None:
    """Check that the numbers in every session are 0, 1, 2 …, in stream order."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for event in found:
        numbers[event.session_id].append(event.session_seq)
    assert all(each == list(range(len(each))) for each in numbers.values())


@given(rate=rates, seed=seeds)
@in_virtual_time
def test_the_rate_asked_for_is_kept(rate: float, seed: int) -> None:
    """The number of events matches the rate within five sigma of a Poisson process."""
    site = Site(rate, seed=seed)
    num_events = len(list(site.during(1_000 / rate)))
    assert abs(num_events - 1_000) < 5 * math.sqrt(1_000)


@given(changes=st.lists(st.tuples(rates, st.floats(0.1, 1)), min_size=1, max_size=5), seed=seeds)
@in_virtual_time
def test_a_change_of_rate_acts_at_once_and_keeps_every_session(
    changes: list[tuple[float, float]], seed: int
) -> None:
    """With changing rates the number of events matches the area, in order and without gaps.

    Waits are at most 0.2 s, so that a change applies within that time.
    """
    site = Site(20, seed=seed)
    found: list[Event] = []
    for rate, seconds in changes:
        site.pace.events_per_second = rate
        for event in site.during(seconds):
            assert events.id_ms(event.event_id) <= site.clock.now_ms()
            found.append(event)

    area = sum(rate * seconds for rate, seconds in changes)
    slack = 0.2 * sum(rate for rate, _ in changes) / len(changes)  # the last wait of each
    assert abs(len(found) - area) < 10 + 5 * math.sqrt(area) + slack
    assert all(before.timestamp <= after.timestamp for before, after in pairwise(found))
    assert_no_gap(found)


@given(
    num_items=st.integers(0, 3_000),
    rate=st.sampled_from([1.0, 200.0, 5_000.0]),
    texts=st.lists(
        st.sampled_from(["bot:per_minute=6000", "breaking-news:peak=10", "dirty-data:late=1"]),
        unique=True,
    ),
)
@in_virtual_time
def test_nothing_that_was_taken_from_the_crowd_is_lost_by_a_stop(
    num_items: int, rate: float, texts: list[str]
) -> None:
    """A stop after any event leaves no gap in a session."""
    site = Site(rate)
    for text in texts:
        site.traffic.start(scenarios.make(text))
    found = [event for event in islice(site.source, num_items) if event is not None]
    found += site.source.finish()

    assert_no_gap(sorted(found, key=lambda event: event.session_seq))
    on_site = {s.session_id: s.next for s in site.traffic.crowd.open_sessions() if s.next}
    counts = Counter(event.session_id for event in found)
    assert {session_id: counts[session_id] for session_id in on_site} == on_site
    assert list(site.source.finish()) == []


@given(rate=rates, seed=seeds)
@in_virtual_time
def test_who_takes_events_hears_something_every_fifth_of_a_second(rate: float, seed: int) -> None:
    """The source yields at least every 0.2 s at any rate, so that a stop acts soon."""
    site = Site(rate, seed=seed)
    before_s = site.clock.at_s
    for _ in islice(site.source, 200):
        assert site.clock.at_s - before_s <= 0.2 + 1e-6
        before_s = site.clock.at_s


def test_who_takes_events_hears_of_each_that_a_scenario_holds_back() -> None:
    """The source yields even while a scenario holds back every event."""
    site = Site(math.inf)
    site.traffic.start(scenarios.make("dirty-data:late=1,delay=3600"))
    assert list(islice(site.source, 1_000)) == [None] * 1_000
    assert len(list(site.source.finish())) == 1_000


@pytest.mark.parametrize("rate", [20, 1_000])
def test_events_are_spread_as_chance_spreads_them(rate: float) -> None:
    """Counts per interval have the dispersion of a Poisson process, 0.8 to 1.3."""
    site = Site(rate, seed=6)
    spans = Counter(
        (events.id_ms(event.event_id) - MONDAY_MS) * rate // 20_000
        for event in site.during(10_000 / rate)
    )
    counts = [spans[span] for span in range(500)]
    mean = sum(counts) / len(counts)
    dispersion = sum((n - mean) ** 2 for n in counts) / len(counts) / mean
    assert 0.8 < dispersion < 1.3


def test_the_slider_goes_from_20_to_5000_and_back_with_every_session_kept() -> None:
    """A new rate acts within half a second and neither ends nor starts sessions."""
    site = Site(20, seed=12, crowd=live_crowd())
    found = list(site.during(30))
    kept = [(session, session.next) for session in site.traffic.crowd.open_sessions()]
    site.pace.events_per_second = 5_000
    found += site.during(0.5)
    fast = list(site.during(1.5))
    site.pace.events_per_second = 20
    found += [*fast, *site.during(0.5)]
    slow = list(site.during(30))
    found += slow

    assert len(fast) / 1.5 == pytest.approx(5_000, rel=0.05)
    assert len(slow) == pytest.approx(600, abs=4 * math.sqrt(600))
    assert_no_gap(found)
    assert len(kept) > 20
    still_open = {id(session) for session in site.traffic.crowd.open_sessions()}
    assert any(session.next > before for session, before in kept)

    def is_kept(session: Session) -> bool:
        return session.next == len(session.actions) or id(session) in still_open

    assert all(is_kept(session) for session, _ in kept)


def test_a_minute_that_was_slept_through_is_not_made_up_for() -> None:
    """A delay of more than a second is skipped, not caught up."""
    site = Site(1_000, seed=3)
    list(site.during(2))
    site.clock.wait(60)
    found = list(site.during(0.1))
    assert len(found) == pytest.approx(1_100, rel=0.15)


@pytest.mark.parametrize(("behind_s", "rate"), [(120, 20.0), (86_400, 0.5)])
def test_a_replay_starts_in_the_past_and_goes_live_when_it_reaches_now(
    behind_s: int, rate: float
) -> None:
    """Past events keep their times; live events then follow at the natural rate."""
    crowd = Simulator(
        seed=1,
        start_ms=MONDAY_MS - 1000 * behind_s,
        readers=crowd_for(rate),
        live_from_ms=MONDAY_MS,
    )
    site = Site(math.inf, crowd=crowd)
    found = list(site.during(600))

    times = [events.parse_timestamp(event.timestamp) for event in found]
    past = [at_ms for at_ms in times if at_ms < MONDAY_MS]
    live = [at_ms for at_ms in times if at_ms >= MONDAY_MS]
    assert times == sorted(times)
    assert site.pace.events_per_second == crowd.natural_rate
    assert len({(MONDAY_MS - at_ms) // 3_600_000 for at_ms in past}) == max(1, behind_s // 3_600)
    assert len(live) == pytest.approx(600 * crowd.natural_rate, rel=0.3)
    assert live[-1] <= site.clock.now_ms()
    if rate == 0.5:
        assert len(past) == pytest.approx(behind_s * rate, rel=0.2)


def test_a_number_of_events_is_the_crowd_s_own_and_scenarios_come_on_top() -> None:
    """The requested number counts only the crowd's events; held-back events come at the end."""
    site = Site(200, num_events=400)
    for text in ("bot:per_minute=600", "dirty-data:late=1,delay=60"):
        site.traffic.start(scenarios.make(text))
    found = [event for event in site.source if event is not None]
    held = site.source.finish()

    own = [event for event in [*found, *held] if event.scenario != "bot"]
    assert len(own) == 400
    assert len(found) + len(held) > 400
    assert len(held) > 300


def test_what_a_scenario_adds_comes_while_the_crowd_s_next_event_is_waited_for() -> None:
    """Events of a scenario do not wait for the crowd's next event."""
    site = Site(0.2, seed=2)
    site.traffic.start(scenarios.make("bot:per_minute=600"))
    for event in site.during(20):
        if event.scenario == "bot":
            assert site.clock.now_ms() - events.id_ms(event.event_id) <= 201


@pytest.mark.parametrize("num_events", [0, -5, 1.5, math.nan, math.inf, "5", 10**30])
def test_asking_for_no_event_is_refused(num_events: Any) -> None:
    """A number of 0 is refused, because it would look like success; so is what never ends."""
    with pytest.raises(ConfigError, match=rf"{num_events} events: the number must be 1 or more"):
        Site(20, num_events=num_events)


@pytest.mark.parametrize("rate", [0, 0.1, -1, 5_001, 10**400, math.nan, "max", max, None])
def test_a_rate_that_is_none_is_told_in_one_line(rate: Any) -> None:
    """An invalid rate, also a later one, is one line with the range and the value for no limit."""
    said = r"must be 0\.2 to 5,000; .* `math.inf` in Python, `max` in a terminal"
    with raises_shown(ConfigError, match=said):
        Pace(rate, rng=Random(1))
    pace = Pace(20, rng=Random(1))
    with raises_shown(ConfigError, match=said):
        pace.events_per_second = rate
    assert pace.events_per_second == 20


def test_a_rate_is_read_as_it_is_typed() -> None:
    """A typed rate is a number or `max`; anything else is an error."""
    assert (parse_rate("2.5"), parse_rate("max")) == (2.5, math.inf)
    with pytest.raises(ConfigError, match="--rate 'fast' is neither a number of events"):
        parse_rate("fast")
    for rate in ("nan", "inf", "1e400", "-1", "0"):
        with pytest.raises(ConfigError, match=f"--rate {rate}: it must be 0.2 to 5,000 events per"):
            parse_rate(rate)


def test_a_crowd_that_starts_now_is_live_from_its_first_event_on() -> None:
    """A crowd that starts now is live from its first event; its readers depend on the time."""
    clock = Clock()
    crowd, chosen = live_now(now=clock.now), live_now(seed=7, now=clock.now)

    assert crowd.start_ms == crowd.live_from_ms == chosen.start_ms == MONDAY_MS
    assert (crowd.seed, chosen.seed) == (MONDAY_MS, 7)


def test_a_past_comes_at_once_at_its_own_times_and_without_scenarios() -> None:
    """Ten minutes of the past come before the first wait; scenarios and pace begin after them."""
    clock = Clock()
    crowd = live_now(seed=1, past_s=600, now=clock.now)
    traffic = Traffic(crowd)
    traffic.start(scenarios.SCENARIOS["bot"]())
    pace = Pace(1, rng=Random(1), monotonic=clock.now)
    source = PacedEvents(
        traffic, pace, past_first=True, num_events=5, now=clock.now, wait=clock.wait
    )
    given: list[tuple[float, Event]] = []
    for event in source:
        given += [] if event is None else [(clock.at_s, event)]

    past = [event for at_s, event in given[: source.num_past] if at_s == MONDAY_MS / 1000]
    times = [events.parse_timestamp(event.timestamp) for _, event in given]
    assert source.num_past == len(past) > 1_000
    assert not source.is_in_past
    assert past == list(live_now(seed=1, past_s=600, now=Clock().now).events(until_ms=MONDAY_MS))
    assert MONDAY_MS - 600_000 <= times[0] < MONDAY_MS - 500_000
    assert times == sorted(times)
    later = [event for _, event in given[len(past) :]]
    assert sum(1 for event in later if event.scenario is None) == 5, "the past does not count"
    assert {event.scenario for event in later} == {None, "bot"}


def test_a_crowd_that_is_interrupted_in_its_past_goes_on_live() -> None:
    """What remains of the past comes at the pace, with the times at which it comes."""
    clock = Clock()
    traffic = Traffic(live_now(seed=1, past_s=600, now=clock.now))
    pace = Pace(100, rng=Random(1), monotonic=clock.now)
    first = PacedEvents(traffic, pace, past_first=True, now=clock.now, wait=clock.wait)
    assert len(list(islice(first, 100))) == 100
    first.finish()
    assert (first.num_past, first.is_in_past) == (100, False)
    clock.wait(10)
    second = PacedEvents(traffic, pace, num_events=50, now=clock.now, wait=clock.wait)
    times = [events.parse_timestamp(each.timestamp) for each in second if each is not None]
    assert min(times) >= MONDAY_MS + 10_000
