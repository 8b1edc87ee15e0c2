"""How long a message takes from Kafka until it is acknowledged, and until it is searchable.

Producer, consumer and who searches run side by side at the highest rate that the pace is
promised for. Every time goes from the message's own timestamp, which Kafka's client sets
when the message is handed to it.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from random import Random
from statistics import median, quantiles

from opensearchpy import OpenSearch

from benchmarks import alone, consumers, fresh
from clickstream import events, producer
from clickstream.events import Event
from clickstream.kafka import messages, offsets, topics
from clickstream.settings import KafkaSettings, Settings
from clickstream.simulation.pacing import Pace, PacedEvents, live_now
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic

RATE = 5_000
SECONDS, WARM_UP_S = 20, 5
EVERY = 200
"""So many events, one is searched for until it is found."""
POLL_S = 0.05


@dataclass(frozen=True)
class Latency:
    """In milliseconds from the message's timestamp."""

    rate: float
    """Events per second that came about."""
    acknowledged_p50: float
    acknowledged_p99: float
    searchable_p50: float
    searchable_p99: float
    num_searched: int


def measure(settings: Settings) -> Latency:
    """Produce live for 20 s while a consumer indexes, and look when what is where."""
    group_id = fresh.name()
    with (
        fresh.topic(settings) as (namespace, own),
        fresh.stream(own) as client,
        alone.running(consumers.acknowledged_ms, namespace, group_id) as process,
        ThreadPoolExecutor(1) as pool,
    ):
        group = own.for_group(group_id).kafka
        traffic = _Sampled(live_now(seed=1))
        is_over = threading.Event()
        searched = pool.submit(_found_ms, client, own.opensearch.index, traffic.sampled, is_over)
        try:
            pace = Pace(RATE, rng=Random(1))
            source = PacedEvents(traffic, pace, num_events=RATE * (WARM_UP_S + SECONDS))
            report = producer.produce(own.kafka, source)
            _wait_until_read(group)
        finally:
            is_over.set()
        found_ms = searched.result()
        acknowledged_ms = alone.answer(process)
        sent_ms = {
            events.decode(message.value).event_id: message.timestamp.timestamp() * 1000
            for message in messages.read(own.kafka)
            if message.value is not None
        }
        topics.delete_group(group)
    counted_from_ms = min(sent_ms.values()) + 1000 * WARM_UP_S
    counts = {i: at_ms for i, at_ms in sent_ms.items() if at_ms >= counted_from_ms}
    acknowledged = [acknowledged_ms[i] - at_ms for i, at_ms in counts.items()]
    searchable = [at_ms - counts[i] for i, at_ms in found_ms.items() if i in counts]
    return Latency(
        report.events_per_second,
        median(acknowledged),
        quantiles(acknowledged, n=100)[98],
        median(searchable),
        quantiles(searchable, n=100)[98],
        len(searchable),
    )


class _Sampled(Traffic):
    """Notes the id of every 200th event before it is sent."""

    def __init__(self, crowd: Simulator) -> None:
        super().__init__(crowd)
        self.sampled: SimpleQueue[str] = SimpleQueue()
        self._num_steps = 0

    def step(self, at_ms: int | None = None) -> list[Event]:
        found = super().step(at_ms)
        self._num_steps += 1
        if self._num_steps % EVERY == 0:
            self.sampled.put(found[-1].event_id)
        return found


def _found_ms(
    client: OpenSearch, name: str, sampled: SimpleQueue[str], is_over: threading.Event
) -> dict[str, float]:
    """Search for what is sampled, again and again, until all of it has been found."""
    found: dict[str, float] = {}
    missing: list[str] = []
    while not is_over.is_set() or missing or not sampled.empty():
        while not sampled.empty():
            missing.append(sampled.get())
        # A search, for to ask for a document by its id sees it before it is searchable.
        body = {"query": {"ids": {"values": missing}}, "size": len(missing), "_source": False}
        hits = client.search(index=name, body=body)["hits"]["hits"]
        now_ms = time.time() * 1000
        found |= {hit["_id"]: now_ms for hit in hits}
        missing = [each for each in missing if each not in found]
        time.sleep(POLL_S)
    return found


def _wait_until_read(group: KafkaSettings) -> None:
    while any(offsets.consumer_lag(group).values()):
        time.sleep(0.1)
