"""The time from a click until a search finds its event, from looks in virtual time."""

import pytest

from clickstream.widgets.searchable import ClickToSearchable


def test_the_times_are_those_of_the_events_found_since_the_last_look() -> None:
    """Events of 1,000 to 2,000 ms that are found at 2,500 took 500 to 1,500 ms."""
    times = ClickToSearchable()
    assert times.quantile_ms(0.5) is None
    times.note(1_000, 1_200)
    assert times.quantile_ms(0.5) is None, "a first look has nothing to compare with"
    for now_ms in (1_450, 1_700):
        times.note(1_000, now_ms)
    times.note(2_000, 2_500)

    assert times.quantile_ms(0.5) == pytest.approx(1_000, abs=100)
    assert times.quantile_ms(0.0) == pytest.approx(500, abs=100)
    assert times.quantile_ms(0.99) == pytest.approx(1_500, abs=100)


def test_a_time_without_events_is_no_latency() -> None:
    """After a quiet minute, or after `forget`, the first event found gives no time."""
    times = ClickToSearchable()
    times.note(1_000, 1_100)
    times.note(None, 80_000)
    times.note(80_000, 80_200)
    assert times.quantile_ms(0.5) is None
    times.note(80_100, 80_400)
    assert times.quantile_ms(0.5) == pytest.approx(350, abs=20)
    times.forget(200_000)
    for newest_ms, now_ms in ((150_000, 200_100), (200_500, 201_000)):
        times.note(newest_ms, now_ms)
        assert times.quantile_ms(0.5) is None, "an event before a start gives no time"
    times.note(201_000, 201_500)
    assert times.quantile_ms(0.99) == pytest.approx(975, abs=50)


def test_a_backlog_of_more_than_a_minute_has_no_time() -> None:
    """While nothing of the latest minute is found, earlier times are not shown."""
    times = ClickToSearchable()
    times.note(1_000, 1_100)
    times.note(2_000, 2_300)
    assert times.quantile_ms(0.99) is not None
    times.note(None, 80_000)
    assert times.quantile_ms(0.99) is None


def test_only_the_latest_looks_count() -> None:
    """A slow minute is forgotten after twenty refreshes."""
    times = ClickToSearchable()
    for second in range(40):
        delay_ms = 9_000 if second < 20 else 300
        times.note(1_000 * second, 1_000 * second + delay_ms)
    assert times.quantile_ms(0.99) == pytest.approx(1_300, abs=100)
