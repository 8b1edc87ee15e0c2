"""The state folder, and the processes whose pid and ports are recorded in it.

One folder holds ports, data and logs, so that any process finds what another has started.
What a server is, and when it is ready, is not known here.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock
from platformdirs import user_state_path

from clickstream.errors import Command, ServerError

_STOP_TIMEOUT_S = 20.0
_KERNEL = 2
"""Parent of Linux's own threads, which never have a command line."""


def folder() -> Path:
    """Name the folder of ports, data and logs; `CLICKSTREAM_STATE` moves it."""
    named = os.environ.get("CLICKSTREAM_STATE")
    return Path(named).absolute() if named else user_state_path("clickstream")


@contextmanager
def file_errors() -> Iterator[None]:
    """Turn what the file system refuses inside the block into an error of one line.

    Raises:
        ServerError: a file or the folder cannot be read, made or written.
    """
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename not in (None, str(folder())) else ""
        msg = f"state folder {folder()}: {where}{error.strerror or error}"
        raise ServerError(
            msg, "make it writable, or name another with CLICKSTREAM_STATE"
        ) from error


@contextmanager
def lock() -> Iterator[None]:
    """Keep every other process from starting or stopping anything during the block.

    Raises:
        ServerError: the folder cannot be made or written.
    """
    with file_errors():
        folder().mkdir(parents=True, exist_ok=True)
        held = FileLock(folder() / "lock")
        held.acquire()
    try:
        yield
    finally:
        held.release()


def recorded(name: str) -> dict[str, Any]:
    """Read the record of a process: ports, version, pid; empty where it was never started.

    Raises:
        ServerError: the record is damaged or cannot be read.
    """
    path = folder() / f"{name}.json"
    with file_errors():
        try:
            return dict(json.loads(path.read_text()))
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError) as error:
            msg = f"{path} is damaged ({error})"
            raise ServerError(msg, ("delete it, then ", Command("up"))) from error


def record(name: str, **facts: Any) -> None:
    """Add to the record of a process, or replace what it says."""
    path = folder() / f"{name}.json"
    new = path.with_suffix(".new")
    new.write_text(json.dumps(recorded(name) | facts))
    os.replace(new, path)


def port(name: str) -> int:
    """Give the port where clients connect; 0 where none was ever chosen."""
    return int(recorded(name).get("port", 0))


def log_path(name: str) -> Path:
    """Name the log of the latest start."""
    return folder() / f"{name}.log"


def running(name: str) -> psutil.Process | None:
    """Find the process, if the recorded pid is still its own: the system uses pids again.

    It is ours when its command line names this folder, or it works in it. The time of its
    start is no proof: it moves when somebody sets the clock.

    Raises:
        ServerError: as `recorded`.
    """
    try:
        process = psutil.Process(recorded(name)["pid"])
        arguments: list[str] = []
        with suppress(psutil.ZombieProcess):
            arguments = process.cmdline()
        if arguments:
            is_named = any(str(folder()) in each for each in arguments)
            is_ours = is_named or Path(process.cwd()) == folder().resolve()
            return process if is_ours else None
        # Dying, the command line goes first; a zombie is gone once the last of its threads is.
        is_gone = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        return None if is_gone or process.ppid() == _KERNEL else process
    except (KeyError, psutil.Error):
        return None  # never started, gone, or somebody else's


def environment() -> dict[str, str]:
    """Give the environment for processes of ours.

    No options meant for the user's own Java, paths in UTF-8, and this folder by its whole path,
    whatever their working directory.
    """
    meant_for_others = ("JAVA_", "JDK_", "_JAVA_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(meant_for_others)}
    return kept | {"LC_ALL": "C.UTF-8", "CLICKSTREAM_STATE": str(folder())}


def spawn(name: str, arguments: list[str], cwd: Path) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, with a log of its own, and record its pid."""
    with log_path(name).open("wb") as log:
        child = subprocess.Popen(
            arguments,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A Ctrl-C in the terminal or the kernel is not for the servers.
            start_new_session=True,
            env=environment(),
        )
    _children.append(child)
    record(name, pid=child.pid)
    return child


_children: list[subprocess.Popen[bytes]] = []
"""Kept, because Python warns when a child that still runs is garbage collected."""


def kill(name: str) -> int | None:
    """Kill the process with SIGKILL and wait until it is gone; give its pid, if it was running."""
    process = running(name)
    if process is None:
        return None
    with suppress(psutil.NoSuchProcess):
        process.kill()
    _wait_until_gone(name)
    _reap(process.pid)
    return process.pid


def stop(name: str) -> bool:
    """Stop the process and wait until it is gone; say whether it was running."""
    process = running(name)
    if process is None:
        return False
    for end in (process.terminate, process.kill):
        with suppress(psutil.NoSuchProcess):  # gone between two looks, which is what was wanted
            end()
        _wait_until_gone(name)
        if not running(name):
            break
    _reap(process.pid)
    return True


def _wait_until_gone(name: str) -> None:
    deadline_s = time.monotonic() + _STOP_TIMEOUT_S
    # Not psutil's wait: a child of another kernel stays a zombie until that kernel looks.
    while running(name) and time.monotonic() < deadline_s:
        time.sleep(0.05)


def _reap(pid: int) -> None:
    for child in _children:  # or it stays a zombie, whoever stopped it
        with suppress(subprocess.TimeoutExpired):
            child.wait(1 if child.pid == pid else 0)
