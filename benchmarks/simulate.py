"""How much of msgspec's own speed is left once events are simulated, too."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import islice
from statistics import median

from clickstream import events
from clickstream.simulator import Simulator

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
