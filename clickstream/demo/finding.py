"""The result of a check: one line, and what to do about a problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from clickstream.errors import SEE_CHECK, ClickstreamError, in_words


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    subject: str
    is_good: bool
    found: str
    remedy: str = ""
    """What to do; for a good result, what could be better. Empty if there is nothing to do."""

    def __str__(self) -> str:
        mark = "BAD" if not self.is_good else "see" if self.remedy else "ok "
        line = f"{mark}  {self.subject}: {self.found}"
        return f"{line}; {self.remedy}" if self.remedy else line

    def _repr_html_(self) -> str:
        """Show it as a green or red line, or as an amber one if something could be better."""
        color, sign = ("#1a7f37", "✔") if self.is_good else ("#b3261e", "✘")
        if self.is_good and self.remedy:
            color, sign = "#8a5a00", "✔"
        remedy = f"<br><b>Do:</b> {escape(self.remedy)}" if self.remedy else ""
        return (
            f'<div style="color:{color}">{sign} <b>{escape(self.subject)}</b>: '
            f"{escape(self.found)}{remedy}</div>"
        )


def run_check(subject: str, ask: Callable[[], str]) -> Finding:
    """Call `ask`, and make a finding of its answer or of its `ClickstreamError`."""
    try:
        return Finding(subject, True, ask())
    except ClickstreamError as error:
        return failed(subject, error)


def failed(subject: str, error: ClickstreamError) -> Finding:
    """Make a finding of an error, with its hints as the remedy."""
    # A finding is the output of that check.
    hints = [hint for hint in error.hints if hint != SEE_CHECK]
    return Finding(subject, False, str(error), in_words(*hints) or "fix that, then check again")
