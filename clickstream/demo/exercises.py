"""Check an attendee's answer to an exercise: one line back, whatever was typed.

The exercises themselves stand in the notebooks, each with its question, hint and reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from clickstream.errors import ClickstreamError, shown

UNTOUCHED: Final = "Replace None above, run that cell, then this one."


def check(answer: Any, is_right: Callable[[Any], Any], *, hint: str, reason: str) -> str:
    """Say in one line whether an answer is right; no answer makes it raise.

    Args:
        answer: as typed in the cell above; None as long as nobody has tried.
        is_right: judges an answer that is not None. One that it cannot judge, such as a word
            in place of a number, is not right. An error of the kit's own says what to do, and
            is shown in place of the hint.
        hint: shown for a wrong answer; it does not give the right one away.
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
