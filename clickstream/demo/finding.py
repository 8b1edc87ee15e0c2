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
    """What to do, and of what is good, what could be better; empty where all is well."""

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
    """Ask, and make a finding of the answer, or of an error of ours."""
    try:
        return Finding(subject, True, ask())
    except ClickstreamError as error:
        return failed(subject, error)


def failed(subject: str, error: ClickstreamError) -> Finding:
    """Make a finding of an error: what was found, and its hints as what to do."""
    # Whoever reads a finding has looked already.
    hints = [hint for hint in error.hints if hint != SEE_CHECK]
    return Finding(subject, False, str(error), in_words(*hints) or "fix that, and look again")
