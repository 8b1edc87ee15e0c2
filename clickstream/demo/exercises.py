"""What the check of an exercise says of an answer: one line, whatever was typed.

It knows none of the exercises: question, hint and reason stand in the notebook.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from clickstream.errors import ClickstreamError

UNTOUCHED: Final = "Replace None above, run that cell, then this one."


def check(answer: Any, is_right: Callable[[Any], Any], *, hint: str, why: str) -> str:
    """Say in one line how an answer stands; it never raises because of the answer.

    Args:
        answer: what stands in the cell above; None as long as nobody has tried.
        is_right: judges an answer that is not None. One that it cannot judge, as a word where
            it reckons with a number, is not right. An error of ours says what to do, and is
            told in place of the hint.
        hint: helps on, and leaves the answer to be found.
        why: reason or figure, once it is found.
    """
    if answer is None:
        return UNTOUCHED
    try:
        found = bool(is_right(answer))
    except ClickstreamError as error:
        return f"Not yet: {error}"
    except Exception:  # whatever was typed is an answer, and the hint is for it, too
        found = False
    return f"Right: {why}" if found else f"Not yet: {hint}"
