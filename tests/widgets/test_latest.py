"""What happens now, in words, without a browser."""

import re
import time
from datetime import UTC, datetime
from html import unescape

import msgspec
import pytest

from clickstream import events
from clickstream.demo.demo import Demo
from clickstream.events import EVENT_TYPES, Event, EventType
from clickstream.kafka.messages import TopicMessage
from clickstream.opensearch.site import Headline
from clickstream.settings import Settings
from clickstream.simulation import invalid_events
from clickstream.widgets.control_room import ControlRoom
from clickstream.widgets.latest import ReadNow, Tail, change
from clickstream.widgets.live_pipeline import LivePipeline
from clickstream.widgets.reader_page import OwnEvent
from tests.support.by_id import send_raw, wait_until

HOSTILE = '<img src=x onerror="document.title=1"><b>\x1b[31m\u202e</script>' + "x" * 900_000
VIEW = Event(
    event_id="019b8c5d-8e00-7000-8000-000000000001",
    event_type="page_view",
    timestamp="2026-01-05T00:00:00.000Z",
    user_id="reader-0042",
    session_id="42-1",
    session_seq=1,
    device_type="mobile",
    article_id="sports-260104-1318",
    article_category="sports",
    article_title="Train strike ends",
    article_published_at="2026-01-04T13:18:00.000Z",
    referrer_type="search",
)


def message(value: bytes | None, offset: int = 0) -> TopicMessage:
    """A message of partition 0."""
    return TopicMessage(0, offset, "reader-0042", datetime(2026, 1, 5, tzinfo=UTC), value)


def shown(
    *newest: TopicMessage,
    own: tuple[OwnEvent, ...] = (),
    per_second: float = 0.0,
    is_stale: bool = False,
) -> tuple[str, list[str]]:
    """The HTML of the heading, and that of each line."""
    tail = Tail()
    tail.show(newest, own=own, per_second=per_second, is_stale=is_stale)
    return tail._heading.value, re.findall("<li.*?</li>", tail._lines.value)


def text(html: str) -> str:
    """The text that a browser shows."""
    return unescape(re.sub("<[^>]*>", "", html)).replace("\N{NO-BREAK SPACE}", " ").rstrip()


def of_type(event_type: EventType) -> Event:
    """An event of the reader; registrations, logins and logouts have no article."""
    if event_type in ("register", "login", "logout"):
        nothing = dict.fromkeys(
            ("article_id", "article_title", "article_category", "article_published_at")
        )
        return msgspec.structs.replace(VIEW, event_type=event_type, **nothing)
    return msgspec.structs.replace(VIEW, event_type=event_type)


def test_each_type_of_event_is_told_in_words() -> None:
    """The reader, the device, what happens, and to which article; the newest is on top."""
    everything = [message(events.encode(of_type(each))) for each in EVENT_TYPES]
    _, lines = shown(*everything)
    assert [text(each) for each in lines] == [
        "reader-0042 · mobile · logs out",
        "reader-0042 · mobile · shares Train strike ends · sports",
        "reader-0042 · mobile · comments on Train strike ends · sports",
        "reader-0042 · mobile · likes Train strike ends · sports",
        "reader-0042 · mobile · reads Train strike ends · sports",
        "reader-0042 · mobile · logs in",
        "reader-0042 · mobile · registers",
    ]


@pytest.mark.parametrize(
    ("letters", "line"),
    [
        (54, f"reader-0042 · mobile · comments on {'y' * 54} · sports"),
        (55, f"reader-0042 · mobile · comments on {'y' * 55}"),
        (63, f"reader-0042 · mobile · comments on {'y' * 63}"),
        (64, f"reader-0042 · mobile · comments on {'y' * 61} …"),
    ],
)
def test_a_long_line_goes_without_its_section_and_is_cut(letters: int, line: str) -> None:
    """Each line has two rows of text in the smallest room."""
    event = msgspec.structs.replace(of_type("comment"), article_title="y" * letters)
    _, (html,) = shown(message(events.encode(event)))
    assert text(html) == line
    assert len(line) <= 98


def test_the_heading_says_how_many_of_how_many_are_shown() -> None:
    """A low room shows five lines of them, a high one eight; the style sheet hides one number."""
    assert shown()[0] == "<h4>Newest events</h4>"
    assert shown(per_second=0.4)[0] == "<h4>Newest events</h4>"
    assert shown(per_second=3)[0] == "<h4>Newest events: 3 a second</h4>"
    many = "<span>5</span><span>8</span> of 1,004 a second"
    assert shown(per_second=1_004.2)[0] == f"<h4>Newest events: {many}</h4>"
    _, lines = shown(*(message(b"%d" % place, place) for place in range(20)))
    assert [text(each) for each in lines] == [str(place) for place in range(19, 11, -1)]


def test_lines_of_a_kafka_that_is_away_stay_and_are_grey() -> None:
    """They are marked as old; without a line there is a sentence."""
    tail, read_now = Tail(), ReadNow()
    tail.show([message(b"old")], own=[], per_second=0, is_stale=True)
    assert tail._lines.value == "<ol class='clickstream-stale'><li><code>old</code></li></ol>"
    tail.show([], own=[], per_second=0, is_stale=True)
    assert text(tail._lines.value) == "No events yet."
    read_now.show([], is_stale=True)
    assert text(read_now.widget.value) == "Read now: viewsNo events in this window."


