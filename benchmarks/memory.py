"""Resident memory of a consumer: with a backlog before it, and while OpenSearch is away."""

from __future__ import annotations

import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from random import Random

import psutil

from benchmarks import alone, consumers, fresh
from clickstream import producer
from clickstream.kafka import offsets, topics
from clickstream.reports import ProduceReport
from clickstream.settings import Settings
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic
from tests.support.outages import taken_down

NUM_EVENTS = 1_000_000
RATE = 1_000
SETTLE_S = 10
OUTAGE_S = 60
_LOOK_EVERY_S = 0.05


def with_lag_mb(settings: Settings) -> float:
    """Give the peak while a million messages are indexed that lie in the topic."""
    group_id = fresh.name()
    with fresh.topic(settings) as (namespace, own):
        crowd = Simulator(seed=1, start_ms=fresh.MONDAY_MS)
        producer.send(own.kafka, islice(crowd.events(), NUM_EVENTS))
        with (
            fresh.stream(own, num_documents=NUM_EVENTS),
            alone.running(consumers.ours, namespace, group_id) as process,
        ):
            peak_mb = _peak_mb(process)
            stored, _, _ = alone.answer(process)
        topics.delete_group(own.for_group(group_id).kafka)
    assert stored == NUM_EVENTS
    return peak_mb


@dataclass(frozen=True)
class Outage:
    """What an outage of OpenSearch did to the consumer."""

    before_mb: float
    peak_mb: float
    num_events: int
    """Produced before, during and after: all of them were stored in the end."""


def in_outage(settings: Settings) -> Outage:
    """Take OpenSearch down for a minute while events go on coming."""
    group_id, is_over = fresh.name(), threading.Event()
    with (
        fresh.topic(settings) as (namespace, own),
        fresh.stream(own) as client,
        alone.running(consumers.until_told, namespace, group_id) as process,
        ThreadPoolExecutor(1) as pool,
    ):
        producing = pool.submit(_produce, own, is_over)
        try:
            time.sleep(SETTLE_S)
            before_mb = _resident_mb(process)
            with taken_down("opensearch"):
                peak_mb = _peak_mb(process, for_s=OUTAGE_S)
        finally:
            is_over.set()
        num_events = producing.result().delivered
        group = own.for_group(group_id).kafka
        while any(offsets.consumer_lag(group).values()):
            time.sleep(0.2)
        alone.answer(process)
        # Not what it says it stored: what lost its answer counts there as replayed.
        fresh.check(client, own.opensearch.index, num_events)
        topics.delete_group(group)
    return Outage(before_mb, peak_mb, num_events)


def _produce(settings: Settings, is_over: threading.Event) -> ProduceReport:
    source = PacedEvents(Traffic(live_now(seed=1)), Pace(RATE, rng=Random(1)))
    return producer.produce(settings.kafka, source, stop=is_over)


def _peak_mb(process: subprocess.Popen[str], *, for_s: float = float("inf")) -> float:
    """Look at a process until it ends, or for so long."""
    ends_s = time.monotonic() + for_s
    peak_mb = 0.0
    while process.poll() is None and time.monotonic() < ends_s:
        peak_mb = max(peak_mb, _resident_mb(process))
        time.sleep(_LOOK_EVERY_S)
    return peak_mb


def _resident_mb(process: subprocess.Popen[str]) -> float:
    with suppress(psutil.Error):  # it may end between two looks
        return float(psutil.Process(process.pid).memory_info().rss / 1e6)
    return 0.0
