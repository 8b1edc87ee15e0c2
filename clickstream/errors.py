"""The exception tree: every error this library raises on purpose.

ClickstreamError
├── ConfigError      a setting, option or argument is missing, unknown or contradictory
│   └── MissingError there is no such topic, or no such index
├── ServerError      Kafka or OpenSearch did not start, answer or stop
│   └── FetchError   the servers' files could not be downloaded completely
├── EventError       bytes that are not an event
├── DeliveryError    Kafka refused messages or timed out on them
├── BulkError        OpenSearch refused documents for a reason that retrying cannot cure
└── Interrupted      the stop button ended the work cleanly

A message says what was being done, what was found instead and what to do next. In a
notebook an error of this tree shows as one line; `%tb` shows the full traceback.
"""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from pathlib import Path
from types import TracebackType

OPTIONS = "CLICKSTREAM_OPTIONS"
"""Environment variable that passes a command's target options on to its child processes."""

CONF = "CLICKSTREAM_CONF"
"""Environment variable that names the folder with the two files of a hosted target."""


def command(words: str) -> str:
    """Write a command of the kit, in backquotes, so that it works as pasted here.

    That is `clickstream …` where the shell finds it, and otherwise the path of this
    environment's own, relative in the clone; with the options that say which target this is.
    """
    words = f"{os.environ.get(OPTIONS, '')} {words}".strip()
    if shutil.which("clickstream"):
        return f"`clickstream {words}`"
    path = Path(sys.prefix) / "bin" / "clickstream"
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"`{path} {words}`"


def conf_file(name: str) -> str:
    """Name a file of the hosted target's folder as an error has it: where it is looked for."""
    return f"{os.environ.get(CONF) or 'conf'}/{name}"


class ClickstreamError(Exception):
    """Base of every error of this library."""

    def _render_traceback_(
        self,
        etype: type[BaseException] | None = None,
        value: BaseException | None = None,
        tb: TracebackType | None = None,
        tb_offset: int | None = None,
    ) -> list[str]:
        """Show IPython one line in place of a traceback; `CLICKSTREAM_TRACEBACK=1` shows all."""
        if os.environ.get("CLICKSTREAM_TRACEBACK"):
            return traceback.format_exception(self)
        return [f"{type(self).__name__}: {self}"]


class ConfigError(ClickstreamError):
    """A setting, option or argument is missing, unknown or contradictory."""


class MissingError(ConfigError):
    """There is no topic, or no index, of this name."""


class ServerError(ClickstreamError):
    """Kafka or OpenSearch did not start, answer or stop."""


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
