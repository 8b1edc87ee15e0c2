"""Readers, page views and the newest event, from documents in a real OpenSearch."""

import time
from collections.abc import Iterable

import msgspec
import pytest

from clickstream import producer
from clickstream.demo.demo import Demo
from clickstream.errors import ConfigError
from clickstream.events import Event, format_timestamp
from clickstream.opensearch import client, index, site
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator
from tests.support.by_id import MONDAY_MS


def views(times_ms: Iterable[int]) -> list[Event]:
    """One page view per time, each in a session of its own."""
    crowd = Simulator(seed=1, start_ms=MONDAY_MS).events()
    view = next(event for event in crowd if event.event_type == "page_view")
    return [
        msgspec.structs.replace(
            view,
            event_id=f"{view.event_id[:-4]}{place:04x}",
            session_id=f"{place}-1",
            timestamp=format_timestamp(at_ms),
        )
        for place, at_ms in enumerate(times_ms)
    ]


def test_readers_and_views_are_those_of_the_latest_minutes(made: Settings) -> None:
    """Readers of five minutes and views of ten seconds count; an event in the future does not."""
    opensearch, now_ms = client.connect(made.opensearch), round(time.time() * 1000)
    ages_s = (1, 2, 9, 20, 100, 290, 310, 3_600, -500)
    producer.send(made.kafka, views(now_ms - 1_000 * age_s for age_s in ages_s))
    Demo(made).consume()
    index.refresh(opensearch, made.opensearch.index)

    found = site.read(opensearch, made.opensearch.index, now_ms)
    assert found == site.Site(readers=6, views_per_second=0.3)
    name = made.opensearch.index
    assert site.newest_ms(opensearch, name, now_ms - 60_000, now_ms) == now_ms - 1_000
    assert site.newest_ms(opensearch, name, now_ms, now_ms + 60_000) is None, "over a minute old"
    found_id, source = index.newest_document(opensearch, made.opensearch.index) or ("", {})
    assert source["timestamp"] == format_timestamp(now_ms + 500_000)
    assert found_id == source["event_id"]


def test_an_empty_index_has_no_readers_and_a_missing_one_is_named(made: Settings) -> None:
    """Both are answers; a missing index is an error."""
    Demo(made).ensure()
    opensearch, name = client.connect(made.opensearch), made.opensearch.index
    assert site.read(opensearch, name, MONDAY_MS) == site.Site(0, 0.0)
    assert site.newest_ms(opensearch, name, 0, MONDAY_MS) is None
    assert index.newest_document(opensearch, name) is None
    with pytest.raises(ConfigError, match="missing-index"):
        site.read(opensearch, "missing-index", MONDAY_MS)
