"""How near the produced rate comes to the rate asked for."""

from __future__ import annotations

import uuid
from random import Random

from clickstream import producer
from clickstream.kafka import topics
from clickstream.settings import Settings
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.traffic import Traffic


def measure(settings: Settings, rate: float, *, num_events: int = 4_000) -> float:
    """Produce live at a rate, and give the events per second that came about."""
    kafka = settings.in_namespace(f"bench-{uuid.uuid4().hex[:8]}").kafka
    topics.ensure_topics(kafka)
    pace = Pace(rate, rng=Random(1))
    source = PacedEvents(Traffic(live_now(seed=1)), pace, num_events=num_events)
    try:
        report = producer.produce(kafka, source)
    finally:
        topics.delete_topics(kafka)
    return report.events_per_second
