"""`make bench`: what the kit promises about speed, as ratios measured in one run.

Prints one row per promise and exits with 1, naming the row, when a bar is missed. Runs on
the pair of servers that `CLICKSTREAM_STATE` names and leaves topics and indexes as they were.
"""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from benchmarks import index, produce, simulate
from clickstream import servers
from clickstream.errors import ClickstreamError


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
        return f"{self.name:<58} {self.value:>7.3f}  {sign} {self.bar:<6g} {met:<7} {self.detail}"


def rows() -> Iterator[Row]:
    """Measure one promise after another."""
    ratios = simulate.measure()
    yield Row(
        "simulate and encode ÷ msgspec encoding alone",
        statistics.median(ratios.ratios),
        0.09,
        True,
        f"{ratios.simulated_per_second:,.0f} of {ratios.encoded_per_second:,.0f} events/s",
    )
    memory_mb = simulate.memory_mb()
    yield Row("memory of a process with 100,000 readers, MB", memory_mb, 300, False, "")
    number, seconds = simulate.history_s()
    name = "seven days of a million events, simulated and encoded, s"
    yield Row(name, seconds, 60, False, f"{number:,} events")
    settings = servers.up()
    for rate, seconds in ((50, 80), (500, 8), (5_000, 0.8)):
        found = produce.measure(settings, rate)
        yield Row(
            f"off the asked rate by, 4,000 events at {rate}/s ({seconds:g} s)",
            abs(found / rate - 1),
            0.05,
            False,
            f"{found:,.1f} events/s",
        )
    indexed = index.measure(settings)
    yield Row(
        "Kafka → OpenSearch documents/s ÷ bulk ceiling",
        statistics.median(indexed.ratios),
        0.8,
        True,
        f"{indexed.consumed_per_second:,.0f} of {indexed.ceiling_per_second:,.0f} documents/s, "
        f"spread {min(indexed.ratios):.2f}–{max(indexed.ratios):.2f}",
    )


def main() -> None:
    """Print the table as it comes, and judge it."""
    print(f"{date.today()}, {platform.machine()}, Python {platform.python_version()}", flush=True)
    missed = []
    for row in rows():
        print(row, flush=True)
        if not row.is_met:
            missed.append(row.name)
    if missed:
        sys.exit(f"missed: {'; '.join(missed)}")


try:
    main()
except ClickstreamError as error:
    sys.exit(f"bench: {error}")