@pytest.mark.parametrize(
    "value",
    [
        *invalid_events.of_every_kind(VIEW),
        HOSTILE.encode(),
        b"\xff\xfe" * 500_000,
        b"[" * 100_000,
        None,
    ],
)
def test_what_is_no_event_is_text_of_80_characters(value: bytes | None) -> None:
    """Whatever can never become a document is shown as it is, harmless and cut."""
    _, (line,) = shown(message(value))
    assert text(line)
    assert len(text(line)) <= 80
    assert text(line).isprintable()
    assert re.fullmatch("<li><code>[^<>]*</code></li>|<li>an empty message</li>", line)


def test_hostile_values_of_an_event_are_text_of_80_characters() -> None:
    """Markup, control characters and 900,000 letters in a name and in a title."""
    event = msgspec.structs.replace(VIEW, user_id=HOSTILE, article_title=HOSTILE)
    own = OwnEvent(event, 0, 1, 0.1)
    read_now = ReadNow()
    read_now.show([(Headline("a", "tech", HOSTILE, event.timestamp, 7), None)], is_stale=False)
    for html in (*shown(message(events.encode(event)), own=(own,))[1], read_now.widget.value):
        assert "<img" not in html
        assert "&lt;img src=x onerror=&quot;" in html
        assert "\\x1b[31m\\u202e" in html
        assert len(text(html)) < 80 + 80 + 80
        assert text(html).isprintable()


def test_a_person_s_events_are_on_top_and_appear_once() -> None:
    """The two latest are pinned, and the same messages do not appear among the others."""
    own = tuple(
        OwnEvent(msgspec.structs.replace(of_type(kind), user_id="reader-ada"), 0, offset, 0.1)
        for offset, kind in enumerate(("login", "page_view", "like"))
    )
    newest = [message(events.encode(each.event), each.offset) for each in own]
    _, lines = shown(*newest, *(message(b"other", 10 + place) for place in range(7)), own=own)
    assert [text(each) for each in lines] == [
        "reader-ada · mobile · likes Train strike ends · sports",
        "reader-ada · mobile · reads Train strike ends · sports",
        *["other"] * 6,
    ]
    assert [each.startswith("<li class='clickstream-own'>") for each in lines[:3]] == [
        *(True, True, False)
    ]


@pytest.mark.parametrize(
    ("views_now", "before", "says"),
    [
        *((138, 100, "+38 %"), (88, 100, "−12 %"), (100, 100, "±0 %"), (1_003, 1_000, "±0 %")),
        *((7, 0, "new"), (0, 7, "−100 %"), (999, 100, "+899 %"), (1_000, 100, "×10")),
        (123_456, 4, "×30,864"),
    ],
)
def test_the_change_of_a_count_is_short(views_now: int, before: int, says: str) -> None:
    """In percent, as a factor if it is large, or new."""
    assert change(views_now, before) == says


def test_headlines_have_their_views_and_a_change_where_there_is_one() -> None:
    """Without data of the window before, nothing is compared, and the heading does not say so."""
    read_now = ReadNow()
    headlines = [
        Headline("a", "tech", "Chip maker <b>goes</b> solar", VIEW.timestamp, 1_380),
        Headline("b", "sports", "Oldbridge rowers train at dawn", VIEW.timestamp, 12),
    ]
    read_now.show([*zip(headlines, (1_000, 24), strict=True)], is_stale=False)
    html = read_now.widget.value
    assert text(html).startswith("Read now: views, and their change")
    assert "<span>Chip maker &lt;b&gt;goes&lt;/b&gt; solar</span><span><b>1,380</b> " in html
    assert "<i class='clickstream-more'>+38 %</i>" in html
    assert "<b>12</b> <i class='clickstream-not-more'>−50 %</i>" in html
    read_now.show([*zip(headlines, (None, None), strict=True)], is_stale=False)
    assert text(read_now.widget.value).startswith("Read now: viewsChip maker")
    assert "%" not in read_now.widget.value
    read_now.show([], is_stale=False, is_filtered=True)
    assert text(read_now.widget.value).startswith("Read now: views, without filters")


def test_the_pipeline_reads_the_newest_messages_and_what_is_read(
    pipeline: LivePipeline, made: Settings
) -> None:
    """Both change while it runs, stay as they are after Stop, and are gone after a reset."""
    pipeline.start()
    wait_until(lambda: len(pipeline.newest) == 8, 20)
    before = pipeline.newest
    wait_until(lambda: pipeline.newest != before, 10)
    wait_until(lambda: len(pipeline.read_now) == 5, 20)
    assert {before for _, before in pipeline.read_now} == {None}, "nothing is older"
    pipeline.events_per_second = 5
    time.sleep(0.5)
    send_raw(made, b"not an event")
    wait_until(lambda: b"not an event" in [each.value for each in pipeline.newest], 10)
    pipeline.stop()
    assert len(pipeline.newest) == 8
    assert len(pipeline.read_now) == 5
    pipeline.reset()
    assert pipeline.newest == pipeline.read_now == []


@pytest.mark.slow
def test_the_room_pins_a_person_s_events_and_names_the_place(made: Settings) -> None:
    """They are on top of the tail while the person is logged in, and the place below a chart."""
    room = ControlRoom(Demo(made))
    lines, note = room._tail._lines, lambda: room._charts["top-users"].note
    try:
        room.start()
        wait_until(lambda: bool(room._reader.do("back") or room._reader._headlines), 20)
        room._reader.do("log in", "ada", 1_280)
        own = "<ol class='clickstream-fresh'><li class='clickstream-own'><i>reader-ada · desktop"
        wait_until(lambda: lines.value.startswith(own), 10)
        wait_until(lambda: note().startswith("reader-ada · 2 events · place "), 20)
        room._reader.do("log out")
        wait_until(lambda: "clickstream-own" not in lines.value and not note(), 10)
    finally:
        room.close()
