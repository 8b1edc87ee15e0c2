"""`make bench`: what the kit promises about speed, as ratios measured in one run.

Prints one row per promise and exits with 1, naming the row, when a bar is missed. Runs on
the pair of servers that `CLICKSTREAM_STATE` names and leaves topics and indexes as they were.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

import psutil

from benchmarks import alone, index, latency, memory, produce, simulate, template, throughput
from benchmarks.template import AUTO_IDS, DYNAMIC, OURS, ratios
from clickstream.errors import ClickstreamError, shown
from clickstream.servers import download, local
from clickstream.settings import Settings

CHART = Path("build/bench/throughput.html")


@dataclass(frozen=True)
class Row:
    """One promise: what was measured, and the bar."""

    name: str
    value: float
    bar: float
    at_least: bool
    detail: str

    @property
    def is_met(self) -> bool:
        """Whether the value is on the right side of the bar."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        met = "met" if self.is_met else "MISSED"
        return f"{self.name:<58} {self.value:>8.3f}  {sign} {self.bar:<6g} {met:<7} {self.detail}"


def at_least(name: str, bar: float, rounds: Sequence[float], detail: str) -> Row:
    """Judge the median of the rounds, and show their spread."""
    spread = f"spread {min(rounds):.2f}–{max(rounds):.2f}"
    return Row(name, median(rounds), bar, True, f"{detail}, {spread}")


def at_most(name: str, bar: float, value: float, detail: str = "") -> Row:
    """Judge a value that is to be small."""
    return Row(name, value, bar, False, detail)


def of_the_simulator() -> Iterator[Row]:
    """Without any server."""
    found = simulate.measure()
    yield at_least(
        "simulate and encode ÷ msgspec encoding alone",
        0.09,
        found.ratios,
        f"{found.simulated_per_second:,.0f} of {found.encoded_per_second:,.0f} events/s",
    )
    memory_mb = alone.run(simulate.memory_mb)
    yield at_most("memory of a process with 100,000 readers, MB", 300, memory_mb)
    number, seconds = alone.run(simulate.history_s)
    name = "seven days of a million events, simulated and encoded, s"
    yield at_most(name, 60, seconds, f"{number:,} events")


def of_the_pace(settings: Settings) -> Iterator[Row]:
    """How near the rate comes to what was asked for."""
    for rate, seconds in ((50, 80), (500, 8), (5_000, 0.8)):
        found = produce.measure(settings, rate)
        name = f"deviation from the rate, 4,000 events at {rate}/s ({seconds:g} s)"
        yield at_most(name, 0.05, abs(found / rate - 1), f"{found:,.1f} events/s")


def of_the_consumer(settings: Settings) -> Iterator[Row]:
    """How fast it is, beside the server's own limit and beside other clients."""
    found = index.measure(settings)
    yield at_least(
        "Kafka → OpenSearch documents/s ÷ bulk ceiling",
        0.9,
        ratios(found.consumed_per_second, found.ceiling_per_second),
        f"{median(found.consumed_per_second):,.0f} of {median(found.ceiling_per_second):,.0f} "
        f"documents/s ({found.senders} senders)",
    )
    yield at_most(
        "CPU of the consumer's process, µs per document",
        4,
        median(found.cpu_us),
        f"spread {min(found.cpu_us):.2f}–{max(found.cpu_us):.2f}",
    )
    others = index.compare(settings)
    ours, _ = others.pop(index.OURS)
    for name, (per_second, cpu_us) in others.items():
        yield at_least(
            f"consumer ÷ {name}, documents/s",
            1,
            ratios(ours, per_second),
            f"{median(ours):,.0f} and {median(per_second):,.0f} documents/s for "
            f"{median(cpu_us):.0f} µs of CPU each",
        )


def of_the_template(settings: Settings) -> Iterator[Row]:
    """What ids of our own cost, and what the mapping gains."""
    found = template.measure(settings)
    for name, bar, other in (
        ("own ids ÷ ids made by OpenSearch, documents/s", 0.8, AUTO_IDS),
        ("index template ÷ dynamic mapping, documents/s", 1.4, DYNAMIC),
    ):
        detail = f"{median(found[OURS]):,.0f} and {median(found[other]):,.0f} documents/s"
        yield at_least(name, bar, ratios(found[OURS], found[other]), detail)


def of_latency(settings: Settings) -> Iterator[Row]:
    """How long until an event is safe, and until it is seen."""
    found = latency.measure(settings)
    name = f"Kafka → acknowledged at {latency.RATE:,} events/s"
    yield at_most(f"{name}, p50, ms", 150, found.acknowledged_p50, f"{found.rate:,.0f} events/s")
    yield at_most(f"{name}, p99, ms", 500, found.acknowledged_p99)
    yield at_most(
        f"Kafka → searchable at {latency.RATE:,} events/s, p99, ms",
        1_500,
        found.searchable_p99,
        f"p50 {found.searchable_p50:,.0f}; {found.num_searched:,} events, refresh 1 s",
    )


def of_memory(settings: Settings) -> Iterator[Row]:
    """That what waits is not kept in memory."""
    peak_mb = memory.with_lag_mb(settings)
    yield at_most("peak memory of the consumer, a million messages of lag, MB", 200, peak_mb)
    found = memory.in_outage(settings)
    yield at_most(
        f"its growth in {memory.OUTAGE_S} s without OpenSearch, MB",
        10,
        found.peak_mb - found.before_mb,
        f"from {found.before_mb:.0f} MB; {memory.RATE:,} events/s, none of "
        f"{found.num_events:,} lost",
    )


def main() -> None:
    """Print the table as it comes, and judge it."""
    memory_gb = psutil.virtual_memory().total / 1e9
    print(
        f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, {memory_gb:.0f} GB, "
        f"Python {platform.python_version()}, Kafka {download.KAFKA_VERSION}, "
        f"OpenSearch {download.OPENSEARCH_VERSION}",
        flush=True,
    )
    missed = []

    def judge(rows: Iterator[Row]) -> None:
        for row in rows:
            print(row, flush=True)
            if not row.is_met:
                missed.append(row.name)

    judge(of_the_simulator())
    settings = local.up()
    parts: tuple[Callable[[Settings], Iterator[Row]], ...] = (
        *(of_the_pace, of_the_consumer, of_the_template, of_latency, of_memory),
    )
    for part in parts:
        judge(part(settings))
    measured = throughput.measure(settings)
    throughput.draw(measured, CHART)
    print("", *throughput.table(measured), f"drawn in {CHART}", sep="\n")
    if missed:
        sys.exit(f"missed: {'; '.join(missed)}")


try:
    main()
except ClickstreamError as error:
    sys.exit(f"bench: {shown(error)}")
