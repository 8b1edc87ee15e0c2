"""Dead letters as text and tables, without a server."""

from datetime import UTC, datetime

import pytest

from clickstream.demo import replay
from clickstream.demo.replay import DeadLetter, Place

MOMENT = datetime(2026, 1, 5, 9, 30, 0, 123_000, UTC)


def letter(offset: int, value: bytes | None, source: Place | None = None) -> DeadLetter:
    """A letter that lies at an offset."""
    place = Place("clickstream-events-dlq", 0, offset)
    headers = ((replay.REPLAYED_FROM, b"clickstream-events-dlq:0:1"),) if source else ()
    return DeadLetter(place, source, "EventError", "why", MOMENT, b"reader-1", value, headers)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("Zürich 9 °C".encode(), "Zürich 9 °C"),
        (b"\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        (b"one\r\ntwo\tthree", r"one\r\ntwo\tthree"),
        ("\x9b31m".encode(), r"\x9b31m"),
        ("abc\u202edcb\u2028".encode(), r"abc\u202edcb\u2028"),
        (b"\xff\xfe", r"\xff\xfe"),
        (b"", ""),
    ],
)
def test_no_value_drives_a_terminal(data: bytes, shown: str) -> None:
    """Control characters, turned text and broken UTF-8 are escaped; all on one line."""
    assert replay.text(data) == shown


def test_a_table_has_its_columns_and_types_with_and_without_letters() -> None:
    """What is not known is missing, and nothing of it changes a type."""
    known = letter(3, b"\x1b[1m", Place("clickstream-events", 2, 17))
    full, empty = replay.table([known, letter(4, None)]), replay.table([])

    assert list(full.columns) == list(empty.columns)
    assert list(full.dtypes) == list(empty.dtypes)
    assert len(empty) == 0
    assert full.loc[0].to_dict() == {
        "partition": 0,
        "offset": 3,
        "timestamp": MOMENT,
        "error_type": "EventError",
        "reason": "why",
        "key": "reader-1",
        "value": r"\x1b[1m",
        "source_topic": "clickstream-events",
        "source_partition": 2,
        "source_offset": 17,
        "replayed_from": "clickstream-events-dlq:0:1",
    }
    unknown = ["value", "source_topic", "source_partition", "source_offset", "replayed_from"]
    assert full.loc[1, unknown].isna().all()


def test_a_report_says_what_stays_and_why() -> None:
    """Only what there is, with a reason cut and made safe for terminal and notebook."""
    alone = replay.ReplayReport("news", 2, sent=2, no_events=0, unrepaired=0, left=0)
    mixed = replay.ReplayReport(
        "news", 1_200, 1, no_events=3, unrepaired=1, left=1_195, reason="<b>\x1b[2J" + "x" * 500
    )

    assert str(alone) == "2 of 2 dead letters sent back to news"
    assert "1 of 1,200 dead letters sent back to news, 3 still no events" in str(mixed)
    assert "1 unrepaired" in str(mixed)
    assert "1,195 left alone" in str(mixed)
    assert r"<b>\x1b[2Jxxx" in str(mixed)
    assert len(str(mixed)) < 400
    assert "&lt;b&gt;" in mixed._repr_html_()
