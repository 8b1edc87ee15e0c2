"""Check an attendee's answers to the exercises of the notebooks; any input gets a reply.

The questions are in the notebooks. The checks are here, so that no cell shows an answer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from clickstream import events
from clickstream.demo.finding import Finding
from clickstream.errors import ClickstreamError, EventError, ServerError, in_words, shown
from clickstream.kafka import offsets, topics
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.reports import ProduceReport
from clickstream.targets import conf_files

if TYPE_CHECKING:
    import pandas as pd

    from clickstream.charts.search import Answer
    from clickstream.demo.audit import Audit
    from clickstream.demo.demo import Demo
    from clickstream.kafka.dead_letters import DeadLetter
    from clickstream.kafka.messages import TopicMessage

UNTOUCHED: Final = Finding(
    "No answer yet", True, "it is None", "replace None above, run that cell, then this one"
)
_QUIET_S: Final = 1.0


class Kind(NamedTuple):
    """A type of answers."""

    name: str
    fits: Callable[[Any], bool]


def _is_whole(answer: Any) -> bool:
    return isinstance(answer, Integral) and not isinstance(answer, bool)


def _is_number(answer: Any) -> bool:
    return isinstance(answer, Real) and not isinstance(answer, bool)


def _is_pair(answer: Any) -> bool:
    return isinstance(answer, tuple | list) and len(answer) == 2 and all(map(_is_whole, answer))


WHOLE: Final = Kind("a whole number", _is_whole)
NUMBER: Final = Kind("a number", _is_number)
TEXT: Final = Kind("text in quotes", lambda answer: isinstance(answer, str))
PAIR: Final = Kind("a pair of whole numbers, such as (3, 7)", _is_pair)
FUNCTION: Final = Kind("a function", callable)
REPORT: Final = Kind("a report of demo.produce", lambda it: isinstance(it, ProduceReport))

_TYPES: Final = {
    bool: "True or False",
    float: "a number with a decimal point",
    int: "a whole number",
    str: "text in quotes",
}


def check(answer: Any, kind: Kind, judge: Callable[[Any], str], *, hint: str) -> Finding:
    """Say whether an answer is right; no answer raises an error.

    Args:
        answer: the value from the cell above; None before the first attempt.
        kind: the type that the answer must have, or it is neither right nor wrong.
        judge: returns the reason of a right answer, and "" for a wrong one. If it raises an
            exception of the attendee's code, or an `EventError`, the answer is wrong. Any other
            `ClickstreamError` says what prevents the check.
        hint: shown for a wrong answer, without revealing the right one.
    """
    if answer is None:
        return UNTOUCHED
    if not kind.fits(answer):
        found = _TYPES.get(type(answer), f"of type {type(answer).__name__}")
        return Finding("Wrong type", False, f"the answer is {kind.name}; yours is {found}")
    try:
        reason = judge(answer)
    except EventError as error:
        return Finding("Not yet", False, shown(error))
    except ClickstreamError as error:
        return Finding("Cannot check", True, str(error), in_words(*error.hints) or "try again")
    except Exception:  # any function may be an answer, and each error gets the hint
        reason = ""
    return Finding("Right", True, reason) if reason else Finding("Not yet", False, hint)


def _require_alone(demo: Demo, messages: int) -> None:
    """Raise if others read in the group, or if the topic has another number of messages."""
    kafka = demo.settings.kafka
    readers = topics.consumers(kafka)
    time.sleep(_QUIET_S)
    others = offsets.count(kafka) - messages
    if readers or others:
        msg = (
            f"meanwhile {readers} other consumers were reading in group {kafka.group_id!r}, and "
            f"{others:+,} messages of others changed topic {kafka.topic!r}"
        )
        raise ServerError(
            msg,
            "stop them (Stop in the control room, Ctrl-C in another terminal), and do both cells "
            "again",
        )


def dead_letter_topic(answer: Any, demo: Demo) -> Finding:
    """Notebook 00: the name of the topic with the dead letters."""
    kafka = demo.settings.kafka

    def judge(name: str) -> str:
        there = offsets.count(kafka, kafka.dead_letter_topic)
        reason = f"it belongs to {kafka.topic}, and contains {there:,} messages now"
        return reason if name == kafka.dead_letter_topic else ""

    hint = "type demo.settings.kafka. in a cell and press Tab: the settings contain all names"
    return check(answer, TEXT, judge, hint=hint)


def comments_per_hundred_views(answer: Any, table: pd.DataFrame) -> Finding:
    """Notebook 01: within half a comment of the count in `table`."""
    types = table["event_type"].value_counts()
    counted = 100 * types["comment"] / types["page_view"]
    reason = f"{counted:.1f}, the same for everybody: the same seed gives the same events"
    return check(
        answer,
        NUMBER,
        lambda number: reason if abs(number - counted) < 0.5 else "",
        hint="table['event_type'].value_counts() counts each type; divide, then multiply by 100",
    )


def hundred_events(answer: Any) -> Finding:
    """Notebook 02: the report of a hundred events in about two seconds."""
    reason = f"{answer}; arrivals are random, so it is never exactly two seconds"
    return check(
        answer,
        REPORT,
        lambda report: reason if report.sent == 100 and 1 < report.seconds < 4 else "",
        hint=f"you got {answer}; first the number of events; the rate is events divided by seconds",
    )


def next_partition(answer: Any, latest: pd.DataFrame) -> Finding:
    """Notebook 02: the partition of the last row, so that of its reader's next message."""
    last = latest.iloc[-1]
    return check(
        answer,
        WHOLE,
        lambda number: (
            f"messages with the key {last['key']} always go to partition {number}"
            if number == last["partition"]
            else ""
        ),
        hint="all messages of a reader go to one partition; which one is in the last row?",
    )


