"""How a command behaves in a terminal: errors in one line, logs on stderr, Ctrl-C that stops.

Exit code 0, or a one-line error with the remedy on stderr and 1 (2 for a wrong option).
Reports go to stdout, progress and logs to stderr, so that output can be piped.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from clickstream.errors import ClickstreamError, ServerError, shown

_CTRL_C = 130
_ASK_EVERY_S = 1.0
_Answer = TypeVar("_Answer")
_TAR = "`tar` carries the cache, see docs/presenting.md"
_GONE = {
    "clickstream cache: No such command 'export'": _TAR,
    "clickstream cache: No such command 'use'": _TAR,
    "clickstream simulate: No such option: --report": "`make report` measures the readers",
    "clickstream dlq replay: No such option: --repaired": (
        "mend letters in Python, see docs/delivery.md"
    ),
}
"""What was there once, as it is refused now, and what to use in its place."""


class Commands(TyperGroup):
    """Shows the help of `COMMAND --help` before any option is read.

    To read one that is no flag, typer loads pydantic, which takes longer than all the rest.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Show the help where nothing but command words stands before it."""
        *words, last = args or [""]
        command, inner = self._find(ctx, words)
        if words and last == "--help" and command is not None:
            typer.echo(command.get_help(inner))
            ctx.exit()
        return super().parse_args(ctx, args)

    def _find(self, ctx: Any, words: list[str]) -> tuple[Any, Any]:
        command: Any = self
        for word in words:
            command = getattr(command, "commands", {}).get(word)
            if command is None:
                break
            ctx = typer.Context(command, parent=ctx, info_name=word)
        return command, ctx


def run(app: typer.Typer) -> None:
    """Run a command line, and turn an error of ours or a mistyped word into one line."""
    try:
        code = app(prog_name="clickstream", standalone_mode=False)
    except TyperException as error:
        if said := error.format_message().rstrip("."):  # nothing where the help was shown
            where = getattr(getattr(error, "ctx", None), "command_path", "clickstream")
            what = _GONE.get(f"{where}: {said}", f"see `{where} --help`")
            typer.echo(f"clickstream: {said}; {what}", err=True)
        sys.exit(error.exit_code)
    except ClickstreamError as error:
        sys.exit(f"clickstream: {shown(error)}")
    except OSError as error:
        _discard_stdout()
        if isinstance(error, BrokenPipeError):  # `| head` had enough
            sys.exit(1)
        sys.exit(f"clickstream: {error}; mend that, or name another place")
    if code == _CTRL_C:  # as typer says it
        say("clickstream: stopped")
        try:
            sys.stdout.flush()
        except OSError:  # who read it was stopped, too
            _discard_stdout()
    sys.exit(code)


def _discard_stdout() -> None:
    """Send what is left to nobody, or Python would complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(line: str) -> None:
    """Write a line of progress to stderr."""
    typer.echo(line, err=True)


def log_to_stderr(verbose: bool) -> None:
    """Let the library's log be seen: a line a batch, or one a message."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    # Of every failed request these tell the whole traceback; what failed is a line of ours.
    for noisy in ("opensearch", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Give an event that SIGINT and SIGTERM set, for the length of the block."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def patiently(ask: Callable[[], _Answer], stop: threading.Event) -> _Answer | None:
    """Ask until the servers are there, and say what is waited for; None after a stop."""
    said = ""
    while not stop.is_set():
        try:
            return ask()
        except ServerError as error:
            if (line := shown(error)) != said:
                said = line
                say(f"waiting: {line}")
            stop.wait(_ASK_EVERY_S)
    return None
