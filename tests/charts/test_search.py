"""The answer of one search equals a recount of the topic's messages."""

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

import msgspec
import pandas as pd
import pytest
from opensearchpy import OpenSearch

from clickstream import consumer, events, producer
from clickstream.charts import search
from clickstream.errors import ConfigError, ServerError
from clickstream.events import CATEGORIES, DEVICE_TYPES, EVENT_TYPES, Event
from clickstream.kafka import messages, topics
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.settings import OpenSearchSettings, Settings
from clickstream.simulation import scenarios
from clickstream.simulation.scenarios import ADDS_EVENTS
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic
from tests.support.errors import raises_shown

MONDAY_MS = 1_767_571_200_000
MONDAY = datetime.fromtimestamp(MONDAY_MS / 1000, UTC)


ON_TOP = tuple(name for name, adds in ADDS_EVENTS.items() if adds)


def ask(client: OpenSearch, name: str, **question: Any) -> search.Answer:
    """Ask an index like the demo."""
    send = partial(index.search, client, name)
    return search.ask(send, scenarios=ADDS_EVENTS, **question)


@pytest.fixture(scope="module")
def site(settings: Settings) -> Iterator[tuple[OpenSearch, str, pd.DataFrame]]:
    """Six hours of indexed events, some sent twice, and the messages as a table."""
    own = settings.in_namespace(f"site-{uuid.uuid4().hex[:8]}")
    client = opensearch.connect(own.opensearch)
    try:
        topics.ensure_topics(own.kafka)
        index.ensure(client, own.opensearch.index)
        crowd = Simulator(seed=13, start_ms=MONDAY_MS + 8 * 3_600_000, readers=1_500)
        sent = list(crowd.events(until_ms=MONDAY_MS + 14 * 3_600_000))
        producer.send(own.kafka, sent)
        producer.send(own.kafka, sent[:500])
        consumer.index_topic(own, until_caught_up=True)
        index.refresh(client, own.opensearch.index)
        found = [events.decode(message.value or b"") for message in messages.read(own.kafka)]
        assert len(found) == len(sent) + 500
        table = pd.DataFrame([msgspec.structs.asdict(event) for event in found])
        table["timestamp"] = pd.to_datetime(table["timestamp"])
        yield client, own.opensearch.index, table.drop_duplicates("event_id")
    finally:
        topics.delete_topics(own.kafka)
        index.delete(client, own.opensearch.index)


@pytest.fixture(scope="module")
def played(settings: Settings) -> Iterator[tuple[OpenSearch, str, pd.DataFrame]]:
    """Ten minutes with every scenario, as `site`."""
    own = settings.in_namespace(f"played-{uuid.uuid4().hex[:8]}")
    client = opensearch.connect(own.opensearch)
    start_ms = MONDAY_MS + 9 * 3_600_000
    try:
        topics.ensure_topics(own.kafka)
        index.ensure(client, own.opensearch.index)
        stage = Traffic(Simulator(seed=14, start_ms=start_ms, readers=60_000))
        sent: list[Event] = []
        for minute, names in enumerate(PLAYED):
            sent += stage.events(until_ms=start_ms + 60_000 * minute)
            for name in names:
                stage.start(scenarios.make(name))
        sent += stage.close()
        producer.send(own.kafka, sent)
        consumer.index_topic(own, until_caught_up=True)
        index.refresh(client, own.opensearch.index)
        found = [events.decode(message.value or b"") for message in messages.read(own.kafka)]
        table = pd.DataFrame([msgspec.structs.asdict(event) for event in found])
        table["timestamp"] = pd.to_datetime(table["timestamp"])
        yield client, own.opensearch.index, table.drop_duplicates("event_id")
    finally:
        topics.delete_topics(own.kafka)
        index.delete(client, own.opensearch.index)


PLAYED = (
    *(
        (),
        ("ab-test:lift=2",),
        ("dirty-data:late=0.1",),
        ("bot:seconds=300",),
    ),
    *(("breaking-news:seconds=120",), ("comment-storm:seconds=90",), ("device-outage",)),
    *((), ("logout-wave",), ()),
)
"""The scenarios and their start minutes."""


