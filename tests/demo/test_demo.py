"""The methods of `Demo`, each called twice, on real servers."""

import json
import math
import subprocess
import sys
import threading
import time
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest

from clickstream import consumer, events, producer
from clickstream.demo import history
from clickstream.demo.demo import Demo
from clickstream.demo.round_trip import make_round_trip
from clickstream.errors import ConfigError, ServerError
from clickstream.kafka import messages, offsets, topics
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.settings import OpenSearchSettings, Settings
from clickstream.simulation.simulator import Simulator
from clickstream.widgets.control_room import ControlRoom
from tests.support.errors import raises_shown


def test_a_round_trip_proves_itself_and_leaves_nothing(made: Settings) -> None:
    """A round trip finds every event by id, and deletes its topic and index."""
    round_trip = Demo(made).round_trip(2_000)

    assert round_trip.events == 2_000
    assert "round trip of 2,000 events through topic" in str(round_trip)
    listed = opensearch.connect(made.opensearch).cat.indices(format="json")
    assert [each for each in listed if f"{made.opensearch.index}-roundtrip" in each["index"]] == []
    assert Demo(made).overview().messages == 0


def test_a_round_trip_of_which_nothing_comes_back_is_no_proof(fresh: Settings) -> None:
    """A failed round trip says how many events are missing, and where to look."""
    topics.ensure_topics(fresh.kafka)
    client, name = opensearch.connect(fresh.opensearch), fresh.opensearch.index
    client.indices.create(index=name, body={"mappings": {"dynamic": "strict", "properties": {}}})
    with raises_shown(ServerError, match=r"10 events sent, 0 documents found, 10 ids missing; "):
        make_round_trip(fresh, 10)


def test_reset_empties_everything_and_only_when_told(made: Settings) -> None:
    """Reset empties topic, dead letters, offsets and index; everything still works."""
    kit = Demo(made)
    for _ in range(2):
        kit.produce(300, events_per_second=math.inf)
        kit.consume()
        assert "nothing deleted" in kit.reset()
        assert kit.documents() == 300
        assert "deleted and created again" in kit.reset(yes=True)
        found = kit.overview()
        assert (found.messages, found.lag, found.documents, found.newest) == (0, 0, 0, None)


def test_reset_deletes_nothing_if_the_index_would_come_back_unfit(made: Settings) -> None:
    """An index template that overrides ours is found before anything is deleted."""
    kit, name = Demo(made), made.opensearch.index
    kit.produce(10, events_per_second=math.inf)
    kit.consume()
    client, other = opensearch.connect(made.opensearch), f"other-{name[-8:]}"
    stream = {"timestamp_field": {"name": "timestamp"}}
    body = {"index_patterns": [f"*{name[-8:]}"], "priority": 900, "data_stream": stream}
    client.indices.put_index_template(name=other, body=body)
    try:
        with raises_shown(ConfigError, match=rf"template '{other}' of priority 900 overrides"):
            kit.reset(yes=True)
        found = kit.overview()
        assert (found.messages, found.documents) == (10, 10)
    finally:
        index.delete(client, name)
        client.indices.delete_index_template(name=other)


@pytest.mark.timed
@pytest.mark.timeout(180)
def test_history_is_loaded_once_and_only_what_is_missing_is_added(made: Settings) -> None:
    """History loads 100,000 events of 48 hours once, and later only missing events."""
    kit = Demo(made)
    first = kit.load_history()
    again = kit.load_history()

    assert first.added == first.events == kit.documents()
    assert first.events == pytest.approx(history.EVENTS, rel=0.05)
    assert first.seconds < 20
    assert again.added == 0
    assert (again.since, again.until) == (first.since, first.until)

    client = opensearch.connect(made.opensearch)
    assert kit.history_window() == (first.since, first.until)
    lost = sorted(index.ids(client, made.opensearch.index))[:100]  # the oldest
    client.delete_by_query(
        index=made.opensearch.index,
        body={"query": {"ids": {"values": lost}}},
        params={"refresh": "true"},
    )
    assert kit.load_history().added == 100
    assert kit.documents() == first.events