def lag_growth(answer: Any, demo: Demo) -> Finding:
    """Notebook 03: how much 500 more events add to the lag."""

    def judge(messages: int) -> str:
        before, there = demo.lag(), offsets.count(demo.settings.kafka)
        demo.produce(500, events_per_second=math.inf)
        grown = demo.lag() - before
        if messages != grown:
            _require_alone(demo, there + 500)
            return ""
        return f"by {grown}, to {before + grown:,} now; it stays until the group reads them"

    hint = "lag counts messages; how many of the new ones has the group read?"
    return check(answer, WHOLE, judge, hint=hint)


def lag_of_newcomers(answer: Any, demo: Demo) -> Finding:
    """Notebook 03: the lag of a group without committed offsets, which nobody joins for this."""

    def judge(messages: int) -> str:
        newcomers = demo.settings.for_group(f"{demo.settings.kafka.group_id}-newcomers")
        waiting = sum(offsets.consumer_lag(newcomers.kafka).values())
        if messages != waiting:
            _require_alone(demo, waiting)
            return ""
        return f"{waiting:,}, all messages in the topic; our own group's lag is {demo.lag():,}"

    hint = "without a committed offset, a group starts at the first message in the topic"
    return check(answer, WHOLE, judge, hint=hint)


def second_stores(answer: Any, demo: Demo) -> Finding:
    """Notebook 04: what a second call of `consume` stores after a first one."""

    def judge(documents: int) -> str:
        demo.produce(100, events_per_second=math.inf)
        there = offsets.count(demo.settings.kafka)
        first, second = demo.consume(), demo.consume()
        if documents != second.stored:
            _require_alone(demo, there)
            return ""
        return (
            f"the first call stored {first.stored} and committed; the second stored "
            f"{second.stored} and replayed {second.replayed}: nothing was left to read"
        )

    hint = "after the first call, what is the group's committed offset?"
    return check(answer, WHOLE, judge, hint=hint)


def document_id(answer: Any, message: TopicMessage, demo: Demo) -> Finding:
    """Notebook 04: the id of the document of a message, which must be in the index."""
    target, wanted = demo.settings.opensearch, events.decode(message.value or b"").event_id

    def judge(text: str) -> str:
        if not index.ids(opensearch.connect(target), target.index, among=[wanted]):
            msg = f"index {target.index} does not contain this message"
            raise ServerError(msg, "run the cells from Start without lag on again")
        reason = f"the only one of {demo.documents():,} documents with this id"
        return reason if text == wanted else ""

    hint = "the event contains its id; which field of the JSON is it?"
    return check(answer, TEXT, judge, hint=hint)


