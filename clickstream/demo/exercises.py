"""Check an attendee's answer to an exercise: any input gets a one-line reply.

The notebooks contain the exercises, each with its question, hint and reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from clickstream.errors import ClickstreamError, shown

UNTOUCHED: Final = "Replace None above, run that cell, then this one."


def check(answer: Any, is_right: Callable[[Any], Any], *, hint: str, reason: str) -> str:
    """Say in one line whether an answer is right; no answer raises an error.

    Args:
        answer: the value from the cell above; None before the first attempt.
        is_right: judges an answer that is not None. If it raises, as for a word instead of a
            number, the answer is wrong. A `ClickstreamError` says what to do, and is shown
            instead of the hint.
        hint: shown for a wrong answer, without revealing the right one.
        reason: shown for the right answer.
    """
    if answer is None:
        return UNTOUCHED
    try:
        found = bool(is_right(answer))
    except ClickstreamError as error:
        return f"Not yet: {shown(error)}"
    except Exception:  # anything may be typed, and all of it gets the hint
        found = False
    return f"Right: {reason}" if found else f"Not yet: {hint}"
