"""The rate of arriving messages, from samples that may be late."""

from datetime import timedelta

import pytest

from clickstream.charts.timeseries import Arrivals


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
    arrivals = Arrivals(0.25, now_s=clock.time)
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


def test_the_line_stands_at_0_where_nobody_looked(clock: Clock) -> None:
    """Without samples the line is 0, and it falls and rises at once."""
    steady = [(0.25, 25 * i) for i in range(6)]
    later = [(60.0 if i == 0 else 0.25, 150 + 25 * i) for i in range(6)]
    (line,) = looked(clock, *steady, *later).figure().data
    assert line.y == (100.0, 100.0, 0.0, 0.0, 100.0, 100.0)
    assert (line.x[2], line.x[3] - line.x[2]) == (line.x[1], timedelta(seconds=60))


def test_what_is_out_of_the_window_is_not_drawn(clock: Clock) -> None:
    """Samples outside the window are not drawn, so they do not stretch the axis."""
    burst = [(0.25, 10_000 * i) for i in range(6)]
    later = [(300.0 if i == 0 else 0.25, 60_000 + 25 * i) for i in range(6)]
    (line,) = looked(clock, *burst, *later).figure().data
    assert line.y == (100.0, 100.0)


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
