"""Which target a command works on: `--target`, `--conf`, and a line on stderr that says it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from clickstream import errors
from clickstream.cli.terminal import say
from clickstream.errors import CONF, ConfigError

if TYPE_CHECKING:
    from clickstream.servers.nodes import Name
    from clickstream.settings import Settings
    from clickstream.targets.target import Target

TARGET: Final = "CLICKSTREAM_TARGET"
"""As `targets.target.TARGET`, which would cost each `--help` the import of the servers."""

BOTH: Final = ("kafka", "opensearch")

TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        envvar=TARGET,
        metavar="local|hosted",
        help="By default hosted where conf/ names one.",
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option("--conf", envvar=CONF, metavar="DIR", help="By default conf/."),
]


_chosen: ContextVar[Callable[[], Target]] = ContextVar("target of the command that runs")


def take_options(wanted: str | None, folder: Path | None) -> None:
    """Take what was typed; a command that never asks for its target works whatever that is."""
    _chosen.set(cache(partial(_choose, wanted, folder)))


def current() -> Target:
    """Give the target that the options choose; a folder by default is the clone's own.

    Raises:
        ConfigError: as `targets.choose`, or no such folder.
    """
    return _chosen.get()()


def _choose(wanted: str | None, folder: Path | None) -> Target:
    """Choose once for a command: the commands that errors name are shown with the same options.

    Else what is pasted would do its work on another target.
    """
    from clickstream.settings import CLONE, LOCAL
    from clickstream.targets import target

    folder = folder and Path(os.path.expanduser(folder))
    if folder is not None and not folder.is_dir() and wanted != LOCAL:
        msg = f"looking into {folder}: there is no such folder"
        raise ConfigError(msg, "name the one with the two files")
    typed = [
        f"{option} {shlex.quote(str(value))}"
        for option, variable, value in (
            ("--target", TARGET, wanted),
            ("--conf", CONF, folder and folder.absolute()),
        )
        if value and str(value) != os.environ.get(variable)
    ]
    errors.typed.set(errors.Typed(" ".join(typed), str(folder or "")))
    return target.choose(folder or CLONE / "conf", wanted or None)


def find(need: Collection[Name] = BOTH) -> Settings:
    """Find the target's settings, and say them.

    Args:
        need: the servers that have to answer.

    Raises:
        ClickstreamError: as `Target.find`.
    """
    settings = current().find(say=say, need=need)
    say(str(settings))
    return settings


def never_started() -> list[Name]:
    """Name the local servers that have no address yet, so that there is nothing to wait for.

    Raises:
        ConfigError: as `current`.
        ServerError: the state folder cannot be read.
    """
    from clickstream.servers import local, processes

    if current().is_hosted:
        return []
    return [name for name in local.NAMES if not processes.port(name)]
