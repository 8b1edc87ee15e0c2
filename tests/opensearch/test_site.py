"""Readers, page views, articles and the newest event, from documents in a real OpenSearch."""

import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice

import msgspec
import pytest

from clickstream import producer
from clickstream.demo.demo import Demo
from clickstream.errors import ConfigError
from clickstream.events import Event, format_timestamp, id_ms
from clickstream.opensearch import client, index, site
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.visitor import Visitor
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


def test_the_front_page_and_a_reader_s_place_are_exact(made: Settings) -> None:
    """The most read articles of the window, and one more than the readers with more events."""
    opensearch, name = client.connect(made.opensearch), made.opensearch.index
    crowd = list(islice(Simulator(seed=1, start_ms=MONDAY_MS).events(), 3_000))
    producer.send(made.kafka, crowd)
    Demo(made).consume()
    index.refresh(opensearch, name)
    since_ms, until_ms = id_ms(crowd[500].event_id), id_ms(crowd[-1].event_id)

    within = [each for each in crowd if since_ms <= id_ms(each.event_id) <= until_ms]
    views = [each for each in within if each.event_type == "page_view"]
    counts = Counter(each.article_id for each in views)
    found = site.front_page(opensearch, name, since_ms, until_ms)
    assert len(found) == 8
    assert [each.views for each in found] == [number for _, number in counts.most_common(8)]
    for each in found:
        assert counts[each.article_id] == each.views
        stored = next(view for view in views if view.article_id == each.article_id)
        assert (each.title, each.category) == (stored.article_title, stored.article_category)
        assert each.published_at == stored.article_published_at

    readers = Counter(each.user_id for each in within)
    for user_id in (readers.most_common()[0][0], readers.most_common()[40][0], views[-1].user_id):
        more = sum(number > readers[user_id] for number in readers.values())
        place = site.place(opensearch, name, user_id, since_ms, until_ms)
        assert place == (readers[user_id], more + 1)
    assert site.place(opensearch, name, "reader-ada", since_ms, until_ms) == (0, None)
    assert site.front_page(opensearch, name, until_ms + 1, until_ms + 2) == []


def test_what_is_read_now_is_compared_with_the_window_before_if_that_is_covered(
    made: Settings,
) -> None:
    """Both counts are those of the documents; a gap in the window before, and there are none."""
    opensearch, name = client.connect(made.opensearch), made.opensearch.index
    span_ms = 100_000
    since_ms, until_ms = MONDAY_MS, MONDAY_MS + span_ms

    (view,) = views([MONDAY_MS])

    def read(**times_ms: Iterable[int]) -> None:
        """Store one view of each article per time."""
        lines = []
        for article, at_ms in ((name, each) for name, times in times_ms.items() for each in times):
            own = {"article_id": article, "article_title": article.title()}
            event = msgspec.structs.replace(view, timestamp=format_timestamp(at_ms), **own)
            lines += [{"create": {"_id": f"{article}-{at_ms}"}}, msgspec.to_builtins(event)]
        answer = opensearch.bulk(index=name, body=lines, refresh=True)
        assert not answer["errors"], answer

    def read_now() -> list[tuple[str, int, int | None]]:
        found = site.read_now(opensearch, name, since_ms, until_ms)
        return [(each.title, each.views, before) for each, before in found]

    Demo(made).ensure()
    assert read_now() == []
    # One view is older than the window before, one is its last, and one part of it has none.
    before = (-span_ms - 1, -70_000, -50_000, -30_000, -10_001, -1)
    rowers = (*(since_ms + each for each in before), until_ms)
    read(storm=range(since_ms, until_ms, 10_000), rowers=rowers)
    assert read_now() == [("Storm", 10, None), ("Rowers", 1, None)]
    read(council=[since_ms - span_ms])
    assert read_now() == [("Storm", 10, 0), ("Rowers", 1, 5)]
    read(**{name: range(since_ms, since_ms + number) for number, name in enumerate("abcde", 2)})
    assert read_now() == [
        ("Storm", 10, 0),
        *((each, n, 0) for each, n in zip("EDCB", (6, 5, 4, 3), strict=True)),
    ]


def test_the_newest_event_of_a_reader_tells_whether_the_session_is_open(made: Settings) -> None:
    """Nobody, then a session that is open, then one that has ended in the same millisecond."""
    opensearch, name = client.connect(made.opensearch), made.opensearch.index
    visitor = Visitor("ada", device="desktop", is_new=True)

    def newest(at_ms: int) -> site.Reader | None:
        producer.send(made.kafka, visitor.added(at_ms))
        Demo(made).consume()
        index.refresh(opensearch, name)
        return site.reader(opensearch, name, "reader-ada")

    assert site.reader(opensearch, name, "reader-ada") is None
    assert newest(MONDAY_MS) == site.Reader(
        visitor.session_id, format_timestamp(MONDAY_MS), is_logged_out=False
    )
    visitor.log_out()
    found = newest(MONDAY_MS)
    assert found is not None
    assert found.is_logged_out
