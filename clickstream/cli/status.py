"""`clickstream status`: the counts of messages and documents, from the servers that answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime

from clickstream import reports
from clickstream.cli import target
from clickstream.cli.terminal import say
from clickstream.errors import ClickstreamError, MissingError, shown
from clickstream.kafka import offsets
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.reports import Member, Overview
from clickstream.servers.nodes import Name
from clickstream.settings import Settings


@dataclass
class Status:
    """The state of the target; None means unknown."""

    settings: Settings
    unknown: list[Name]
    """Local servers that were never started and therefore have no address."""
    messages: int | None = None
    dead_letters: int | None = None
    repeated_letters: int | None = None
    lag_by_partition: dict[int, int] | None = None
    waiting_s: dict[int, float] | None = None
    stalled: dict[int, int] | None = None
    consumers: list[Member] | None = None
    documents: int | None = None
    newest: datetime | None = None
    missing: list[MissingError] = field(default_factory=list)
    """Why a number is unknown although its server answers: topic or index do not exist yet."""
    errors: dict[str, ClickstreamError] = field(default_factory=dict)
    """By server: why it did not answer."""

    def to_json(self) -> str:
        """Format the status as one JSON object, always with the same keys."""
        kafka, found = self.settings.kafka, self.settings.opensearch
        lag = self.lag_by_partition
        facts = {
            "target": self.settings.target,
            "kafka": {
                "bootstrap_servers": None if "kafka" in self.unknown else kafka.bootstrap_servers
            },
            "opensearch": {"url": None if "opensearch" in self.unknown else found.url},
            "topic": kafka.topic,
            "index": found.index,
            "messages": self.messages,
            "documents": self.documents,
            "dead_letters": self.dead_letters,
            "repeated_letters": self.repeated_letters,
            "repeats": None if (overview := self._overview()) is None else overview.repeats,
            "lag": None if lag is None else sum(lag.values()),
            "lag_by_partition": lag,
            "waiting_s": self.waiting_s,
            "stalled": None if self.stalled is None else sorted(self.stalled),
            "consumers": None if self.consumers is None else [*map(asdict, self.consumers)],
            "errors": {name: shown(error) for name, error in self.errors.items()},
        }
        return json.dumps(facts, default=str)

    def lines(self) -> Iterator[str]:
        """Format the known values for a terminal; there may be none."""
        if not self.unknown:
            yield str(self.settings)
        yield from self._counts()
        yield from map(shown, self.missing)
        waiting_s = self.waiting_s or {}
        for i, messages in (self.lag_by_partition or {}).items():
            yield f"partition {i}: lag {messages:,}" + (
                f", waiting for {waiting_s[i]:,.1f} s" if i in waiting_s else ""
            )
        for i, messages in (self.stalled or {}).items():
            yield (
                f"partition {i} is not read: {messages:,} messages wait, a consumer owns it, "
                f"and its committed offset has not moved for {offsets.STALLED_S:.0f} s; "
                "restart that consumer, nothing is lost"
            )
        yield from map(str, self.consumers or ())

    def _counts(self) -> Iterator[str]:
        if overview := self._overview():
            yield str(overview)
        elif self.documents is not None:
            yield f"{self.documents:,} documents"
        elif self.messages is not None and self.lag_by_partition is not None:
            lag = sum(self.lag_by_partition.values())
            found = reports.letters(self.dead_letters or 0, self.repeated_letters or 0)
            yield f"{self.messages:,} messages, lag {lag:,}, {found}"

    def _overview(self) -> Overview | None:
        """Return the counts of both servers; None if one is unknown."""
        messages, lag, documents = self.messages, self.lag_by_partition, self.documents
        if messages is None or lag is None or documents is None:
            return None
        letters, repeated = self.dead_letters or 0, self.repeated_letters or 0
        return Overview(messages, lag, letters, documents, self.newest, repeated)


def ask_servers() -> Status:
    """Read the counts of both servers; a missing answer is an error in the status.

    Raises:
        ConfigError: the target's files are not valid.
        ServerError: the state folder cannot be read.
    """
    chosen = target.current()
    status = Status(chosen.find(say=say, need=()), unknown=target.never_started())
    # OpenSearch first, so that every counted document has a counted message.
    asked: dict[Name, Callable[[Status], None]] = {
        "opensearch": _ask_opensearch,
        "kafka": _ask_kafka,
    }
    for name, ask in asked.items():
        try:
            chosen.find(need=[name])
            ask(status)
        except MissingError as error:
            status.missing.append(error)
        except ClickstreamError as error:
            status.errors[name] = error
    return status


def _ask_opensearch(status: Status) -> None:
    settings = status.settings.opensearch
    client = opensearch.connect(settings)
    index.refresh(client, settings.index)
    found = index.newest(client, settings.index)
    status.documents, status.newest = found.documents, found.timestamp


def _ask_kafka(status: Status) -> None:
    kafka = status.settings.kafka
    found = offsets.read(kafka)
    status.messages = found.messages
    status.lag_by_partition = {each.partition: each.lag for each in found.partitions}
    status.dead_letters, status.repeated_letters = found.dead_letters, found.repeated_letters
    status.consumers = [*found.members]
    status.waiting_s = offsets.waiting_s(kafka)
    status.stalled = offsets.stalled(kafka)
