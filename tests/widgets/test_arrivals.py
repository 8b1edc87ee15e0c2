"""The rate of arriving messages, from samples that may be late."""

import pytest

from clickstream.widgets.arrivals import Arrivals


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def time(self) -> float:
        """Return the time, like `time.time`."""
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    """The clock of the samples."""
    return Clock()


def looked(clock: Clock, *looks: tuple[float, int]) -> Arrivals:
    """Take samples, each after some seconds with a number of messages."""
    arrivals = Arrivals(now_s=clock.time)
    for after_s, messages in looks:
        clock.now_s += after_s
        arrivals.note(messages)
    return arrivals


def test_the_rate_is_that_of_the_latest_second(clock: Clock) -> None:
    """The rate covers only the latest second."""
    before = [(0.25, 1_000 * i) for i in range(8)]
    latest = [(0.25, 7_000 + 25 * i) for i in range(1, 5)]
    assert looked(clock, *before, *latest).per_second() == pytest.approx(100)


def test_what_arrived_while_nobody_looked_is_spread_over_that_time(clock: Clock) -> None:
    """Messages that arrived between late samples are spread over that time."""
    arrivals = looked(clock, (0.25, 0), (0.25, 50), (12, 3_000), (0.25, 3_050))
    assert arrivals.per_second() == pytest.approx(3_000 / 12.25)


def test_the_rates_of_the_latest_minute_are_kept(clock: Clock) -> None:
    """There is one rate per sample, for a minute."""
    arrivals = looked(clock, *((0.25, 25 * i) for i in range(300)))
    assert list(arrivals.rates) == [100.0] * 240


def test_a_late_look_is_not_a_rate_of_nothing(clock: Clock) -> None:
    """A late sample does not set the rate to 0, but a missing one does."""
    arrivals = looked(clock, (0.25, 0), (0.25, 25), (0.25, 50))
    clock.now_s += 2
    assert arrivals.per_second() == pytest.approx(100)
    clock.now_s += 2
    assert arrivals.per_second() == 0


def test_of_one_look_alone_there_is_no_rate(clock: Clock) -> None:
    """One sample gives no rate, and a recreated topic no negative one."""
    assert looked(clock).per_second() == 0
    assert looked(clock, (0.25, 50)).per_second() == 0
    assert looked(clock, (0.25, 50), (0.25, 0)).per_second() == 0
