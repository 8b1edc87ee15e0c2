"""Dead letters on real servers: shown, repaired, sent again, and stored once."""

import json
import os
import subprocess
from itertools import islice

import pytest
from confluent_kafka import Producer

from clickstream import consumer, events, producer
from clickstream.demo.dead_letter_replay import ReplayReport, replay_dead_letters
from clickstream.demo.demo import Demo
from clickstream.errors import EventError
from clickstream.kafka import dead_letters, messages, offsets, topics
from clickstream.kafka.dead_letters import DeadLetter, Place
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator
from clickstream.widgets.live_pipeline import LivePipeline
from tests.support import terminal
from tests.support.by_id import MONDAY_MS, namespace, send_raw, stored_ids

CROWD = list(islice(Simulator(seed=3, start_ms=MONDAY_MS).events(), 220))
GOOD, OTHERS = CROWD[:200], CROWD[200:]
NEVER = {"session_seq": 2**31}
"""Passes the type check; only OpenSearch refuses a number beyond the field's integer."""


def poison(event: events.Event, **broken: object) -> bytes:
    """The bytes of an event with invalid fields."""
    return json.dumps(json.loads(events.encode(event)) | broken).encode()


def clickstream(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as in a terminal with 100 columns."""
    return terminal.clickstream(os.environ | {"COLUMNS": "100"}, *arguments)


@pytest.fixture
def default(made: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The names that the command takes from the environment."""
    monkeypatch.setenv("CLICKSTREAM_NAMESPACE", namespace(made))
    return made


def consume(made: Settings) -> tuple[int, int, int]:
    """Index unread messages; return the numbers stored, replayed and dead-lettered."""
    report = consumer.index_topic(made, until_caught_up=True)
    return report.stored, report.replayed, report.dead_lettered


def ids(sent: list[events.Event]) -> list[str]:
    """The expected ids of events."""
    return sorted(event.event_id for event in sent)


def repair(letter: DeadLetter) -> bytes | None:
    """Undo `poison`, if the letter was made from an event."""
    try:
        fields = json.loads(letter.value or b"")
    except ValueError:
        return letter.value
    if fields.pop("colour", None) is None:
        twin = next(each for each in OTHERS if each.event_id == fields["event_id"])
        return events.encode(twin)
    return json.dumps(fields).encode()


def test_poison_is_shown_mended_sent_back_and_stored_exactly_once(made: Settings) -> None:
    """A repaired letter is stored once, with its headers and key; a second replay adds nothing."""
    producer.send(made.kafka, GOOD)
    bad: list[bytes | None] = [
        poison(OTHERS[0], session_seq="seven"),
        poison(OTHERS[1], colour="red"),
        poison(OTHERS[2], **NEVER),
        b"{ not json",
        b"\xff\xfe",
        None,
    ]
    send_raw(made, *bad)
    assert consume(made) == (200, 0, 6)

    found = dead_letters.read(made.kafka)
    lie = {
        Place(made.kafka.topic, m.partition, m.offset): m.value for m in messages.read(made.kafka)
    }
    assert [each.place.offset for each in found] == list(range(6))
    assert {each.value for each in found} == set(bad)
    assert all(lie[each.source] == each.value for each in found if each.source)
    assert {each.source for each in found} < set(lie)
    assert {(each.key, each.headers) for each in found} == {(b"reader-0666", (("trace", b"7"),))}
    causes = {each.value: (each.error_type, each.reason) for each in found}
    assert causes[bad[0]][0] == causes[bad[1]][0] == causes[None][0] == EventError.__name__
    assert "session_seq" in causes[bad[0]][1]
    assert "colour" in causes[bad[1]][1]
    assert causes[bad[2]][0] not in (EventError.__name__, dead_letters.UNKNOWN)
    assert "session_seq" in causes[bad[2]][1]

    for again in range(2):
        report = replay_dead_letters(made.kafka, repair)
        # What has no value is left, as by any repair that gives back what there was.
        assert (report.sent, report.no_events, report.unrepaired, report.left) == (3, 2, 0, 1)
        assert consume(made) == ((0, 3, 0) if again else (3, 0, 0))
        assert stored_ids(made) == ids([*GOOD, *OTHERS[:3]])
    assert dead_letters.read(made.kafka) == found
    back = [m for m in messages.read(made.kafka) if dead_letters.REPLAYED_FROM in m.headers]
    assert len(back) == 6
    places = {str(each.place): each for each in found}
    for message in back:
        assert message.headers.keys() == {"trace", dead_letters.REPLAYED_FROM}
        assert message.key == events.decode(message.value or b"").user_id
        assert repair(places[message.headers[dead_letters.REPLAYED_FROM]]) == message.value


def test_only_what_may_go_well_is_sent_back(made: Settings) -> None:
    """Letters that are not repaired are not sent."""
    send_raw(made, b"{ not json", b"{ not json", b"[]", poison(OTHERS[0], **NEVER))
    assert consume(made) == (0, 0, 4)
    report = replay_dead_letters(made.kafka)

    assert (report.sent, report.no_events, report.unrepaired) == (0, 3, 1)
    assert "malformed" in report.reason
    assert offsets.count(made.kafka) == 4
    assert replay_dead_letters(made.kafka, lambda letter: None).left == 4


def test_only_the_letters_that_are_passed_are_sent_back(made: Settings) -> None:
    """Letters of an earlier show stay out of the report of this one."""
    send_raw(made, *[poison(event, colour="red") for event in OTHERS[:3]])
    assert consume(made) == (0, 0, 3)
    report = replay_dead_letters(made.kafka, repair, dead_letters.read(made.kafka)[2:])

    assert (report.letters, report.sent) == (1, 1)
    assert consume(made) == (1, 0, 0)


def test_what_came_back_is_not_sent_in_circles(made: Settings) -> None:
    """A failed repair is sent only once; a better repair is sent again."""

    def half(letter: DeadLetter) -> bytes:
        return (letter.value or b"").replace(b'"colour": "red", ', b"")

    twice = {"colour": "red"} | NEVER
    send_raw(made, json.dumps(twice | json.loads(poison(OTHERS[0], **NEVER))).encode())
    assert consume(made) == (0, 0, 1)
    assert replay_dead_letters(made.kafka, half).sent == 1
    assert consume(made) == (0, 0, 1)
    first, second = dead_letters.read(made.kafka)
    assert second.replayed_from == str(first.place)
    for _ in range(2):
        report = replay_dead_letters(made.kafka, half)
        assert (report.sent, report.unrepaired) == (0, 2)
    assert replay_dead_letters(made.kafka).no_events == 1
    assert offsets.count(made.kafka) == 2

    good = replay_dead_letters(made.kafka, lambda letter: events.encode(OTHERS[0]))
    assert good.sent == 2
    assert consume(made) == (1, 1, 0)
    assert stored_ids(made) == ids(OTHERS[:1])


def test_a_message_that_died_twice_is_one_letter_everywhere(default: Settings) -> None:
    """A message that two groups dead-lettered counts once: in list, status, overview and room."""
    kafka = default.kafka
    send_raw(default, b"{ not json", poison(OTHERS[0], colour="red"), b"{ not json")
    consume(default)
    consume(default.for_group(f"again-{kafka.topic}"))
    topics.delete_group(default.for_group(f"again-{kafka.topic}").kafka)
    send_raw(default, b"{ not json either", events.encode(OTHERS[1]), events.encode(OTHERS[1]))
    consume(default)

    assert offsets.count(kafka, kafka.dead_letter_topic) == 7
    assert [each.place.offset for each in dead_letters.read(kafka)] == [0, 1, 2, 6]
    listed, status = clickstream("dlq", "list").stdout, clickstream("status").stdout
    assert f"\n4 dead letters (3 written again) in {kafka.dead_letter_topic}: 4 Ev" in listed
    assert "6 messages, lag 0, 4 dead letters (3 written again), 1 documents" in status
    assert ", 1 repeats\n" in status
    facts = json.loads(clickstream("status", "--json").stdout)
    assert (facts["dead_letters"], facts["repeated_letters"], facts["repeats"]) == (4, 3, 1)
    overview, room = Demo(default).overview(), LivePipeline(Demo(default)).snapshot()
    assert (overview.dead_letters, overview.repeated_letters, overview.repeats) == (4, 3, 1)
    assert (room.in_kafka, room.indexed, room.repeats, room.dead_letters) == (6, 1, 1, 4)


def send_foreign(made: Settings) -> None:
    """Write messages into the dead-letter topic that the consumer would never write."""
    client = Producer({"bootstrap.servers": made.kafka.bootstrap_servers})
    where = {"clickstream.topic": b"news", "clickstream.partition": b"1"}
    headers: list[dict[str, bytes | None] | None] = [
        None,
        where,
        where | {"clickstream.offset": b"seven"},
        where | {"clickstream.offset": b"9" * 5_000},
        where | {"clickstream.offset": None},
        where | {"clickstream.offset": b"-1", "clickstream.error.reason": b"\xff\x1b[2J"},
    ]
    for each in headers:
        client.produce(made.kafka.dead_letter_topic, events.encode(OTHERS[0]), headers=each)
    client.produce(made.kafka.dead_letter_topic, None, b"\xff", timestamp=-(10**14))
    assert client.flush(10) == 0


def test_letters_of_somebody_else_are_shown_with_what_is_known(made: Settings) -> None:
    """Foreign letters are shown despite invalid headers, and not sent unchanged."""
    send_foreign(made)
    found = dead_letters.read(made.kafka)

    assert len(found) == 7
    assert {(each.source, each.error_type) for each in found} == {(None, dead_letters.UNKNOWN)}
    assert found[5].reason == "\ufffd\x1b[2J"
    assert dead_letters.table(found)["reason"][5] == "\ufffd\\x1b[2J"
    assert (found[6].key, found[6].value, found[6].headers) == (b"\xff", None, ())
    assert found[6].timestamp.year == 1970
    report = replay_dead_letters(made.kafka)
    assert (report.sent, report.no_events, report.unrepaired) == (0, 1, 6)


def test_headers_of_the_same_name_come_back_as_they_were(made: Settings) -> None:
    """The headers of a message survive, even if they have our names."""
    own = [("clickstream.offset", b"5"), ("a", b"1"), ("a", None), ("a", b"\xff")]
    client = Producer({"bootstrap.servers": made.kafka.bootstrap_servers})
    client.produce(made.kafka.topic, poison(OTHERS[0], colour="red"), headers=own)
    assert client.flush(10) == 0
    consume(made)
    (letter,) = dead_letters.read(made.kafka)
    assert letter.headers == tuple(own)
    assert letter.source is not None
    assert letter.source.offset == 0
    replay_dead_letters(made.kafka, repair)

    *_, back = sorted(messages.read_raw(made.kafka), key=lambda each: each.timestamp())
    assert back.headers() == [*own, (dead_letters.REPLAYED_FROM, str(letter.place).encode())]


def test_the_largest_message_there_is_can_be_sent_back(made: Settings) -> None:
    """The largest message can be sent again with one more header."""
    padded = poison(OTHERS[0], colour="red")
    padded += b" " * (999_940 - len(padded))
    send_raw(made, padded)
    consume(made)

    report = replay_dead_letters(made.kafka, lambda each: padded.replace(b'"colour"', b'"variant"'))
    assert report.sent == 1
    assert consume(made) == (1, 0, 0)
    assert stored_ids(made) == ids(OTHERS[:1])


def test_the_command_lists_and_replays(default: Settings) -> None:
    """The list is safe for a terminal, and valid events are sent again and stored once."""
    nothing = clickstream("dlq", "list")
    assert (nothing.returncode, nothing.stdout) == (
        0,
        f"no dead letters in {default.kafka.dead_letter_topic}\n",
    )
    assert clickstream("dlq", "list", "--json").stdout == ""
    send_raw(
        default,
        *(poison(each, session_seq=f"{each.session_seq}\x1b[2J") for each in OTHERS[:3]),
        b'{"\x1b]0;owned\x07": "\xc2\x9b31m"}',
        poison(OTHERS[3], **{"\x1b[5m": 1}),
        poison(OTHERS[4], **NEVER),
    )
    consume(default)

    listed = clickstream("dlq", "list")
    *lines, total = listed.stdout.splitlines()
    assert listed.returncode == 0
    assert "target local" in listed.stderr
    assert len(lines) == 6
    assert all(line.isprintable() and len(line) <= 100 for line in lines)
    assert sum("EventError  " in line for line in lines) == 5
    assert any(r"unknown field `\x1b[5m`" in line for line in lines)
    assert total.startswith(
        f"6 dead letters in {default.kafka.dead_letter_topic}: 5 EventError, 1 "
    )
    newest = clickstream("dlq", "list", "-n", "2").stdout.splitlines()
    assert newest[:2] == lines[4:]
    assert "the newest 2 shown" in newest[2]

    as_json = clickstream("dlq", "list", "--json").stdout
    assert as_json.isascii()
    assert len(as_json.splitlines()) == 6
    as_they_are = clickstream("dlq", "replay")
    assert "0 of 6 dead letters sent back" in as_they_are.stdout
    assert offsets.count(default.kafka) == 6
    readable_now = Producer({"bootstrap.servers": default.kafka.bootstrap_servers})
    readable_now.produce(
        default.kafka.dead_letter_topic,
        events.encode(OTHERS[0]),
        headers={"clickstream.error.type": b"EventError"},
    )
    assert readable_now.flush(10) == 0
    for _ in range(2):
        done = clickstream("dlq", "replay")
        assert done.returncode == 0, done.stderr
        assert "1 of 7 dead letters sent back" in done.stdout
        assert done.stdout.strip().isprintable()
        consume(default)
        assert stored_ids(default) == ids(OTHERS[:1])


def test_the_command_shows_letters_of_somebody_else(default: Settings) -> None:
    """Foreign letters are listed as lines and as JSON, without a traceback."""
    send_foreign(default)
    listed, as_json = clickstream("dlq", "list"), clickstream("dlq", "list", "--json")
    done = clickstream("dlq", "replay")

    assert [each.returncode for each in (listed, as_json, done)] == [0, 0, 0]
    assert listed.stdout.splitlines()[-1].endswith(": 7 unknown")
    assert [json.loads(line)["source"] for line in as_json.stdout.splitlines()] == [None] * 7
    assert "0 of 7 dead letters sent back" in done.stdout


def test_a_report_says_what_stays_and_why() -> None:
    """A report shows only counts above 0, with a short and safe reason."""
    alone = ReplayReport("news", 2, sent=2, no_events=0, unrepaired=0, left=0)
    mixed = ReplayReport(
        "news", 1_200, 1, no_events=3, unrepaired=1, left=1_195, reason="<b>\x1b[2J" + "x" * 500
    )

    assert str(alone) == "2 of 2 dead letters sent back to news"
    assert "1 of 1,200 dead letters sent back to news, 3 still not valid events" in str(mixed)
    assert "1 not sent" in str(mixed)
    assert "1,195 skipped" in str(mixed)
    assert r"<b>\x1b[2Jxxx" in str(mixed)
    assert len(str(mixed)) < 400
    assert "&lt;b&gt;" in mixed._repr_html_()
