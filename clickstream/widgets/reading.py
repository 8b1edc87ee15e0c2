"""What the control room shows as numbers, and a cell as a line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """How much is where, at one moment."""

    is_running: bool = False
    produced: int = 0
    """Acknowledged by Kafka since `start`, over all its runs."""
    per_second: float = 0.0
    """Messages that arrived in Kafka, over the latest second."""
    in_kafka: int = 0
    lag: int = 0
    indexed: int = 0
    """Documents in the index."""
    dead_letters: int = 0
    latency_ms: float | None = None
    """From Kafka's timestamp to OpenSearch's answer, the median; None before the first."""
    trouble: str = ""
    """What went wrong, and what to do, in a line; empty where all is well."""

    def __str__(self) -> str:
        return (
            f"{self.produced:,} produced, {self.in_kafka:,} in Kafka, lag {self.lag:,}, "
            f"{self.indexed:,} indexed, {self.dead_letters:,} dead letters, "
            f"{self.per_second:,.0f} events a second"
        )

    def _repr_html_(self) -> str:
        return f"<b>{self}</b>"