def recount(table: pd.DataFrame, field: str) -> dict[Any, int]:
    """Count the rows of each value."""
    return {key: int(n) for key, n in table[field].value_counts().items()}


def number(cell: str) -> int:
    """The count in a table cell."""
    return int(re.sub(r"<[^>]+>|,", "", cell))


def counted(frame: pd.DataFrame, field: str) -> dict[Any, int]:
    """A frame of the answer as the same kind of dictionary."""
    return dict(zip(frame[field], frame["count"], strict=True))


@pytest.mark.parametrize(
    "question",
    [
        {},
        {"category": "sports"},
        {"device": "tablet"},
        {"category": "tech", "device": "mobile"},
        {"since": MONDAY + timedelta(hours=9, minutes=17), "until": MONDAY + timedelta(hours=11)},
        {"since": MONDAY + timedelta(hours=8, minutes=50), "bucket_s": 10_800},
        {"until": MONDAY + timedelta(hours=11, minutes=3), "device": "desktop", "bucket_s": 777},
    ],
    ids=str,
)
def test_every_figure_equals_a_recount(
    site: tuple[OpenSearch, str, pd.DataFrame], question: dict[str, Any]
) -> None:
    """Counts equal a recount by distinct id, for any window and filter, and are exact."""
    client, name, table = site
    since = question.get("since", table["timestamp"].min())
    until = question.get("until", table["timestamp"].max() + timedelta(milliseconds=1))
    table = table[(table["timestamp"] >= since) & (table["timestamp"] < until)]
    if "category" in question:
        table = table[table["article_category"] == question["category"]]
    if "device" in question:
        table = table[table["device_type"] == question["device"]]
    answer = ask(client, name, top=25, **question)
    figures = answer.figures(tz="UTC")

    assert answer.count_error == 0
    assert answer.total == len(table) > 100

    kinds = answer.frames["event-types"]
    assert counted(kinds, "event_type") == recount(table, "event_type")
    assert list(figures["event-types"].data[0]["values"]) == list(kinds["count"])

    volume, width = answer.frames["volume"], timedelta(seconds=answer.bucket_s)
    bucket = (table["timestamp"] - answer.since) // width
    wanted = [int((bucket == i).sum()) for i in range(-((answer.since - answer.until) // width))]
    assert list(volume["count"]) == wanted
    assert sum(wanted) == len(table)
    starts = [answer.since + i * width for i in range(len(wanted))]
    assert list(volume["timestamp"]) == starts
    drawn = figures["volume"].data[0]
    assert list(drawn.y) == wanted
    assert [pd.Timestamp(x, tz="UTC") for x in drawn.x] == starts

    top = answer.frames["top-users"]
    by_user = recount(table, "user_id")
    assert counted(top, "user_id") == {user: by_user[user] for user in top["user_id"]}
    assert list(top["count"]) == sorted(by_user.values(), reverse=True)[: len(top)]
    assert list(figures["top-users"].data[0].x) == list(top["count"])

    about = table.dropna(subset="article_category")
    pairs = about.groupby(["device_type", "article_category"]).size().to_dict()
    grid = answer.frames["device-category"]
    found = {(device, category): n for device, category, n in grid.itertuples(index=False)}
    assert found == {(d, c): pairs.get((d, c), 0) for d in DEVICE_TYPES for c in CATEGORIES}
    drawn = figures["device-category"].data[0]
    assert (tuple(drawn.y), tuple(drawn.x)) == (CATEGORIES, DEVICE_TYPES)
    for category, row in zip(drawn.y, drawn.customdata, strict=True):
        assert list(row) == [found[device, category] for device in drawn.x]
    written = figures["device-category-table"].data[0].cells["values"]
    rows = [[number(column[i]) for column in written[1:]] for i in range(len(CATEGORIES) + 1)]
    for category, row in zip(CATEGORIES, rows, strict=False):
        counts = [found[device, category] for device in DEVICE_TYPES]
        assert row == [*counts, sum(counts)]
    assert rows[-1] == [*map(sum, zip(*rows[:-1], strict=True))]
    assert rows[-1][-1] == len(about)


@pytest.mark.parametrize("bucket_s", [10, 60, 777])
def test_what_scenarios_add_equals_a_recount(
    played: tuple[OpenSearch, str, pd.DataFrame], bucket_s: int
) -> None:
    """Added events equal a recount by bucket and scenario, without merely labelled events."""
    client, name, table = played
    answer = ask(client, name, bucket_s=bucket_s)
    volume, added = answer.frames["volume"], answer.frames["volume-scenarios"]
    bucket = (table["timestamp"] - answer.since) // timedelta(seconds=bucket_s)
    drawn = answer.figures(tz="UTC")["volume"].data

    assert set(recount(table, "scenario")) == {*ON_TOP, "ab-test", "dirty-data"}
    assert volume["count"].sum() == answer.total == len(table)
    assert list(added["scenario"].unique()) == list(ON_TOP)
    assert [trace.name for trace in drawn] == ["normal traffic", *ON_TOP]
    for trace in drawn[1:]:
        own = added[added["scenario"] == trace.name]
        counts = bucket[table["scenario"] == trace.name].value_counts()
        assert list(own["timestamp"]) == list(volume["timestamp"])
        assert list(own["count"]) == [counts.get(i, 0) for i in range(len(volume))]
        assert list(trace.y) == list(own["count"])
    assert list(sum(pd.Series(trace.y) for trace in drawn)) == list(volume["count"])
    assert (volume["count"] >= added.groupby("timestamp")["count"].sum().to_numpy()).all()


def test_a_reader_whom_a_scenario_made_is_known_by_it(
    played: tuple[OpenSearch, str, pd.DataFrame],
) -> None:
    """A reader's scenario is the one with most of the reader's events; A/B arms do not count."""
    client, name, table = played
    top = ask(client, name, top=40_000).frames["top-users"]
    found = dict(zip(top["user_id"], top["scenario"], strict=True))
    on_top = table["scenario"].where(table["scenario"].isin(ON_TOP), "")
    shares = pd.crosstab(table["user_id"], on_top, normalize="index")

    assert top.iloc[0]["user_id"] == "reader-bot"
    assert {"", "bot", "breaking-news", "comment-storm"} <= set(found.values()) <= {"", *ON_TOP}
    for user, share in shares.iterrows():
        assert share.max() <= 0.5 or found[user] == share.idxmax(), user
        assert share.max() > 0.5 or found[user] == ""


def test_an_ab_test_equals_a_recount(played: tuple[OpenSearch, str, pd.DataFrame]) -> None:
    """A/B counts equal a recount without the variants of dirty data, and show the lift."""
    client, name, table = played
    answer = ask(client, name)
    grid = answer.frames["ab-test"]
    test = table[table["scenario"] == "ab-test"]
    pairs = test.groupby(["variant", "event_type"]).size().to_dict()
    figure = answer.figures(tz="UTC")["ab-test"]

    assert "late" in set(table["variant"])
    assert list(grid["variant"]) == ["A"] * len(EVENT_TYPES) + ["B"] * len(EVENT_TYPES)
    assert list(grid["event_type"]) == [*EVENT_TYPES] * 2
    assert list(grid["count"]) == [
        pairs.get((arm, event_type), 0) for arm in "AB" for event_type in EVENT_TYPES
    ]
    assert re.search(r"B has \d\.\d likes per 100 views, A \d\.\d<", figure.layout.title.text)


def test_before_any_scenario_the_answer_has_its_shape_without_rows(
    played: tuple[OpenSearch, str, pd.DataFrame],
) -> None:
    """Without scenarios the tables have the same columns and types."""
    client, name, table = played
    busy = ask(client, name).frames
    quiet = ask(client, name, until=table["timestamp"].min() + timedelta(seconds=50))

    assert quiet.total > 100
    for key in ("volume-scenarios", "ab-test"):
        assert quiet.frames[key].empty
        assert quiet.frames[key].dtypes.to_dict() == busy[key].dtypes.to_dict()
    assert set(quiet.frames["top-users"]["scenario"]) == {""}
    assert "ab-test" not in quiet.figures(tz="UTC")
    assert len(quiet.figures(tz="UTC")["volume"].data) == 1


def test_all_the_answers_are_one_search(played: tuple[OpenSearch, str, pd.DataFrame]) -> None:
    """A question with both ends takes one search, as counted by OpenSearch."""
    client, name, table = played
    since = table["timestamp"].min()

    def searches() -> int:
        found = client.indices.stats(index=name, metric="search")
        return int(found["_all"]["primaries"]["search"]["query_total"])

    before = searches()
    ask(client, name, since=since, until=since + timedelta(minutes=7, seconds=3))
    assert searches() == before + 1


def test_the_most_buckets_of_all_scenarios_are_within_opensearch_s_limit(made: Settings) -> None:
    """Ten thousand buckets with the maximum of scenarios stay within OpenSearch's limit."""
    crowd = Simulator(seed=3, start_ms=MONDAY_MS, readers=1_000)
    client, name = opensearch.connect(made.opensearch), made.opensearch.index
    pattern = msgspec.structs.asdict(next(crowd.events()))
    names = [*ON_TOP, "flood"]
    body: list[dict[str, Any]] = []
    for second in range(10_000):
        for number, scenario in enumerate(names):
            own = {"event_id": f"{second}-{number}", "scenario": scenario}
            own["timestamp"] = events.format_timestamp(MONDAY_MS + 1_000 * second)
            document = {key: value for key, value in (pattern | own).items() if value is not None}
            body += [{"create": {"_id": own["event_id"]}}, document]
    assert not client.bulk(index=name, body=body, refresh=True, timeout=60)["errors"]
    window = {"since": MONDAY, "until": MONDAY + timedelta(seconds=10_000)}
    added = ask(client, name, bucket_s=1, **window).frames["volume-scenarios"]

    assert list(added["scenario"].unique()) == names
    assert (added["count"] == 1).all()
    assert len(added) == 50_000


def test_values_that_the_model_does_not_have_are_counted_too(made: Settings) -> None:
    """Values from another version of the kit are counted, without an error."""
    client, name = opensearch.connect(made.opensearch), made.opensearch.index
    sent = list(islice(Simulator(seed=5, start_ms=MONDAY_MS, readers=1_000).events(), 200))
    new = [event for event in sent if event.event_type == "page_view"][:20]
    for event in new:
        event.event_type, event.device_type = "clap", "watch"  # type: ignore[assignment]
        event.article_category = "weather"
    body: list[dict[str, Any]] = []
    for event in sent:
        body += [{"create": {"_id": event.event_id}}, msgspec.to_builtins(event)]
    assert not client.bulk(index=name, body=body, refresh=True)["errors"]
    answer = ask(client, name)
    kinds, grid = answer.frames["event-types"], answer.frames["device-category"]

    assert list(kinds.iloc[-1]) == ["clap", len(new)]
    assert kinds["count"].sum() == answer.total == len(sent)
    assert list(grid.iloc[-1]) == ["watch", "weather", len(new)]
    assert len(grid) == (len(DEVICE_TYPES) + 1) * (len(CATEGORIES) + 1)
    answer.figures(tz="UTC")


@pytest.mark.parametrize(
    ("times", "bucket_days", "left_out"),
    [
        (["1970-01-01T00:00:00.000Z"], 365, 0),
        (["2022-01-01T00:00:00.000Z"], 30, 0),
        (["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"], 365_000, 0),
        (["-0001-01-01T00:00:00.0Z", "+292278994-01-01T00:00:00Z"], 365_000, 2),
    ],
)
def test_any_time_in_the_index_is_drawn_or_said_to_be_left_out(
    made: Settings, times: list[str], bucket_days: int, left_out: int
) -> None:
    """Buckets widen up to a thousand years; the answer counts the events beyond the calendar."""
    client, name = opensearch.connect(made.opensearch), made.opensearch.index
    event = msgspec.to_builtins(Simulator(seed=5, start_ms=MONDAY_MS).take())
    times = [*times, "2026-11-29T10:00:00.000Z"]
    for timestamp in times:
        body = event | {"event_id": timestamp, "timestamp": timestamp}
        client.create(index=name, id=timestamp, body=body, refresh=True)
    answer = ask(client, name)

    assert (answer.total, answer.left_out) == (len(times) - left_out, left_out)
    assert answer.frames["volume"]["count"].sum() == answer.total
    assert answer.bucket_s == bucket_days * 86_400
    assert len(answer.frames["volume"]) <= search.MOST_BUCKETS
    said = f"{left_out} event{'s' if left_out > 1 else ''} before the year 1 or after 9999 left out"
    for tz in ("Pacific/Auckland", "America/Los_Angeles"):
        title = answer.figures(tz=tz)["volume"].layout.title.text
        drawn = title.replace("<br>", " ")  # where a long line is wrapped
        assert (said in drawn) == (said in str(answer)) == bool(left_out)
    if "9999-12-31T23:59:59.999Z" in times:
        last = ask(client, name, since=events.moment(events.LAST_MS), until=answer.until)
        assert "1 event," in last.figures(tz="Asia/Tokyo")["volume"].layout.title.text
    assert index.newest(client, name).documents == len(times)


def test_no_bucket_is_a_part_of_one_where_the_window_holds_whole_ones(
    site: tuple[OpenSearch, str, pd.DataFrame],
) -> None:
    """Buckets start at `since`, so that no partial bucket looks like a drop."""
    client, name, _ = site
    since = MONDAY + timedelta(hours=10, minutes=0, seconds=13)
    window = {"since": since, "until": since + timedelta(hours=3)}
    counts = ask(client, name, bucket_s=3_600, **window).frames["volume"]["count"]

    assert len(counts) == 3
    assert counts.min() > 0.7 * counts.max()


def test_a_window_from_the_oldest_on_begins_with_its_bucket(
    site: tuple[OpenSearch, str, pd.DataFrame],
) -> None:
    """The default buckets are at most a hundred and cover all events."""
    client, name, table = site
    for bucket_s in (None, 3_600, 10_800):
        answer = ask(client, name, bucket_s=bucket_s)
        width = timedelta(seconds=answer.bucket_s)
        assert answer.since <= table["timestamp"].min() < answer.since + width
        assert (answer.since - MONDAY) % width == timedelta(0)
        assert answer.total == len(table)
        assert len(answer.frames["volume"]) <= search.MOST_BUCKETS


def test_every_bucket_is_there_even_if_nothing_happened_in_it(
    site: tuple[OpenSearch, str, pd.DataFrame],
) -> None:
    """Every bucket of the window exists, with 0 where nothing happened."""
    client, name, _ = site
    since, until = MONDAY, MONDAY + timedelta(hours=12)
    volume = ask(client, name, since=since, until=until, bucket_s=3_600).frames["volume"]

    assert len(volume) == 12
    assert list(volume["count"][:8]) == [0] * 8
    assert (volume["count"][8:] > 0).all()


def test_a_quiet_window_gives_empty_frames_of_the_same_shape(
    site: tuple[OpenSearch, str, pd.DataFrame],
) -> None:
    """An empty window gives tables with the same columns and types."""
    client, name, _ = site
    busy = ask(client, name).frames
    quiet = ask(client, name, since=MONDAY - timedelta(hours=2), until=MONDAY - timedelta(hours=1))

    assert quiet.total == 0
    for key, frame in quiet.frames.items():
        assert frame.dtypes.to_dict() == busy[key].dtypes.to_dict()
        assert frame["count"].sum() == 0
    quiet.figures(tz="UTC")


@pytest.mark.parametrize(
    "question",
    [
        {"since": MONDAY + timedelta(days=3)},
        {"until": MONDAY - timedelta(days=3)},
        {"since": MONDAY + timedelta(days=3), "bucket_s": 10_800},
    ],
    ids=str,
)
def test_a_window_beyond_all_events_is_empty_and_no_error(
    site: tuple[OpenSearch, str, pd.DataFrame], question: dict[str, Any]
) -> None:
    """A window beyond all events is one hour long."""
    client, name, _ = site
    answer = ask(client, name, **question)

    assert answer.total == 0
    assert answer.until > answer.since
    figures = answer.figures(tz="UTC")
    assert all("nothing yet" in figure.layout.title.text for figure in figures.values())


def test_an_index_without_documents_can_be_asked(made: Settings) -> None:
    """An index without documents gives empty charts."""
    client, name = opensearch.connect(made.opensearch), made.opensearch.index
    answer = ask(client, name)

    assert answer.total == 0
    figures = answer.figures(tz="UTC")
    assert all("nothing yet" in figure.layout.title.text for figure in figures.values())


def test_a_missing_index_is_told_in_one_line(fresh: Settings) -> None:
    """A missing index is a one-line error with the command that creates it."""
    client = opensearch.connect(fresh.opensearch)
    with raises_shown(ConfigError, match=r"no such index; `\S*clickstream consume` creates it"):
        ask(client, fresh.opensearch.index)


def test_a_server_that_is_not_there_is_told_in_one_line() -> None:
    """An unreachable server is a one-line error with the command that starts it."""
    client = opensearch.connect(OpenSearchSettings("http://127.0.0.1:9", timeout_s=2))
    with raises_shown(ServerError, match=r"check`; `\S*clickstream up` starts local servers"):
        ask(client, "clickstream-events")


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ({"since": MONDAY, "until": MONDAY}, "must end after it begins"),
        ({"since": MONDAY.replace(tzinfo=None)}, r"since=datetime.*: it must be a datetime with a"),
        ({"until": "2026-01-05"}, r"until='2026-01-05': it must be a datetime with a time zone"),
        ({"top": 0}, "top=0: it must be a whole number, 1 or more"),
        ({"top": 2.5}, r"top=2\.5: it must be a whole number"),
        ({"bucket_s": 0}, "bucket_s=0: it must be a whole number, 1 or more"),
        ({"bucket_s": "1h"}, "bucket_s='1h': it must be a whole number"),
        (
            {"category": "sport"},
            "category='sport': it must be one of politics, tech, sports, health, ent",
        ),
        ({"device": "phone"}, "device='phone': it must be one of mobile, desktop, tablet"),
        ({"since": MONDAY, "until": MONDAY + timedelta(days=9), "bucket_s": 1}, "at most 10,000"),
    ],
    ids=str,
)
def test_a_question_without_sense_is_refused(
    site: tuple[OpenSearch, str, pd.DataFrame], question: dict[str, Any], why: str
) -> None:
    """An invalid question is refused before any search."""
    client, name, _ = site
    with pytest.raises(ConfigError, match=why):
        ask(client, name, **question)


def test_counts_stay_exact_with_far_more_readers_than_asked_for(made: Settings) -> None:
    """The top five of thousands of readers have exact counts."""
    crowd = Simulator(seed=2, start_ms=MONDAY_MS, readers=8_000)
    sent = list(islice(crowd.events(), 30_000))
    producer.send(made.kafka, sent)
    consumer.index_topic(made, until_caught_up=True)
    client = opensearch.connect(made.opensearch)
    index.refresh(client, made.opensearch.index)
    answer = ask(client, made.opensearch.index, top=5)

    assert answer.count_error == 0
    counts = pd.Series([event.user_id for event in sent]).value_counts()
    assert list(answer.frames["top-users"]["count"]) == list(counts[:5])
