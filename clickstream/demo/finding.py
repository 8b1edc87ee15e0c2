"""The result of a check: one line, and what to do about a problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Final

from clickstream.errors import SEE_CHECK, ClickstreamError, in_words

# Those of JupyterLab's theme with some of its text colour: readable on light and on dark.
_COLOURS: Final = {
    name: f"color-mix(in srgb, var(--jp-{name}-color1, {colour}) 65%, "
    "var(--jp-content-font-color0, #000))"
    for name, colour in {"success": "#388e3c", "error": "#d32f2f", "warn": "#b26a00"}.items()
}


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
        color, sign = ("success", "✔") if self.is_good else ("error", "✘")
        if self.is_good and self.remedy:
            color, sign = "warn", "!"
        remedy = f"<br><b>Do:</b> {escape(self.remedy)}" if self.remedy else ""
        return (
            f'<div style="color:{_COLOURS[color]}">{sign} <b>{escape(self.subject)}</b>: '
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
