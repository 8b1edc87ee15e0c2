"""The behaviour of commands in a terminal: one-line errors, logs on stderr, and Ctrl-C.

The exit code is 0; or 1 (2 for a wrong option), with a one-line error and remedy on stderr.
Reports go to stdout, progress and logs to stderr, so that output can be piped.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from clickstream.errors import ClickstreamError, ServerError, shown

_CTRL_C = 130
_ASK_EVERY_S = 1.0
_Answer = TypeVar("_Answer")
_TAR = "pack the cache with `tar`, see docs/presenting.md"
_REMOVED = {
    "cache: No such command 'export'": _TAR,
    "cache: No such command 'use'": _TAR,
    "simulate: No such option: --report": "`make report` measures the readers",
    "dlq replay: No such option: --repaired": "repair dead letters in Python, see docs/delivery.md",
}
"""Removed commands and options, and what to use instead."""


class Commands(TyperGroup):
    """Shows the help of `COMMAND --help` before typer parses any option.

    To parse an option with a value typer imports pydantic, which takes longer than all the rest.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Show the help if only command names precede `--help`."""
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
    """Run a command line; a `ClickstreamError` or a typing mistake becomes one line."""
    try:
        code = app(prog_name="clickstream", standalone_mode=False)
    except TyperException as error:
        if said := error.format_message().rstrip("."):  # empty after the help was shown
            where = getattr(getattr(error, "ctx", None), "command_path", "clickstream")
            mistake = f"{where}: {said}".removeprefix("clickstream ")
            what = _REMOVED.get(mistake, f"see `{where} --help`")
            typer.echo(f"clickstream: {said}; {what}", err=True)
        sys.exit(error.exit_code)
    except ClickstreamError as error:
        sys.exit(f"clickstream: {shown(error)}")
    except OSError as error:
        _discard_stdout()
        if isinstance(error, BrokenPipeError):  # such as `| head`
            sys.exit(1)
        sys.exit(f"clickstream: {error}; fix that, or choose another path")
    if code == _CTRL_C:  # typer's code for it
        say("clickstream: stopped")
        try:
            sys.stdout.flush()
        except OSError:  # the reader was stopped, too
            _discard_stdout()
    sys.exit(code)


def _discard_stdout() -> None:
    """Discard remaining output; otherwise Python would report an error again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(line: str) -> None:
    """Write a line of progress to stderr."""
    typer.echo(line, err=True)


def log_to_stderr(verbose: bool) -> None:
    """Show the library's log: one line per batch, or one per message."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    # These loggers write a full traceback per failed request; our own line is enough.
    for noisy in ("opensearch", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


@contextmanager
def handling(
    numbers: Iterable[signal.Signals], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    """Call a handler for these signals during the block."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set during the block."""
    stop = threading.Event()
    with handling((signal.SIGINT, signal.SIGTERM), lambda *_: stop.set()):
        yield stop


def wait_for_servers(ask: Callable[[], _Answer], stop: threading.Event) -> _Answer | None:
    """Retry until the servers answer, and say what it waits for; None after a stop."""
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
