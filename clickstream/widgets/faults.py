"""Faults that the control room and notebook 07 share: a consumer to kill, and invalid messages."""

from __future__ import annotations

import sys
import time
from typing import Final

from clickstream import producer
from clickstream.reports import ProduceReport
from clickstream.servers import processes
from clickstream.settings import KafkaSettings, Settings
from clickstream.simulation import invalid_events
from clickstream.simulation.simulator import Simulator

CONSUMER: Final = "consumer"
"""Its name in the state folder, so that another kernel and `clickstream down` find it."""

_DAY_MS: Final = 86_400_000


def start_consumer(settings: Settings, *, opensearch_url: str | None = None) -> int:
    """Start `clickstream consume` in a separate process, and return its pid.

    It replaces a running one.

    Args:
        settings: names the target, the topic, the group and the index.
        opensearch_url: of a proxy, in place of that of the settings.
    """
    processes.stop(CONSUMER)
    kafka, opensearch = settings.kafka, settings.opensearch
    arguments = [
        *(sys.executable, "-m", "clickstream", "--target", settings.target),
        *("consume", "--group", kafka.group_id, "--topic", kafka.topic),
        *("--index", opensearch.index, "--opensearch", opensearch_url or opensearch.url),
    ]
    return processes.spawn(CONSUMER, arguments, processes.folder()).pid


def send_invalid_events(settings: KafkaSettings) -> ProduceReport:
    """Send one invalid message of each kind; see `simulation.invalid_events`.

    Raises:
        DeliveryError, ServerError: as `producer.send_raw`.
    """
    now_ms = round(time.time() * 1000)
    # A small crowd is drawn at once; its first event may be an hour after its start.
    event = next(Simulator(seed=now_ms, start_ms=now_ms - _DAY_MS, readers=100).events())
    values = invalid_events.of_every_kind(event)
    return producer.send_raw(settings, [(value, event.user_id, None) for value in values])
