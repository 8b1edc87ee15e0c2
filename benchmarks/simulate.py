"""How much of msgspec's own speed is left once events are simulated, too; and in what memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from statistics import median

import psutil

from clickstream import events
from clickstream.simulation.articles import DAY_MS
from clickstream.simulation.simulator import Simulator, crowd_for

NUM_EVENTS = 200_000
ROUNDS = 5
MONDAY_MS = 1_767_571_200_000


@dataclass(frozen=True)
class Simulated:
    """Medians, and the ratio of every round."""

    simulated_per_second: float
    encoded_per_second: float
    ratios: list[float]


def measure() -> Simulated:
    """Simulate and encode events, beside encoding the same events alone, in turns."""
    crowd = Simulator(seed=1, start_ms=MONDAY_MS)
    rounds = [_round(crowd) for _ in range(ROUNDS)]
    return Simulated(
        simulated_per_second=NUM_EVENTS / median(simulated for simulated, _ in rounds),
        encoded_per_second=NUM_EVENTS / median(encoded for _, encoded in rounds),
        ratios=[encoded / simulated for simulated, encoded in rounds],
    )


def _round(crowd: Simulator) -> tuple[float, float]:
    """Seconds of both ways. What they made is gone before the next round needs the memory."""
    encode = events.encode
    # Both keep what they make, as somebody who hands it on does.
    started_s = time.perf_counter()
    made = [encode(event) for event in islice(crowd.events(), NUM_EVENTS)]
    simulated_s = time.perf_counter() - started_s
    sample = list(islice(crowd.events(), NUM_EVENTS))
    started_s = time.perf_counter()
    made = [encode(event) for event in sample]
    encoded_s = time.perf_counter() - started_s
    assert len(made) == NUM_EVENTS
    return simulated_s, encoded_s


def history_s() -> tuple[int, float]:
    """Simulate and encode seven days of a million events: how many, and in how many seconds."""
    started_s = time.perf_counter()
    crowd = Simulator(seed=1, start_ms=0, readers=crowd_for(1_000_000 / 7 / 86_400))
    made = sum(1 for event in crowd.events(until_ms=7 * DAY_MS) if events.encode(event))
    return made, time.perf_counter() - started_s


def memory_mb() -> float:
    """Give this process's resident memory after a million events of 100,000 readers."""
    crowd = Simulator(seed=1, start_ms=0, readers=100_000)
    for _ in islice(crowd.events(), 1_000_000):
        pass
    return float(psutil.Process().memory_info().rss / 1e6)
