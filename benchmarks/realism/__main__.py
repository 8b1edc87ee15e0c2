"""Measure the readers of a seed and print every property; end with 1 where one does not hold.

Takes some 20 s and no server.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.realism import properties
from clickstream import events


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description="Measure what the readers of a seed are like.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", default="2026-01-05T00:00:00.000Z", help="of the two weeks")
    asked = parser.parse_args()
    report = properties.measure(asked.seed, start_ms=events.parse_timestamp(asked.start))
    print(report)
    sys.exit(0 if report.holds else 1)


if __name__ == "__main__":
    main()
