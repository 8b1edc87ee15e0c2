"""Two days of events from before the live traffic, so that charts have data to show.

A fixed seed and the covered hours determine the history. The index stores these hours, so that a
later call can find and add missing events by id.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from clickstream import consumer, producer
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.reports import BoldLine
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator, crowd_for

HOURS = 48
EVENTS = 100_000
SEED = 7
"""About this many events in this many hours, up to a full hour, always with this seed."""

_HOUR_MS = 3_600_000
_FACT = "history_ms"
"""The index stores start and end of the history under this name."""


@dataclass(frozen=True)
class HistoryReport(BoldLine):
    """The documents that loading the history added; 0 if the history was complete."""

    since: datetime
    until: datetime
    events: int
    """Events of the whole history."""
    added: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"history of {self.events:,} events, {self.since:%d %b %H:%M} to "
            f"{self.until:%d %b %H:%M} UTC: {self.added:,} added in {self.seconds:.1f} s"
        )


def load(settings: Settings, *, patience_s: float | None = None) -> HistoryReport:
    """Load the history into topic and index; a later call adds only missing events.

    The first call fixes the hours: the history ends with the last full hour before any existing
    document, so that history and live events never share a chart.

    Args:
        settings: the target; topic and index must exist.
        patience_s: give up if OpenSearch accepts nothing for this long; by default never.

    Raises:
        ServerError, BulkError, ConfigError, DeliveryError, Interrupted: as
            `consumer.index_topic` and `producer.send`; a later call continues.
    """
    started_s = time.monotonic()
    client, name = opensearch.connect(settings.opensearch), settings.opensearch.index
    hours_ms = index.read_facts(client, name).get(_FACT)
    # Messages that wait in the topic may be part of the history, or older.
    consumer.index_topic(settings, until_caught_up=True, patience_s=patience_s)
    index.refresh(client, name)
    if hours_ms is None:
        now_ms = int(time.time() * 1000)
        oldest_ms = index.oldest_ms(client, name)
        end_ms = min(now_ms, oldest_ms or now_ms) // _HOUR_MS * _HOUR_MS
        hours_ms = [end_ms - HOURS * _HOUR_MS, end_ms]
        # Before the first event, so that a later call can continue an interrupted load.
        index.write_facts(client, name, {_FACT: hours_ms})
    start_ms, end_ms = hours_ms
    crowd = Simulator(seed=SEED, start_ms=start_ms, readers=crowd_for(EVENTS / (HOURS * 3600)))
    events = list(crowd.events(until_ms=end_ms))
    there = set(index.ids(client, name, until_ms=end_ms))
    missing = [event for event in events if event.event_id not in there]
    if missing:
        producer.send(settings.kafka, missing)
        consumer.index_topic(settings, until_caught_up=True, patience_s=patience_s)
        index.refresh(client, name)
    seconds = time.monotonic() - started_s
    return HistoryReport(_moment(start_ms), _moment(end_ms), len(events), len(missing), seconds)


def window(settings: Settings) -> tuple[datetime, datetime] | None:
    """Return start and end of the history in the index; None if none was loaded.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    client = opensearch.connect(settings.opensearch)
    hours_ms = index.read_facts(client, settings.opensearch.index).get(_FACT)
    return None if hours_ms is None else (_moment(hours_ms[0]), _moment(hours_ms[1]))


def forget(settings: Settings) -> None:
    """Remove the record of the history, after its documents were deleted.

    Raises:
        ConfigError, ServerError: as `window`, or OpenSearch refuses.
    """
    if window(settings) is not None:
        client = opensearch.connect(settings.opensearch)
        index.write_facts(client, settings.opensearch.index, {_FACT: None})


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