@pytest.fixture
def small_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller history, for tests where the size does not matter."""
    monkeypatch.setattr(history, "EVENTS", 10_000)


@pytest.mark.usefixtures("small_history")
def test_live_events_stay_out_of_the_history(made: Settings) -> None:
    """History ends with the last full hour, before live events."""
    kit = Demo(made)
    kit.produce(200, events_per_second=math.inf)
    kit.consume()
    assert kit.history_window() is None
    loaded = kit.load_history()
    answer = kit.ask(since=loaded.since, until=loaded.until)
    assert answer.total == loaded.events
    assert kit.documents() == loaded.events + 200


@pytest.mark.usefixtures("small_history")
def test_history_ends_before_the_first_live_event(made: Settings) -> None:
    """History ends before existing live events, also on later calls."""
    kit = Demo(made)
    now_ms = int(time.time() * 1000)
    crowd = Simulator(seed=99, start_ms=now_ms - 3 * 3_600_000)
    burst = list(islice(crowd.events(), 300))
    producer.send(made.kafka, burst)
    first, again = kit.load_history(), kit.load_history()
    answer = kit.ask(since=first.since, until=first.until)

    assert events.format_timestamp(round(first.until.timestamp() * 1000)) <= burst[0].timestamp
    assert first.until - first.since == timedelta(hours=history.HOURS)
    assert (again.since, again.until, again.added) == (first.since, first.until, 0)
    assert answer.total == first.events == kit.documents() - 300


@pytest.mark.usefixtures("small_history")
def test_older_events_that_come_later_change_no_history(made: Settings) -> None:
    """Older events that arrive later do not cause a second load."""
    kit = Demo(made)
    first = kit.load_history()
    start_ms = int(time.time() * 1000) - 6 * 86_400_000
    producer.send(made.kafka, islice(Simulator(seed=99, start_ms=start_ms).events(), 50))
    again = kit.load_history()

    assert (again.since, again.until, again.added) == (first.since, first.until, 0)
    assert kit.documents() == first.events + 50


def test_the_same_readers_go_on_from_cell_to_cell(made: Settings) -> None:
    """Sessions continue from one `produce` call to the next without a gap."""
    kit = Demo(made)
    kit.produce(1_500, events_per_second=math.inf)
    cut = events.format_timestamp(int(time.time() * 1000))
    kit.produce(1_500, events_per_second=math.inf)
    sessions: dict[str, list[events.Event]] = {}
    for message in messages.read(made.kafka):
        event = events.decode(message.value or b"")
        sessions.setdefault(event.session_id, []).append(event)

    assert all(
        sorted(event.session_seq for event in session) == list(range(len(session)))
        for session in sessions.values()
    )
    times = [sorted(event.timestamp for event in session) for session in sessions.values()]
    assert sum(each[0] < cut < each[-1] for each in times) > 100


def test_a_replay_may_be_limited_to_the_newest(made: Settings) -> None:
    """A replay can be limited to the newest messages, and creates no duplicates."""
    kit = Demo(made)
    kit.produce(3_000, events_per_second=math.inf)
    kit.consume()
    again = kit.replay(900)

    assert (again.stored, again.replayed) == (0, 900)
    assert kit.documents() == 3_000
    assert kit.lag() == 0


def test_reset_beside_a_running_consumer_deletes_nothing(
    made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reset is refused while a consumer reads, and works after it has stopped."""
    monkeypatch.setattr(topics, "_MEMBERS_GONE_S", 1.0)
    kit = Demo(made)
    kit.produce(300, events_per_second=math.inf)
    stop, is_reading = threading.Event(), threading.Event()
    worker = threading.Thread(
        target=lambda: consumer.index_topic(
            made, stop=stop, on_bulk=lambda report: is_reading.set()
        )
    )
    worker.start()
    assert is_reading.wait(30)
    try:
        with pytest.raises(ServerError, match=r"a consumer is still reading.*nothing was deleted"):
            kit.reset(yes=True)
        assert kit.overview().messages == kit.documents() == 300
    finally:
        stop.set()
        worker.join()
    assert "deleted and created again" in kit.reset(yes=True)
    assert kit.overview().messages == kit.documents() == 0


def test_a_cell_never_waits_long_for_a_server_that_is_away(made: Settings) -> None:
    """Without OpenSearch, consume and replay fail at once in one line."""
    away = Settings(made.kafka, OpenSearchSettings("http://127.0.0.1:9", timeout_s=1))
    for verb in (Demo(away).consume, Demo(away).replay):
        with pytest.raises(ServerError, match="OpenSearch did not answer"):
            verb()


def test_what_was_just_indexed_is_counted_at_once(made: Settings) -> None:
    """Documents count at once after indexing, without waiting for a refresh."""
    kit = Demo(made)
    kit.produce(5_000, events_per_second=math.inf)
    kit.consume()
    assert kit.overview().documents == 5_000


def test_produce_without_an_end_is_refused(made: Settings) -> None:
    """A cell that never ends would be the end of the demo."""
    with raises_shown(ConfigError, match="pass num_events or duration_s"):
        Demo(made).produce()


@pytest.mark.parametrize("number", [math.nan, math.inf, 1.5, -1, 0])
def test_a_number_that_no_cell_can_use_is_refused(settings: Settings, number: Any) -> None:
    """NaN, infinity, fractions and numbers below 1 are refused where a count is expected."""
    kit = Demo(settings)
    for count in (kit.peek, kit.replay, kit.round_trip, kit.produce):
        with pytest.raises(ConfigError, match="the number must be 1 or more, and whole"):
            count(number)
    with pytest.raises(ConfigError, match="it must be one of 1, 2, 5, 10, 20"):
        ControlRoom(kit, events_per_second=number)


def test_peek_shows_the_newest_messages(made: Settings) -> None:
    """`peek` returns the newest messages, oldest first."""
    kit = Demo(made)
    kit.produce(50, events_per_second=math.inf)
    newest = kit.peek(5)
    assert len(newest) == 5
    assert [message.timestamp for message in newest] == sorted(m.timestamp for m in newest)
    assert all(events.decode(m.value or b"").user_id == m.key for m in newest)


def test_status_says_how_much_lies_where(settings: Settings) -> None:
    """As JSON for scripts, with names that stay."""
    Demo(settings).ensure()
    done = subprocess.run(
        [sys.executable, "-m", "clickstream", "status", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    facts = json.loads(done.stdout)
    assert facts["target"] == "local"
    assert facts["kafka"]["bootstrap_servers"] == settings.kafka.bootstrap_servers
    assert facts["opensearch"]["url"] == settings.opensearch.url
    assert (facts["topic"], facts["index"]) == ("clickstream-events", "clickstream-events")
    for count in ("messages", "documents", "dead_letters", "lag"):
        assert facts[count] >= 0


@pytest.mark.timed
def test_looking_takes_no_time_to_speak_of(made: Settings) -> None:
    """Read-only methods answer within a second or two."""
    kit = Demo(made)
    kit.overview()
    started_s = time.monotonic()
    kit.overview()
    kit.partitions()
    assert time.monotonic() - started_s < 2
    assert sum(each.lag for each in kit.partitions()) == offsets.count(made.kafka) == 0
