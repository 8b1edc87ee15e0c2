"""The replies of an exercise's check."""

import math
from typing import Any

import pandas as pd
import pytest

from clickstream import events
from clickstream.demo.exercises import UNTOUCHED, check


def is_near_three(number: Any) -> bool:
    """Judge like the notebooks, by calculating with the answer."""
    return abs(number - 3) < 0.5


def say(answer: Any) -> str:
    """Check an answer that must be near three."""
    return check(answer, is_near_three, hint="count on", reason="two and one")


def test_without_an_answer_it_says_what_to_do() -> None:
    """Without an answer the check says what to do."""
    assert say(None) == UNTOUCHED


@pytest.mark.parametrize("answer", [3, 2.8, pd.Series([3]).iloc[0]])
def test_a_right_answer_gets_its_reason(answer: Any) -> None:
    """A right answer of any number type gets the reason."""
    assert say(answer) == "Right: two and one"


@pytest.mark.parametrize(
    "answer", [0, -1, math.nan, "three", "", [], print, ..., pd.Series([3, 4]), pd.DataFrame()]
)
def test_any_other_answer_gets_the_hint(answer: Any) -> None:
    """Any other answer gets the hint and never a traceback."""
    assert say(answer) == "Not yet: count on"


def test_an_error_of_ours_is_told_in_place_of_the_hint() -> None:
    """A `ClickstreamError` is shown instead of the hint, because it says what to do."""
    said = check(b"{}", events.decode, hint="count on", reason="an event")

    assert said.startswith("Not yet: not an event: ")
