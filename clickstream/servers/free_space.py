"""The free disk space and memory that the kit requires, in bytes.

Below its low watermark OpenSearch allocates no shard, so the kit refuses to start there and live
traffic pauses. The whole demo also needs room for a day of traffic.
"""

from __future__ import annotations

from dataclasses import dataclass

LOW_WATERMARK_BYTES = 2_000_000_000
HIGH_WATERMARK_BYTES = 1_000_000_000
FLOOD_STAGE_BYTES = 500_000_000
"""OpenSearch's watermarks as free bytes; most laptops would exceed percentages."""


@dataclass(frozen=True)
class FreeSpace:
    """The required free space."""

    disk_bytes: int
    memory_bytes: int


FOR_SERVERS = FreeSpace(disk_bytes=LOW_WATERMARK_BYTES, memory_bytes=1_500_000_000)
"""To start both servers."""
FOR_DEMO = FreeSpace(disk_bytes=3_000_000_000, memory_bytes=3_500_000_000)
"""For both servers, a day of traffic, JupyterLab and a kernel per notebook."""
