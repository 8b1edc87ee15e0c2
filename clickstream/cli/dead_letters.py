"""`clickstream dlq`: show dead letters with their causes, and send them again."""

from __future__ import annotations

import json
import shutil
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clickstream.cli import target

if TYPE_CHECKING:
    from clickstream.kafka.dead_letters import DeadLetter

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Show dead letters, and send them back."
)

SHOWN = 20
"""Number of letters that fit into a terminal."""

_LEAST_CHARACTERS = 12
"""Minimum width of a reason and of a value, even in a narrow terminal."""


@app.command("list")
def list_(
    n: Annotated[
        int | None,
        typer.Option(
            "-n",
            min=1,
            help=f"How many of the newest letters to show (default {SHOWN}; with --json all).",
            metavar="N",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line per dead letter.")
    ] = False,
) -> None:
    """Show the dead letters, each with its position, cause and value."""
    from clickstream.kafka import dead_letters
    from clickstream.kafka.messages import printable
    from clickstream.reports import letters

    kafka = target.find(need=["kafka"]).kafka
    found = dead_letters.read(kafka)
    if as_json:
        for letter in found if n is None else found[-n:]:
            typer.echo(to_line(letter))
        return
    if not found:
        typer.echo(f"no dead letters in {kafka.dead_letter_topic}")
        return
    shown = found[-(n or SHOWN) :]
    for line in _lines(shown, shutil.get_terminal_size((160, 24)).columns):
        typer.echo(line)
    causes = Counter(letter.error_type for letter in found).most_common()
    counted = letters(len(found), sum(letter.repeats for letter in found))
    typer.echo(
        f"{counted} in {kafka.dead_letter_topic}"
        + (f", the newest {len(shown):,} shown" if len(shown) < len(found) else "")
        + f": {', '.join(f'{count:,} {printable(name)}' for name, count in causes)}"
    )


@app.command()
def replay() -> None:
    """Send back the dead letters that are valid now; nothing is stored twice."""
    from clickstream.demo.dead_letter_replay import replay_dead_letters

    typer.echo(str(replay_dead_letters(target.find(need=["kafka"]).kafka)))


def to_line(letter: DeadLetter) -> str:
    """Format a letter as one line of ASCII JSON.

    `value` is text or null; a value that is not UTF-8 is in `value_base64` instead.
    """
    from clickstream.events import format_timestamp
    from clickstream.kafka.messages import text

    facts: dict[str, Any] = {
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "error_type": letter.error_type,
        "reason": letter.reason,
        "source": None if letter.source is None else asdict(letter.source),
        "timestamp": format_timestamp(round(letter.timestamp.timestamp() * 1000)),
        "key": None if letter.key is None else text(letter.key),
    }
    try:
        facts["value"] = None if letter.value is None else letter.value.decode()
    except UnicodeDecodeError:
        facts["value_base64"] = b64encode(letter.value or b"").decode()
    return json.dumps(facts)


def _lines(shown: Sequence[DeadLetter], columns: int) -> list[str]:
    """Format one line per letter: position, error type, reason, start of the value."""
    from clickstream.kafka.dead_letters import NO_EVENT
    from clickstream.kafka.messages import printable, text

    heads = [
        (f"{letter.place.partition}:{letter.place.offset}", printable(letter.error_type))
        for letter in shown
    ]
    widths = [max(map(len, column)) for column in zip(*heads, strict=True)]
    left = columns - sum(widths) - 2 * 3
    reasons = [printable(letter.reason.removeprefix(NO_EVENT)[:columns]) for letter in shown]
    longest = max(map(len, reasons))
    reason_width = min(longest, max(left - _LEAST_CHARACTERS, _LEAST_CHARACTERS))
    value_width = max(left - reason_width, _LEAST_CHARACTERS)
    return [
        f"{place:{widths[0]}}  {kind:{widths[1]}}  {_cut(reason, reason_width):{reason_width}}  "
        f"{_cut(text((letter.value or b'')[:columns]), value_width)}".rstrip()
        for (place, kind), reason, letter in zip(heads, reasons, shown, strict=True)
    ]


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
