"""The replies of the exercises' checks."""

import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clickstream import consumer, events
from clickstream.demo import exercises
from clickstream.demo.demo import Demo
from clickstream.demo.exercises import FUNCTION, NUMBER, PAIR, TEXT, UNTOUCHED, WHOLE, check
from clickstream.demo.finding import Finding
from clickstream.kafka import topics
from clickstream.settings import Settings
from tests.support.by_id import wait_until


def say(answer: Any) -> str:
    """Check an answer that must be near three."""
    near = check(
        answer, NUMBER, lambda number: "two and one" if abs(number - 3) < 0.5 else "", hint="count"
    )
    return f"{near.subject}: {near.found}"


def test_without_an_answer_it_says_what_to_do() -> None:
    """Without an answer the check says what to do."""
    assert check(None, NUMBER, lambda number: "", hint="count") is UNTOUCHED
    assert "replace None above" in str(UNTOUCHED)


@pytest.mark.parametrize("answer", [3, 2.8, pd.Series([3]).iloc[0], np.float64(3.1)])
def test_a_right_answer_gets_its_reason(answer: Any) -> None:
    """A right answer of any number type gets the reason."""
    assert say(answer) == "Right: two and one"


@pytest.mark.parametrize("answer", [0, -1, math.nan])
def test_a_wrong_answer_gets_the_hint(answer: Any) -> None:
    """A wrong answer gets the hint."""
    assert say(answer) == "Not yet: count"


@pytest.mark.parametrize(
    ("kind", "answer", "yours"),
    [
        (WHOLE, "500", "text in quotes"),
        (WHOLE, 11.0, "a number with a decimal point"),
        (WHOLE, True, "True or False"),
        (NUMBER, True, "True or False"),
        (NUMBER, pd.Series([3, 4]), "of type Series"),
        (NUMBER, print, "of type builtin_function_or_method"),
        (TEXT, 500, "a whole number"),
        (PAIR, ("0", "0"), "of type tuple"),
        (PAIR, (False, False), "of type tuple"),
        (PAIR, 0, "a whole number"),
        (FUNCTION, "repair", "text in quotes"),
    ],
)
def test_a_wrong_type_is_told_as_one(kind: exercises.Kind, answer: Any, yours: str) -> None:
    """An answer of another type is neither right nor wrong: the check names both types."""
    found = check(answer, kind, lambda right: "it is right", hint="count")
    assert found == Finding("Wrong type", False, f"the answer is {kind.name}; yours is {yours}")


def test_an_error_of_the_answer_is_wrong() -> None:
    """An answer that raises gets the hint; one that makes no event is told why."""

    def fail(repair: Any) -> str:
        return str(repair())

    def decode(repair: Any) -> str:
        return str(events.decode(repair()))

    assert check(lambda: 1 / 0, FUNCTION, fail, hint="count").found == "count"
    assert check(lambda: b"{}", FUNCTION, decode, hint="count").found.startswith("not an event: ")


@contextmanager
def reading(settings: Settings) -> Iterator[None]:
    """Another consumer of the group, like that of a control room."""
    stop = threading.Event()
    other = threading.Thread(target=consumer.index_topic, args=(settings,), kwargs={"stop": stop})
    other.start()
    try:
        wait_until(lambda: topics.consumers(settings.kafka) == 1, 30)
        yield
    finally:
        stop.set()
        other.join()


def test_a_right_answer_is_right_alone_and_not_judged_beside_another_consumer(
    made: Settings,
) -> None:
    """Whether the group reads elsewhere decides between an answer and what prevents it."""
    demo = Demo(made)
    demo.produce(10, events_per_second=math.inf)
    assert exercises.lag_growth(500, demo).subject == "Right"
    assert exercises.lag_of_newcomers(510, demo).subject == "Right"
    assert exercises.lag_growth(7, demo).subject == "Not yet"
    with reading(made):
        wait_until(lambda: demo.lag() == 0, 30)
        told = exercises.lag_of_newcomers(7, demo)
        assert "1 other consumers were reading in group" in str(told)
        assert "Stop in the control room" in told.remedy
        assert told.subject == exercises.second_stores(7, demo).subject == "Cannot check"


def test_messages_of_others_prevent_the_check(made: Settings) -> None:
    """A producer elsewhere changes the count of messages: the check says by how many."""
    demo, stop = Demo(made), threading.Event()
    rate = {"events_per_second": 500, "stop": stop}
    other = threading.Thread(target=Demo(made).produce, kwargs=rate)
    other.start()
    try:
        wait_until(lambda: demo.overview().messages > 0, 30)
        told = exercises.lag_growth(500, demo)
    finally:
        stop.set()
        other.join()
    assert told.subject == "Cannot check"
    assert re.search(r"\+[\d,]+ messages of others changed topic", told.found)


def test_after_a_reset_the_checks_say_which_cells_to_run(made: Settings) -> None:
    """Notebooks 04 and 05: what the question was about is gone."""
    demo = Demo(made)
    demo.produce(3_000, events_per_second=math.inf)
    demo.consume()
    demo.documents()
    now = datetime.now(UTC)
    answer = demo.ask(since=now - timedelta(days=1), until=now)
    newest = demo.peek(1)[0]
    views = answer.frames["device-category"].set_index("device_type").loc["tablet"]
    favourite = views.sort_values("count")["article_category"].iloc[-1]
    assert exercises.tablet_section(favourite, answer, demo).subject == "Right"
    demo.reset(yes=True)
    section = exercises.tablet_section("tech" if favourite != "tech" else "health", answer, demo)
    hour = exercises.busiest_hour(25, answer, demo)
    document = exercises.document_id(events.decode(newest.value or b"").event_id, newest, demo)

    assert [each.subject for each in (section, hour, document)] == ["Cannot check"] * 3
    assert "the index has 0 events of these days now" in section.found
    assert section.remedy == hour.remedy == "run the cells from Two days of history on again"


def test_a_reply_is_a_coloured_line() -> None:
    """Green for a right answer, red for a wrong one, amber for none; as the page's theme has it."""
    right, wrong = Finding("Right", True, "a < b"), Finding("Not yet", False, "count")
    assert right._repr_html_().endswith("✔ <b>Right</b>: a &lt; b</div>")
    for reply, name in ((right, "success"), (wrong, "error"), (UNTOUCHED, "warn")):
        assert f"var(--jp-{name}-color1, #" in reply._repr_html_()
