"""Pre-flight: look at everything the demo needs, change nothing, say what to do."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace

from clickstream import fetch, index, servers, state, topics
from clickstream.errors import ClickstreamError

FREE_DISK_BYTES = 3_000_000_000
"""2 GB below which OpenSearch allocates nothing, and room for a day's traffic."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    subject: str
    is_good: bool
    found: str
    remedy: str = ""
    """What to do; empty where all is well."""

    def __str__(self) -> str:
        line = f"{'ok ' if self.is_good else 'BAD'}  {self.subject}: {self.found}"
        return line if self.is_good else f"{line}; {self.remedy}"


def run() -> list[Finding]:
    """Look at machine, files, servers and names, in the order in which they build on another.

    Never raises an error of ours: what would be one is a finding.
    """
    findings = [
        Finding("Python", True, platform.python_version()),
        _disk(),
        _files(),
        _asking("servers", _servers),
        _asking("topic", _topic),
        _asking("index", _index),
    ]
    return [replace(each, remedy="") if each.is_good else each for each in findings]


def _disk() -> Finding:
    folder = state.folder()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    return Finding(
        "disk",
        free >= FREE_DISK_BYTES,
        f"{free / 1e9:,.1f} GB free for {state.folder()}",
        f"free {FREE_DISK_BYTES / 1e9:.0f} GB, or move the folder with CLICKSTREAM_STATE",
    )


def _files() -> Finding:
    missing = fetch.missing_bytes()
    return Finding(
        "servers' files",
        missing == 0,
        f"{missing / 1e6:,.0f} MB to fetch" if missing else f"in {fetch.cache_dir()}",
        "run `make prepare` on a good network",
    )


def _asking(subject: str, ask: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, ask())
    except ClickstreamError as error:
        found, _, remedy = str(error).partition("; ")
        return Finding(subject, False, found, remedy)


def _servers() -> str:
    found = servers.find()
    return (
        f"target {found.target}: Kafka on {found.kafka.bootstrap_servers}, OpenSearch on "
        f"{found.opensearch.url}"
    )


def _topic() -> str:
    kafka = servers.find().kafka
    found = topics.partitions(kafka)
    lag = sum(each.lag for each in found)
    return f"{kafka.topic} has {len(found)} partitions, lag {lag:,}"


def _index() -> str:
    settings = servers.find().opensearch
    client = index.connect(settings)
    index.check_mapping(client, settings.index)
    return f"{settings.index} has {index.count(client, settings.index):,} documents"