def tablet_section(answer: Any, found: Answer, demo: Demo) -> Finding:
    """Notebook 05: the section that tablets open most, in the answer of a search."""
    pairs = found.frames["device-category"]
    views = pairs[pairs["device_type"] == "tablet"].set_index("article_category")["count"]

    def judge(name: str) -> str:
        if name != views.idxmax():
            _require_unchanged(demo, found)
            return ""
        return f"{views.max():,} of {views.sum():,} page views on tablets"

    hint = "choose device-category with the dials, and look for the darkest cell of one column"
    return check(answer, TEXT, judge, hint=hint)


def busiest_hour(answer: Any, found: Answer, demo: Demo) -> Finding:
    """Notebook 05: the hour of the day (UTC) of the most events, in the window of a search."""

    def judge(hour: int) -> str:
        hourly = demo.ask(since=found.since, until=found.until, bucket_s=3_600).frames["volume"]
        most = hourly.loc[hourly["count"].idxmax()]
        if hour != most["timestamp"].hour:
            _require_unchanged(demo, found)
            return ""
        return f"{most['count']:,} events from {most['timestamp']:%A, %H:%M} on"

    hint = "the highest point of the volume, with buckets of an hour; the axis is in UTC"
    return check(answer, WHOLE, judge, hint=hint)


def _require_unchanged(demo: Demo, found: Answer) -> None:
    total = demo.ask(since=found.since, until=found.until).total
    if total != found.total:
        msg = f"the index has {total:,} events of these days now, and had {found.total:,} before"
        raise ServerError(msg, "run the cells from Two days of history on again")


def five_times(answer: Any, natural_per_second: float) -> Finding:
    """Notebook 06: a rate that is five times the natural one of the readers, within a tenth."""
    reason = (
        f"the natural rate is {natural_per_second:.0f} per second; ×5 means a clock five times "
        "as fast"
    )
    return check(
        answer,
        NUMBER,
        lambda rate: reason if 4.5 < rate / natural_per_second < 5.5 else "",
        hint="choose a rate with the slider; the × beside it says how fast their clock is",
    )


def lost_and_doubled(answer: Any, audit: Callable[[], Audit]) -> Finding:
    """Notebook 07: how many events an audit finds lost and doubled."""

    def judge(pair: tuple[int, int]) -> str:
        found = audit()
        is_right = tuple(pair) == (len(found.lost), len(found.doubled))
        return f"{found}; whatever you stop or kill" if is_right else ""

    hint = "where is a message that is not a document yet? And what is the id of a document?"
    return check(answer, PAIR, judge, hint=hint)


def repair_of_colour(answer: Any, letters: list[DeadLetter]) -> Finding:
    """Notebook 07: a function that makes events of the letters with a field `colour`."""
    red = [letter for letter in letters if b'"colour"' in (letter.value or b"")]

    def judge(repair: Callable[[DeadLetter], Any]) -> str:
        if not red:
            msg = "there is no dead letter with a colour"
            raise ServerError(msg, "run the cells from Invalid messages on again")
        for letter in red:
            events.decode(bytes(repair(letter)))
        return (
            f"{len(red)} repaired; replay_dead_letters(demo.settings.kafka, repair_colour, "
            "letters) would send them back"
        )

    hint = "print the value of the letter with a colour; remove only the colour, and return bytes"
    return check(answer, FUNCTION, judge, hint=hint)


def file_with_the_topic(answer: Any) -> Finding:
    """Notebook 08: the file of `conf/` that may name the topic."""
    keys = conf_files.KEYS[conf_files.KAFKA]
    return check(
        answer,
        TEXT,
        lambda name: f"its keys are {', '.join(keys)}" if name == conf_files.KAFKA else "",
        hint="a topic belongs to Kafka",
    )
