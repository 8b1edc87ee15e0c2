"""`clickstream dlq`: dead letters in a terminal, shown with their cause and sent back mended."""

from __future__ import annotations

import json
import shutil
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from clickstream import cli_target, events, letters
from clickstream.errors import ConfigError, EventError, command

app = typer.Typer(no_args_is_help=True, help="Dead letters: why, and back with them, mended.")

SHOWN = 20
"""As many as a terminal has room for."""

_LEAST_CHARACTERS = 12
"""Of a reason and of a value, however narrow the terminal."""


@app.command("list")
def list_(
    n: Annotated[
        int | None,
        typer.Option(
            "-n", min=1, help=f"Only the newest; by default {SHOWN}, with --json all.", metavar="N"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A line of JSON each, to mend and to replay.")
    ] = False,
) -> None:
    """Show the dead letters, each with its place, cause and value."""
    kafka = cli_target.find().kafka
    found = letters.read(kafka)
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
    typer.echo(
        f"{len(found):,} dead letter{'s' * (len(found) > 1)} in {kafka.dead_letter_topic}"
        + (f", the newest {len(shown):,} shown" if len(shown) < len(found) else "")
        + f": {', '.join(f'{count:,} {letters.printable(name)}' for name, count in causes)}"
    )


@app.command()
def replay(
    repaired: Annotated[
        typer.FileBinaryRead | None,
        typer.Option(
            metavar="FILE",
            help="Lines of `dlq list --json` with `value` mended; - is stdin. Only these are sent.",
        ),
    ] = None,
) -> None:
    """Send those back that are events now: mended, or as they are; nothing is stored twice."""
    kafka = cli_target.find().kafka
    repair = None if repaired is None else from_lines(repaired, letters.read(kafka))
    typer.echo(str(letters.replay(kafka, repair)))


def to_line(letter: letters.DeadLetter) -> str:
    """Write a letter as one line of JSON in ASCII, whose `value` may be mended.

    `value` is text, or null; what is not UTF-8 stands as `value_base64` in its place.
    """
    facts: dict[str, Any] = {
        "partition": letter.place.partition,
        "offset": letter.place.offset,
        "error_type": letter.error_type,
        "reason": letter.reason,
        "source": None if letter.source is None else asdict(letter.source),
        "timestamp": events.format_timestamp(round(letter.timestamp.timestamp() * 1000)),
        "key": None if letter.key is None else letters.text(letter.key),
    }
    try:
        facts["value"] = None if letter.value is None else letter.value.decode()
    except UnicodeDecodeError:
        facts["value_base64"] = b64encode(letter.value or b"").decode()
    return json.dumps(facts)


def from_lines(lines: Iterable[bytes], found: Iterable[letters.DeadLetter]) -> letters.Repair:
    """Make a repair of lines as `to_line` writes them; letters that have no line are left.

    `offset` (and `partition`, if it is not 0) says which letter a line mends; of the rest
    only `value` or `value_base64` counts. A value that is as it was may be no event still,
    and null leaves its letter where it is.

    Args:
        lines: of JSON, checked one and all; empty ones are passed over.
        found: the letters there are.

    Raises:
        ConfigError: a line is wrong; the message says which, and why.
    """
    there = {(each.place.partition, each.place.offset): each for each in found}
    mended: dict[letters.Place, bytes | None] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            letter, value = _mended(line, there)
            if letter.place in mended:
                msg = f"offset {letter.place.offset} has a line above already"
                raise ValueError(msg)
        except (ValueError, EventError) as error:
            msg = (
                f"line {number} of what is to be sent back: {letters.printable(str(error)[:200])}; "
                f"nothing was sent; mend `value` in the lines of {command('dlq list --json')}"
            )
            raise ConfigError(msg) from error
        mended[letter.place] = value
    return lambda letter: mended.get(letter.place)


def _mended(
    line: bytes, there: dict[tuple[int, int], letters.DeadLetter]
) -> tuple[letters.DeadLetter, bytes | None]:
    """Say which letter a line mends, and with what.

    Raises:
        ValueError: the line is not what it should be.
        EventError: its value is another than the letter's, and no event.
    """
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError) as error:
        msg = "no JSON"
        raise ValueError(msg) from error
    match facts:
        case {"value": _, "value_base64": _}:
            msg = "value and value_base64 at once"
            raise ValueError(msg)
        case {"value": None}:
            value = None
        case {"value": str(given)}:
            value = given.encode()
        case {"value_base64": str(given)}:
            value = b64decode(given, validate=True)
        case _:
            msg = "no JSON object with a text as value"
            raise ValueError(msg)
    place = facts.get("partition", 0), facts.get("offset")
    letter = there.get(place) if all(type(each) is int for each in place) else None
    if letter is None:
        msg = f"there is no dead letter at offset {place[1]!r}"
        raise ValueError(msg)
    if value is not None and value != letter.value:
        events.decode(value)
    return letter, value


def _lines(shown: Sequence[letters.DeadLetter], columns: int) -> list[str]:
    """Write a line a letter, in columns: place, error type, reason, how the value begins."""
    heads = [
        (f"{letter.place.partition}:{letter.place.offset}", letters.printable(letter.error_type))
        for letter in shown
    ]
    widths = [max(map(len, column)) for column in zip(*heads, strict=True)]
    left = columns - sum(widths) - 2 * 3
    reasons = [
        letters.printable(letter.reason.removeprefix(letters.NO_EVENT)[:columns])
        for letter in shown
    ]
    longest = max(map(len, reasons))
    reason_width = min(longest, max(left - _LEAST_CHARACTERS, _LEAST_CHARACTERS))
    value_width = max(left - reason_width, _LEAST_CHARACTERS)
    return [
        f"{place:{widths[0]}}  {kind:{widths[1]}}  {_cut(reason, reason_width):{reason_width}}  "
        f"{_cut(letters.text((letter.value or b'')[:columns]), value_width)}".rstrip()
        for (place, kind), reason, letter in zip(heads, reasons, shown, strict=True)
    ]


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
