"""Dead letters as a table, without a server."""

from datetime import UTC, datetime

from clickstream.kafka import dead_letters
from clickstream.kafka.dead_letters import DeadLetter, Place

MOMENT = datetime(2026, 1, 5, 9, 30, 0, 123_000, UTC)


def letter(offset: int, value: bytes | None, source: Place | None = None) -> DeadLetter:
    """A dead letter at an offset."""
    place = Place("clickstream-events-dlq", 0, offset)
    headers = ((dead_letters.REPLAYED_FROM, b"clickstream-events-dlq:0:1"),) if source else ()
    return DeadLetter(place, source, "EventError", "why", MOMENT, b"reader-1", value, headers)


def test_a_table_has_its_columns_and_types_with_and_without_letters() -> None:
    """Columns and types stay the same with unknown values and without letters."""
    known = letter(3, b"\x1b[1m", Place("clickstream-events", 2, 17))
    full, empty = dead_letters.table([known, letter(4, None)]), dead_letters.table([])

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
