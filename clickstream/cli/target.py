"""What every command says of its target: `--target`, `--conf`, and a line on stderr."""

from __future__ import annotations

import os
import shlex
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

import typer

from clickstream.cli.terminal import say
from clickstream.errors import OPTIONS, ConfigError
from clickstream.settings import CLONE, LOCAL, Settings
from clickstream.targets import target
from clickstream.targets.target import Target

Wanted = Annotated[
    str | None,
    typer.Option(
        "--target",
        envvar=target.TARGET,
        metavar="local|hosted",
        help="By default hosted where conf/ names one.",
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option("--conf", envvar=target.FOLDER, metavar="DIR", help="By default conf/."),
]


_chosen: ContextVar[Target] = ContextVar("target of the command that runs")


def choose(wanted: str | None, folder: Path | None) -> None:
    """Choose as the options say; a folder by default is the clone's own, wherever one stands.

    The commands that errors name take the same options, or what is pasted would do its work on
    another target.

    Raises:
        ConfigError: as `targets.choose`, or no such folder.
    """
    folder = folder and Path(os.path.expanduser(folder))
    if folder is not None and not folder.is_dir() and wanted != LOCAL:
        msg = f"looking into {folder}: there is no such folder; name the one with the two files"
        raise ConfigError(msg)
    typed = [
        f"{option} {shlex.quote(str(value))}"
        for option, variable, value in (
            ("--target", target.TARGET, wanted),
            ("--conf", target.FOLDER, folder and folder.absolute()),
        )
        if value and str(value) != os.environ.get(variable)
    ]
    if typed:
        os.environ[OPTIONS] = " ".join(typed)
    if folder:
        os.environ[target.FOLDER] = str(folder)  # errors name its files
    _chosen.set(target.choose(folder or CLONE / "conf", wanted or None))


def current() -> Target:
    """Give what was chosen for the command that runs."""
    return _chosen.get()


def find() -> Settings:
    """Find the target's settings, and say them.

    Raises:
        ClickstreamError: as `Target.find`.
    """
    settings = current().find(say=say)
    say(str(settings))
    return settings
