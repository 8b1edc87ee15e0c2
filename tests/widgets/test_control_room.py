"""Text sizes of the control room, for large rooms and small screens."""

import re

import pytest

from clickstream.widgets import control_room
from clickstream.widgets.control_room import _numbers
from clickstream.widgets.live_pipeline import Snapshot


def width(reading: Snapshot) -> float:
    """The size of the numbers, in hundredths of the row's width."""
    found = re.search(r"clamp\(12px,([\d.]+)cqw,30px\)", _numbers(reading))
    assert found is not None
    return float(found[1])


def test_numbers_of_seven_digits_stay_on_one_row() -> None:
    """Long numbers are smaller, short ones have the maximum size, and all stay on one row."""
    assert width(Snapshot(produced=39_443, in_kafka=39_469, lag=287, indexed=39_182)) == 3.4
    million = 1_050_218
    much = Snapshot(
        produced=million,
        in_kafka=million,
        lag=699_241,
        indexed=million,
        dead_letters=10_000,
        per_second=17_000,
        latency_ms=1_318,
    )
    assert 1.5 < width(much) < 2.5


def grey(reading: Snapshot) -> set[str]:
    """The names of the numbers that are greyed."""
    return set(re.findall(r"opacity[^>]*><div [^>]*data-number='([^']+)'", _numbers(reading)))


def test_numbers_of_a_server_that_is_gone_are_grey_and_show_their_age() -> None:
    """Without Kafka all numbers are old, without OpenSearch those of the index."""
    fresh, no_kafka = Snapshot(produced=7, in_kafka=7), Snapshot(kafka_age_s=12.4)
    no_opensearch = Snapshot(opensearch_age_s=5.0)

    assert (grey(fresh), "old" in _numbers(fresh)) == (set(), False)
    assert grey(no_opensearch) == {"indexed", "repeats", "Kafka to index"}
    assert "grey numbers are 5 s old" in _numbers(no_opensearch)
    assert len(grey(no_kafka)) == 8
    assert "grey numbers are 12 s old" in _numbers(no_kafka)


def test_where_the_messages_in_kafka_come_from_is_shown() -> None:
    """The line below the numbers has the three sources, which add up."""
    reading = Snapshot(produced=1_250, in_kafka=2_300, there_before=1_000, by_others=60)

    assert "1,000 there before + 1,240 produced here + 60 by others" in _numbers(reading)


@pytest.mark.parametrize(("text", "size"), [("Press Start.", 18), ("x" * 150, 15)])
def test_a_long_line_is_set_smaller(text: str, size: int) -> None:
    """A long line gets smaller text, so that the content below moves less."""
    assert f"font-size:{size}px" in control_room._line(text, is_trouble=False)
