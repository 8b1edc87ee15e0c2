"""How near the produced rate comes to the rate asked for."""

from __future__ import annotations

import time
import uuid
from random import Random

from clickstream import producer
from clickstream.kafka import topics
from clickstream.settings import Settings
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Stage


def measure(settings: Settings, rate: float, *, num_events: int = 4_000) -> float:
    """Produce live at a rate, and give the events per second that came about."""
    kafka = settings.in_namespace(f"bench-{uuid.uuid4().hex[:8]}").kafka
    topics.ensure_topics(kafka)
    now_ms = int(time.time() * 1000)
    try:
        report = producer.produce(
            kafka,
            Stage(Simulator(seed=1, start_ms=now_ms, live_from_ms=now_ms)),
            pace=producer.Pace(rate, rng=Random(1)),
            num_events=num_events,
        )
    finally:
        topics.delete_topics(kafka)
    return report.events_per_second
