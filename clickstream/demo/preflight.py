"""Pre-flight: check everything that the demo needs, without changing anything."""

from __future__ import annotations

import platform
import re
import shutil
import socket
import sys
from collections import defaultdict
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import psutil

from clickstream.demo import target_checks
from clickstream.demo.finding import Finding, run_check
from clickstream.errors import ClickstreamError
from clickstream.servers import download, local, processes
from clickstream.servers.free_space import FOR_DEMO
from clickstream.settings import CLONE
from clickstream.targets import target as targets
from clickstream.targets.target import Target


def run(target: Target | None = None) -> list[Finding]:
    """Check machine, files, servers and names, in the order of their dependencies.

    A `ClickstreamError` becomes a finding, except for an environment without a valid target.

    Args:
        target: by default the target of this kernel.
    """
    target = target or targets.from_environment()
    environment = [Finding("Python", True, platform.python_version()), _packages()]
    if target.is_hosted:
        return [*environment, *target_checks.run(target)]
    return [
        *environment,
        _memory(),
        _disk(),
        _ports(),
        _files(),
        run_check("servers", _servers),
        run_check("topic", lambda: target_checks.topic(target.find().kafka)),
        run_check("index", lambda: target_checks.documents(target.find().opensearch)),
    ]


def _finding(subject: str, is_good: bool, found: str, remedy: str) -> Finding:
    return Finding(subject, is_good, found, "" if is_good else remedy)


def _packages() -> Finding:
    lock = CLONE / "requirements.lock"
    pinned: defaultdict[str, set[str]] = defaultdict(set)
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE):
        pinned[name].add(version)  # an older Python has another version
    needed = {re.split(r"[^\w.-]", each)[0] for each in metadata.requires("clickstream") or ()}
    # Another environment, such as conda, has different versions.
    is_ours = Path(sys.prefix).resolve() == (CLONE / ".venv").resolve()
    others = []
    for name, versions in pinned.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name in needed:  # others may be for other systems
                others.append(f"{name} is missing")
            continue
        if is_ours and version not in versions:
            others.append(f"{name} is {version}, not {max(versions)}")
    found = ", ".join(others) or ("as pinned" if is_ours else f"all installed in {sys.prefix}")
    return _finding(
        "packages", not others, found, "run `make demo`, which installs the pinned packages"
    )


def _memory() -> Finding:
    held = 0
    with suppress(ClickstreamError):  # the line of the servers reports it
        held = sum(each.memory_mb or 0 for each in local.status()) * 1_000_000
    needed = max(FOR_DEMO.memory_bytes - held, 0)
    free = psutil.virtual_memory().available
    found = f"{free / 1e9:,.1f} GB free, {needed / 1e9:,.1f} GB needed"
    return _finding("memory", free >= needed, found, "close other programs")


def _ports() -> Finding:
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            socket.create_connection(listening.getsockname(), timeout=2).close()
    except OSError as error:
        found = f"listening on 127.0.0.1: {error.strerror or error}"
        return Finding(
            "ports", False, found, "allow Python and Java to listen there; check your firewall"
        )
    return Finding("ports", True, "127.0.0.1 has free ports; none is fixed")


def _disk() -> Finding:
    folder = processes.folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    needed = FOR_DEMO.disk_bytes
    found = f"{free / 1e9:,.1f} GB free in {processes.folder()}"
    remedy = f"free {needed / 1e9:.0f} GB, or move the folder with CLICKSTREAM_STATE"
    return _finding("disk", free >= needed, found, remedy)


def _files() -> Finding:
    missing = download.missing_bytes()
    found = f"{missing / 1e6:,.0f} MB to download" if missing else f"in {download.cache_dir()}"
    return _finding(
        "servers' files", not missing, found, "run `make prepare` with a good connection"
    )


def _servers() -> str:
    found = local.find()
    return (
        f"target {found.target}: Kafka on {found.kafka.bootstrap_servers}, OpenSearch on "
        f"{found.opensearch.url}"
    )
