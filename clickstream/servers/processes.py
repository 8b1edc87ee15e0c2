"""The state folder, and the processes whose pid and ports are recorded in it.

One folder contains ports, data and logs, so that any process finds the servers that another has
started. This module does not depend on the kind of server.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import psutil
from filelock import FileLock
from platformdirs import user_state_path

from clickstream.errors import Command, ServerError
from clickstream.settings import typed_path

_STOP_TIMEOUT_S = 20.0
_KERNEL = 2
"""Parent of Linux kernel threads, which never have a command line."""


def folder() -> Path:
    """Return the folder of ports, data and logs; `CLICKSTREAM_STATE` overrides it."""
    return typed_path(os.environ.get("CLICKSTREAM_STATE") or user_state_path("clickstream"))


def private_folder() -> Path:
    """Create the folder where it is missing, so that only this user can read it.

    A folder that the user named and that has other files in it keeps its mode.

    Raises:
        ServerError: OpenSearch cannot use this path; nothing was written.
    """
    if "${" in str(folder()):
        msg = f"state folder {folder()}: OpenSearch cannot use a path with '${{'"
        raise ServerError(msg, "set another with CLICKSTREAM_STATE")
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.environ.get("CLICKSTREAM_STATE") or not any(folder().iterdir()):
        folder().chmod(0o700)
    return folder()


@contextmanager
def file_errors() -> Iterator[None]:
    """Translate file system errors inside the block into one-line errors.

    Raises:
        ServerError: a file or the folder cannot be read, created or written.
    """
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename not in (None, str(folder())) else ""
        msg = f"state folder {folder()}: {where}{error.strerror or error}"
        raise ServerError(msg, "make it writable, or set another with CLICKSTREAM_STATE") from error


@contextmanager
def lock() -> Iterator[None]:
    """Prevent other processes from starting or stopping servers during the block.

    Raises:
        ServerError: the folder cannot be created or written.
    """
    with file_errors():
        held = FileLock(private_folder() / "lock")
        held.acquire()
    try:
        yield
    finally:
        held.release()


@contextmanager
def data_lock(data: Path) -> Iterator[TextIO]:
    """Lock a server's data folder, and yield the open lock file.

    A process that inherits the file holds the lock until it ends. It protects the data where the
    record does not help: on another mount, or from inside a container.

    Raises:
        ServerError: a running process holds the lock.
    """
    data.mkdir(mode=0o700, exist_ok=True)
    data.chmod(0o700)
    with (data / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            msg = f"process {file.read() or '(unknown)'} already uses the data in {data}"
            raise ServerError(
                msg,
                "stop it; it may run in another container, or on another machine",
            ) from error
        yield file


def recorded(name: str) -> dict[str, Any]:
    """Read the record of a process: ports, version, pid; empty if it was never started.

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
    """Add facts to the record of a process, or replace them."""
    path = folder() / f"{name}.json"
    new = path.with_suffix(".new")
    new.write_text(json.dumps(recorded(name) | facts))
    os.replace(new, path)


def port(name: str) -> int:
    """Return the client port; 0 if none was ever chosen."""
    return int(recorded(name).get("port", 0))


def log_path(name: str) -> Path:
    """Return the path of the log of the latest start."""
    return folder() / f"{name}.log"


def running(name: str) -> psutil.Process | None:
    """Find the process if the recorded pid still belongs to it: the system reuses pids.

    It is ours if its command line names this folder, or if it works in it. The folder may have
    another name there, such as that of another mount.
    The start time proves nothing, because it changes when the clock is set.

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
            return process if is_named or _works_here(process, name) else None
        # A dying process loses its command line first; a zombie ends with its last thread.
        is_gone = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        return None if is_gone or process.ppid() == _KERNEL else process
    except (KeyError, psutil.Error):
        return None  # never started, gone, or somebody else's


def _works_here(process: psutil.Process, name: str) -> bool:
    there = [each for each in (folder(), folder() / name) if each.exists()]
    with suppress(FileNotFoundError):
        return any(os.path.samefile(process.cwd(), each) for each in there)
    return False


def environment() -> dict[str, str]:
    """Return the environment for our processes.

    It has no settings of the user's own Java, Python, Jupyter and plotly, except where this Python
    finds its modules. It uses UTF-8, and names this folder by its absolute path.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _WHERE_MODULES_ARE or not name.startswith(_FOR_OTHER_PROGRAMS)
    }
    ours = {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1", "CLICKSTREAM_STATE": str(folder())}
    return kept | ours


_FOR_OTHER_PROGRAMS = (
    *("JAVA_", "JDK_", "_JAVA_", "LOG4J_"),
    *("PYTHON", "JUPYTER", "JPY_", "IPYTHON", "IPYKERNEL", "PLOTLY_"),
)
_WHERE_MODULES_ARE = ("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE")


def spawn(
    name: str, arguments: list[str], cwd: Path, *, inherits: Collection[int] = ()
) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, with a separate log, and record its pid.

    Args:
        inherits: file descriptors that stay open in it.
    """
    with log_path(name).open("wb") as log:
        child = subprocess.Popen(
            arguments,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A Ctrl-C in the terminal or the kernel must not reach the servers.
            start_new_session=True,
            env=environment(),
            umask=0o077,
            pass_fds=inherits,
        )
    _children.append(child)
    record(name, pid=child.pid)
    return child


_children: list[subprocess.Popen[bytes]] = []
"""Kept, because Python warns if a running child is garbage collected."""


def kill(name: str) -> int | None:
    """Send SIGKILL and wait until the process is gone; return its pid if it was running."""
    return _end(name, psutil.Process.kill)


def stop(name: str) -> bool:
    """Stop the process and wait until it is gone; say whether it was running."""
    return _end(name, psutil.Process.terminate, psutil.Process.kill) is not None


def _end(name: str, *signals: Callable[[psutil.Process], None]) -> int | None:
    """Send one signal after another until the process is gone; return its pid if it ran."""
    process = running(name)
    if process is None:
        return None
    for send in signals:
        with suppress(psutil.NoSuchProcess):  # ended in the meantime, as wanted
            send(process)
        _wait_until_gone(name)
        if not running(name):
            break
    _reap(process.pid)
    return process.pid


def _wait_until_gone(name: str) -> None:
    deadline_s = time.monotonic() + _STOP_TIMEOUT_S
    # Not psutil's wait: a child of another kernel stays a zombie until that kernel reaps it.
    while running(name) and time.monotonic() < deadline_s:
        time.sleep(0.05)


def _reap(pid: int) -> None:
    for child in _children:  # reap our own children, or they stay zombies
        with suppress(subprocess.TimeoutExpired):
            child.wait(1 if child.pid == pid else 0)
