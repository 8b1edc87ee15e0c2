"""The live pipeline: readers, consumer, and their counts."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from clickstream import consumer, events
from clickstream.demo.demo import Demo
from clickstream.errors import EventError, ServerError
from clickstream.kafka import dead_letters, messages, topics
from clickstream.kafka.admin import Admin
from clickstream.kafka.offsets import Partition
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.settings import Settings
from clickstream.widgets import live_pipeline, pipeline_view
from clickstream.widgets.control_room import ControlRoom
from clickstream.widgets.live_pipeline import LivePipeline, Snapshot
from tests.support.by_id import send, stored, wait_until
from tests.support.errors import raises_shown
from tests.support.faults import FaultProxy, LoseAnswer, RejectItems
from tests.widgets.conftest import at_rest, find_button, threads


def all_is_counted(found: Snapshot) -> bool:
    """Whether every message counts as waiting or as indexed."""
    return found.lag >= found.in_kafka - found.indexed


def assert_adds_up(found: Snapshot) -> None:
    """Check the numbers against the flow, from left to right."""
    outcomes = found.indexed + found.repeats + found.dead_letters
    sources = found.there_before + found.of_these_produced + found.by_others
    assert found.produced >= found.of_these_produced >= 0, found
    assert found.in_kafka == sources, found
    assert found.in_kafka >= outcomes, found
    assert found.in_kafka <= found.lag + outcomes, found


def totals(pipeline: LivePipeline) -> list[str]:
    """The number of events in the titles of two charts of one search."""
    charts = pipeline.charts
    titles = (charts[name].layout.title.text for name in ("volume", "event-types"))
    return re.findall(r"([\d,]+) events", " ".join(titles))


def looks(pipeline: LivePipeline, times: int) -> Iterator[Snapshot]:
    """Take snapshots, twenty per second."""
    for _ in range(times):
        yield pipeline.snapshot()
        time.sleep(0.05)


def test_after_stop_all_numbers_agree(shared: LivePipeline, shared_settings: Settings) -> None:
    """After a stop, produced, in Kafka and indexed agree, and no worker is left."""
    shared.start()
    before = shared.snapshot().indexed
    wait_until(lambda: shared.snapshot().indexed > before + 300, 20)
    for _ in range(20):
        running = shared.snapshot()
        assert_adds_up(running)
        time.sleep(0.05)
    wait_until(lambda: len(totals(shared)) == 2, 10)  # the charts are a second or two behind
    while_running = totals(shared)
    started_s = time.monotonic()
    shared.stop()
    took_s = time.monotonic() - started_s
    found = shared.snapshot()

    assert running.is_running
    assert running.latency_ms is not None
    assert took_s < 4, "twice the promise"
    assert threads() == []
    assert found.produced == found.in_kafka == found.indexed == stored(shared_settings) > 300
    assert found.per_second == 0
    assert (found.is_running, found.lag, found.trouble) == (False, 0, "")
    for one, other in (while_running, totals(shared)):
        assert one == other, "charts of one search show different events"


def painted(found: Snapshot) -> dict[str, int]:
    """The numbers and the parts as the room shows them."""
    shown = pipeline_view.state(found)
    parts = re.findall(r"([\d,]+) (there before|produced here|by others)", shown["sources"])
    texts = shown["numbers"] | {name: count for count, name in parts}
    return {
        name: int(text.replace(",", ""))
        for name, text in texts.items()
        if text.replace(",", "").isdecimal()
    }


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_a_thousand_paints_add_up_under_dirty_data(made: Settings) -> None:
    """At 5,000 events per second with dirty data, each paint adds up, and the end is exact."""
    send(made, 300)
    pipeline = LivePipeline(
        Demo(made), events_per_second=5_000, past_s=0, catch_up_s=200.0, count_every_s=0.005
    )
    seen: list[Snapshot] = []
    try:
        pipeline.start()
        pipeline.toggle("dirty-data")
        ends_s = time.monotonic() + 200
        while len(seen) < 1_000 and time.monotonic() < ends_s:
            found = replace(pipeline.snapshot(), is_running=True, per_second=0, latency_ms=None)
            if found not in seen[-1:]:
                seen.append(found)
                shown = painted(found)
                in_kafka = shown["in Kafka"]
                assert shown["produced"] >= shown["produced here"]
                assert in_kafka == sum(
                    shown[part] for part in ("there before", "produced here", "by others")
                )
                assert in_kafka >= shown["indexed"] + shown["repeats"] + shown["dead letters"]
                assert_adds_up(found)
            if len(seen) == 500:
                send(made, 200, seed=5)
            time.sleep(0.001)
        pipeline.stop()
        found = pipeline.snapshot()
    finally:
        pipeline.close()

    assert len(seen) == 1_000
    assert (found.trouble, found.lag) == ("", 0)
    valid, num_invalid = [], 0
    for message in messages.read_raw(made.kafka):
        try:
            valid.append(events.decode(message.value() or b"").event_id)
        except EventError:
            num_invalid += 1
    assert found.repeats == len(valid) - len(set(valid)) > 100
    assert found.dead_letters == num_invalid > 20
    assert found.in_kafka == found.indexed + found.repeats + found.dead_letters
    assert (found.there_before, found.by_others) == (300, 200)
    assert found.of_these_produced == found.produced
    overview = Demo(made).overview()
    assert (overview.messages, overview.documents) == (found.in_kafka, found.indexed)
    assert (overview.dead_letters, overview.repeats) == (found.dead_letters, found.repeats)
    assert len(dead_letters.read(made.kafka)) == found.dead_letters


def test_documents_whose_answer_was_lost_are_no_repeats(made: Settings) -> None:
    """A document that is refused because its first answer was lost is no repeat."""
    with FaultProxy(made.opensearch.url) as proxy:
        target = replace(made, opensearch=replace(made.opensearch, url=proxy.url))
        pipeline = at_rest(target)
        try:
            pipeline.start()
            wait_until(lambda: pipeline.snapshot().indexed > 100, 20)
            proxy.fault = LoseAnswer()
            wait_until(lambda: proxy.counts.answers_lost > 0, 30)
            proxy.fault = None
            wait_until(lambda: pipeline._index_reports[-1].replayed > 0, 30)
            pipeline.stop()
            found = pipeline.snapshot()
        finally:
            pipeline.close()

    assert_adds_up(found)
    assert (found.repeats, found.lag) == (0, 0)
    assert found.in_kafka == found.produced == found.indexed == stored(made)


def test_a_few_messages_are_no_growing_lag(pipeline: LivePipeline) -> None:
    """Where a message comes every few seconds, one that waits for a second is no trouble."""
    looks = [pipeline._lane(Partition(9, 0, 9, 9 - unread, unread), unread) for unread in (0, 7)]
    assert not any(each.is_lag_growing for each in looks)


@pytest.mark.timed
def test_another_rate_is_measured_within_a_second(shared: LivePipeline) -> None:
    """A new rate is measured within a second, up and down (best of three attempts)."""
    shared.start()
    wait_until(lambda: shared.snapshot().per_second > 100, 10)
    took_s: list[float] = []
    for _ in range(3):
        shared.events_per_second = 2_000
        started_s = time.monotonic()
        wait_until(lambda: shared.snapshot().per_second > 1_400, 20)
        took_s.append(time.monotonic() - started_s)
        shared.events_per_second = 200
        started_s = time.monotonic()
        wait_until(lambda: shared.snapshot().per_second < 400, 20)
        took_s.append(time.monotonic() - started_s)
    assert max(min(took_s[::2]), min(took_s[1::2])) < 2, took_s
    assert shared.speed == pytest.approx(10, rel=0.2)
    shared.stop()


def test_readers_go_on_after_a_stop(shared: LivePipeline, shared_settings: Settings) -> None:
    """After a stop and a start, sessions and counts continue."""
    shared.start()
    before = shared.snapshot().produced
    wait_until(lambda: shared.snapshot().produced > before + 200, 10)
    shared.stop()
    before = shared.snapshot().produced
    shared.start()
    wait_until(lambda: shared.snapshot().produced > before + 200, 10)
    shared.stop()

    last_seen: dict[str, int] = {}
    found = [events.decode(each.value or b"") for each in messages.read(shared_settings.kafka)]
    for event in sorted(found, key=lambda each: each.event_id):
        assert event.session_seq == last_seen.get(event.session_id, -1) + 1
        last_seen[event.session_id] = event.session_seq
    assert len(found) == shared.snapshot().produced


def test_reset_empties_all_and_may_be_repeated(pipeline: LivePipeline, made: Settings) -> None:
    """Reset during traffic empties everything; afterwards the counts are those of the new topic."""
    pipeline.start()
    wait_until(lambda: bool(pipeline.charts) and pipeline.snapshot().indexed > 300, 20)
    for _ in range(2):
        started_s = time.monotonic()
        pipeline.reset()
        assert time.monotonic() - started_s < 20, "twice the promise"
    wait_until(lambda: bool(pipeline.charts), 10)
    found = pipeline.snapshot()

    assert (found.produced, found.in_kafka, found.indexed, found.dead_letters) == (0, 0, 0, 0)
    assert stored(made) == 0
    assert not found.is_running
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 100, 20)


def test_made_once_more_it_replaces_the_first(pipeline: LivePipeline, made: Settings) -> None:
    """A second pipeline replaces the first, so there is one of each worker."""
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().produced > 100, 10)
    other = LivePipeline(Demo(made), events_per_second=200, past_s=0)
    other.start()
    try:
        time.sleep(1)
        assert threads() == ["charts", "consumer", "offsets", "producer"]
        assert not pipeline.snapshot().produced > other.snapshot().in_kafka
    finally:
        other.close()


@pytest.mark.slow
def test_a_consumer_that_gets_nothing_stored_is_told_though_nothing_fails(made: Settings) -> None:
    """A consumer whose documents are all rejected is reported, although nothing failed."""
    with FaultProxy(made.opensearch.url) as proxy:
        target = replace(made, opensearch=replace(made.opensearch, url=proxy.url))
        pipeline = LivePipeline(Demo(target), events_per_second=200, past_s=0)
        try:
            pipeline.start()
            wait_until(lambda: pipeline.snapshot().indexed > 100, 20)
            proxy.fault = RejectItems(share=1.0)
            wait_until(lambda: "nothing was indexed for" in pipeline.snapshot().trouble, 30)
            assert "_exception: rejected by the fault proxy" in pipeline.snapshot().trouble
            assert pipeline.snapshot().lag > 500
            proxy.fault = None
            wait_until(
                lambda: not pipeline.snapshot().trouble and pipeline.snapshot().lag < 100, 30
            )
        finally:
            pipeline.close()
    assert stored(made) > 500


def test_readers_stop_where_a_laptop_has_enough(made: Settings) -> None:
    """Readers stop at `max_messages` with a remedy; after a reset they run again."""
    pipeline = at_rest(made, max_messages=400)
    try:
        pipeline.start()
        wait_until(lambda: not pipeline.snapshot().is_running, 20)
        assert "press Reset" in pipeline.snapshot().trouble
        wait_until(lambda: pipeline.snapshot().indexed == pipeline.snapshot().in_kafka, 20)
        assert 400 < pipeline.snapshot().in_kafka < 2_000
        pipeline.reset()
        pipeline.start()
        wait_until(lambda: pipeline.snapshot().indexed > 100, 20)
        assert pipeline.snapshot().trouble == ""
    finally:
        pipeline.close()
    assert threads() == []


@pytest.mark.slow
def test_reactions_and_scenarios_act_at_once(pipeline: LivePipeline, made: Settings) -> None:
    """Reactions and scenarios take effect at once, and end at once."""
    pipeline.events_per_second = 2_000
    pipeline.start()
    time.sleep(4)
    pipeline.reactions = 5.0
    pipeline.toggle("bot")
    playing = pipeline.playing
    turned_ms = time.time() * 1000
    time.sleep(5)
    pipeline.toggle("bot")
    pipeline.stop()

    kinds: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for each in messages.read(made.kafka):
        event = events.decode(each.value or b"")
        kinds[each.timestamp.timestamp() * 1000 > turned_ms + 1_000][event.event_type] += 1
    shares = [
        (found["like"] + found["comment"] + found["share"]) / found.total() for found in kinds
    ]
    assert shares[1] > 2 * shares[0]
    assert set(playing) == {"engagement", "bot"}
    assert "bot" not in pipeline.playing


@pytest.mark.slow
def test_others_may_index_at_the_same_time(pipeline: LivePipeline, made: Settings) -> None:
    """Another consumer is reported and counted, and a reset is refused meanwhile."""
    stop = threading.Event()
    other = threading.Thread(target=consumer.index_topic, args=(made,), kwargs={"stop": stop})
    other.start()
    try:
        wait_until(lambda: topics.consumers(made.kafka) == 1, 10)
        pipeline.start()
        assert pipeline.other_consumers == 1
        wait_until(lambda: topics.consumers(made.kafka) == 2, 10)
        wait_until(lambda: pipeline.snapshot().in_kafka > 2_000, 30)
        # Half of them are the other's; all of them are counted.
        wait_until(lambda: pipeline.snapshot().indexed > pipeline.snapshot().in_kafka - 700, 10)
    finally:
        stop.set()
        other.join()
    # Look by look it comes closer, the sooner the less is on its way; and then it stays.
    pipeline.events_per_second = 2
    wait_until(lambda: all_is_counted(pipeline.snapshot()), 30)
    pipeline.events_per_second = 200
    wait_until(lambda: all(all_is_counted(each) for each in looks(pipeline, 20)), 30)
    with raises_shown(ServerError, match=r"nothing was deleted; stop that consumer"):
        Demo(made).reset(yes=True)
    pipeline.stop()
    found = pipeline.snapshot()
    assert found.in_kafka == found.indexed == stored(made)
    assert (found.lag, found.trouble) == (0, "")


def test_a_reset_elsewhere_at_rest_is_seen_at_the_next_start(
    pipeline: LivePipeline, made: Settings
) -> None:
    """After an outside reset, all counts and the lag are those of the new topic."""
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 500, 20)
    pipeline.stop()
    Demo(made).reset(yes=True)
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 100, 20)
    found = pipeline.snapshot()
    assert_adds_up(found)
    pipeline.stop()
    found = pipeline.snapshot()
    assert found.produced == found.in_kafka == found.indexed == stored(made)


def test_a_topic_and_an_index_that_are_deleted_meanwhile_are_told(
    pipeline: LivePipeline, made: Settings
) -> None:
    """A deleted topic or index is reported with a remedy, after which everything works."""
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 300, 20)
    Admin(made.kafka).ask("deleting", lambda client: client.delete_topics([made.kafka.topic]))
    index.delete(opensearch.connect(made.opensearch), made.opensearch.index)
    wait_until(lambda: "; Reset creates both again" in pipeline.snapshot().trouble, 20)
    assert "\n" not in pipeline.snapshot().trouble
    assert pipeline.snapshot().is_running
    pipeline.reset()
    assert pipeline.snapshot().trouble == ""
    pipeline.start()
    wait_until(lambda: pipeline.snapshot().indexed > 100, 20)


def test_the_room_says_empty_when_its_numbers_are(made: Settings) -> None:
    """The room says "empty" only when its numbers are 0."""
    # Nothing is painted in between that would bring the numbers.
    room = ControlRoom(Demo(made), events_per_second=200, paint_every_s=3.0)
    strip, view = room._status, room._pipeline_view
    shown: list[tuple[str, str]] = []
    strip.observe(lambda change: shown.append((change.new, view._state)), "value")
    try:
        room.start()
        wait_until(lambda: re.search(r'"indexed": "[1-9]', view._state) is not None, 15)
        find_button(room, "Reset").click()
        wait_until(lambda: "are empty" in strip.value, 15)
    finally:
        room.close()
    said, beside = shown[-1]
    assert "are empty" in said
    numbers = json.loads(beside)["numbers"]
    assert (numbers["in Kafka"], numbers["indexed"]) == ("0", "0")
    assert threads() == []


def test_on_a_hosted_target_start_over_asks_for_a_second_press(made: Settings) -> None:
    """The first press deletes nothing; the second one empties everything and starts anew."""
    kafka, search = (replace(each, is_hosted=True) for each in (made.kafka, made.opensearch))
    send(made, 100)
    Demo(made).consume()
    room = ControlRoom(Demo(replace(made, kafka=kafka, opensearch=search)))
    strip = room._status
    try:
        find_button(room, "Start over").click()
        wait_until(lambda: "press it again within 10 s" in strip.value, 15)
        assert stored(made) == room.pipeline.snapshot().in_kafka == 100
        find_button(room, "Start over").click()
        wait_until(lambda: "Running: " in strip.value and "were sent first" in strip.value, 30)
        assert room.pipeline.snapshot().there_before == 0
        room.stop()
    finally:
        room.close()


@pytest.mark.slow
def test_the_room_shows_an_ab_test_until_its_window_has_passed(
    made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chart of an A/B test takes the place of the top readers while it has events."""
    eight_seconds = 8 / 60
    monkeypatch.setitem(live_pipeline.BUCKETS_S, eight_seconds, 2)
    room = ControlRoom(Demo(made), events_per_second=200)
    room.pipeline.window_minutes = eight_seconds
    chart, button = room._charts["ab-test"], find_button(room, "A/B test")
    try:
        room.start()
        wait_until(lambda: room.pipeline.snapshot().indexed > 200, 20)
        assert chart.layout.display == "none"
        button.click()
        wait_until(lambda: chart.layout.display is None, 20)
        assert "arm A" in chart._figure
        wait_until(lambda: room._charts["top-users"].layout.display == "none", 5)
        button.click()
        wait_until(lambda: "A/B test has ended." in room._status.value, 10)
        assert chart.layout.display is None
        wait_until(lambda: chart.layout.display == "none", 30)
    finally:
        room.close()
    assert threads() == []


@pytest.mark.slow
def test_the_room_says_when_a_scenario_has_ended_by_itself(made: Settings) -> None:
    """The line about a scenario disappears at its end; any other line stays."""
    room = ControlRoom(Demo(made), events_per_second=200)
    strip = room._status
    try:
        room.start()
        find_button(room, "Logout wave").click()
        wait_until(lambda: "Watch event types: a burst of logout" in strip.value, 15)
        wait_until(lambda: "Logout wave has ended" in strip.value, 60)
        assert room.pipeline.playing == ()
    finally:
        room.close()
    assert threads() == []
