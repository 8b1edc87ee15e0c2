"""The target of a command: `--target`, `--conf`, and a line on stderr that names it."""

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
from clickstream.errors import CONF, TARGET, ConfigError

if TYPE_CHECKING:
    from clickstream.servers.nodes import Name
    from clickstream.settings import Settings
    from clickstream.targets.target import Target

BOTH: Final = ("kafka", "opensearch")

TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        envvar=TARGET,
        metavar="local|hosted",
        help="Default: hosted if conf/ has both files.",
    ),
]
FolderOption = Annotated[
    Path | None, typer.Option("--conf", envvar=CONF, metavar="DIR", help="Default: conf/.")
]


_chosen: ContextVar[Callable[[], Target]] = ContextVar("target of the command that runs")


def set_options(wanted: str | None, folder: Path | None) -> None:
    """Store the options; commands without a target do not validate them."""
    _chosen.set(cache(partial(_choose, wanted, folder)))


def current() -> Target:
    """Return the target of the options; the default folder is that of the clone.

    Raises:
        ConfigError: as `targets.choose`, or no such folder.
    """
    return _chosen.get()()


def _choose(wanted: str | None, folder: Path | None) -> Target:
    """Choose the target of a command, and record its options for the commands in error hints.

    Without the options, a pasted command would use another target.
    """
    from clickstream.settings import CLONE, LOCAL
    from clickstream.targets import target

    folder = folder and Path(os.path.expanduser(folder))
    if folder is not None and not folder.is_dir() and wanted != LOCAL:
        msg = f"folder {folder} does not exist"
        raise ConfigError(msg, "use the folder with kafka.json and opensearch.json")
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
    """Find the target's settings, and print them.

    Args:
        need: the servers that must answer.

    Raises:
        ClickstreamError: as `Target.find`.
    """
    settings = current().find(say=say, need=need)
    say(str(settings))
    return settings


def never_started() -> list[Name]:
    """Return the local servers without an address; waiting for them is pointless.

    Raises:
        ConfigError: as `current`.
        ServerError: the state folder cannot be read.
    """
    from clickstream.servers import local, processes

    if current().is_hosted:
        return []
    return [name for name in local.NAMES if not processes.port(name)]
