"""The exception tree: every error this library raises on purpose.

ClickstreamError
├── ConfigError      a setting, option or argument is missing, unknown or contradictory
│   └── MissingError there is no such topic, or no such index
├── ServerError      Kafka or OpenSearch did not start, answer or stop
│   ├── NoAnswerError it could not be reached, or gave no answer in time
│   └── FetchError   the servers' files could not be downloaded completely
├── EventError       bytes that are not an event
├── DeliveryError    Kafka refused messages or timed out on them
├── BulkError        OpenSearch refused documents for a reason that retrying cannot cure
└── Interrupted      the stop button ended the work cleanly

The text of an error says what was being done and what was found instead; it is the same
everywhere. Its hints say what to do next. `shown` joins both into one line, in which commands and
files fit the reader's target and working directory. In a notebook an error of this tree shows as
that line; `%tb` shows the full traceback.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from contextvars import ContextVar
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Final, NamedTuple

OPTIONS: Final = "CLICKSTREAM_OPTIONS"
"""Environment variable that passes a command's target options on to its child processes."""

TARGET: Final = "CLICKSTREAM_TARGET"
"""Environment variable that names the target."""

CONF: Final = "CLICKSTREAM_CONF"
"""Environment variable that names the folder with the two files of a hosted target."""


@dataclass(frozen=True)
class Command:
    """A command of the kit, without the word `clickstream`; shown so that it can be pasted."""

    words: str

    def __str__(self) -> str:
        return f"`{_program()} {f'{typed_options()} {self.words}'.strip()}`"


@dataclass(frozen=True)
class ConfFile:
    """A file of the hosted target's folder; shown with its folder."""

    name: str

    def __str__(self) -> str:
        return f"{typed.get().folder or os.environ.get(CONF) or 'conf'}/{self.name}"


Hint = str | Command | ConfFile | tuple[str | Command | ConfFile, ...]
"""What to do: one part, or several that are joined without a space."""

SEE_CHECK: Final[Hint] = ("see ", Command("check"))
GRANT_PERMISSIONS: Final[Hint] = "grant the user the permissions listed in docs/hosted.md"


def when_unreachable(*, is_hosted: bool) -> tuple[Hint, ...]:
    """Say what to do about a server that does not answer."""
    if is_hosted:
        return ("check in the service's console that it is running and accepts this machine",)
    return SEE_CHECK, (Command("up"), " starts local servers")


class Typed(NamedTuple):
    """The target options as typed: options for a pasted command, and the folder of its files."""

    options: str = ""
    folder: str = ""


_NOTHING: Final = Typed()

typed: Final = ContextVar("target options as typed", default=_NOTHING)
"""Set only by the command line; other programs use the variables of their parent process."""


def typed_options() -> str:
    """Return the options that a pasted command needs to use the same target."""
    return typed.get().options or os.environ.get(OPTIONS, "")


def shown(error: BaseException) -> str:
    """Format an error as one line: what was found; what to do."""
    hints = error.hints if isinstance(error, ClickstreamError) else ()
    return in_words(str(error), *hints)


def in_words(*hints: Hint) -> str:
    """Format hints as text for this target and directory; empty without hints."""
    return "; ".join(map(_in_words, hints))


def _in_words(hint: Hint) -> str:
    return "".join(map(str, hint)) if isinstance(hint, tuple) else str(hint)


def _program() -> Path | str:
    """Return `clickstream` if the shell finds it, otherwise the path in this environment.

    The path is relative if it is below the working directory.
    """
    if shutil.which("clickstream"):
        return "clickstream"
    path = Path(sys.prefix) / "bin" / "clickstream"
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


class ClickstreamError(Exception):
    """Base of every error of this library; `str(error)` is what was found, without the hints.

    Args:
        what: what was being done, and what was found instead.
        hints: what to do next.
    """

    def __init__(self, what: str, *hints: Hint) -> None:
        super().__init__(what)
        self.hints = hints

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        """The hints for a traceback, which shows them below the error."""
        return [*map(_in_words, self.hints)]

    def _render_traceback_(self) -> list[str]:
        """Show IPython one line instead of a traceback; `CLICKSTREAM_TRACEBACK=1` shows all."""
        if os.environ.get("CLICKSTREAM_TRACEBACK"):
            return traceback.format_exception(self)
        return [f"{type(self).__name__}: {shown(self)}"]


class ConfigError(ClickstreamError):
    """A setting, option or argument is missing, unknown or contradictory."""


class MissingError(ConfigError):
    """There is no topic, or no index, of this name."""


class ServerError(ClickstreamError):
    """Kafka or OpenSearch did not start, answer or stop."""


class NoAnswerError(ServerError):
    """A server could not be reached, or gave no answer in time.

    Args:
        server: `Kafka` or `OpenSearch`.
        what, hints: as for every error.
    """

    def __init__(self, server: str, what: str, *hints: Hint) -> None:
        super().__init__(what, *hints)
        self.server = server


class FetchError(ServerError):
    """The servers' files could not be downloaded completely; the cache has no partial files."""


class EventError(ClickstreamError):
    """Bytes that are not an event; the message names the field where there is one."""


class DeliveryError(ClickstreamError):
    """Kafka refused messages or timed out on them."""


class BulkError(ClickstreamError):
    """OpenSearch refused documents for a reason that retrying cannot cure."""


class Interrupted(ClickstreamError):
    """The stop button or Ctrl-C ended the work cleanly; the message says how far it got."""


class GivenUp(Exception):
    """Another thread ended the wait; the messages were not sent."""


def require_count(doing: str, number: object) -> None:
    """Refuse a number that is not whole or below 1, which includes NaN and infinity.

    Raises:
        ConfigError: it says what was being done.
    """
    if not isinstance(number, Integral) or not 1 <= int(number) <= sys.maxsize:
        msg = f"{doing}: the number must be 1 or more, and whole"
        raise ConfigError(msg)
