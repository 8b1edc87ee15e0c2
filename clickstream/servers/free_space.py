"""How much disk and memory have to be free: every bar of the kit, in bytes.

They follow from one another: below its low watermark OpenSearch allocates no shard, so a start
is refused there and live traffic pauses; the whole demo needs room for a day's traffic, too.
"""

from __future__ import annotations

from dataclasses import dataclass

LOW_WATERMARK_BYTES = 2_000_000_000
HIGH_WATERMARK_BYTES = 1_000_000_000
FLOOD_STAGE_BYTES = 500_000_000
"""OpenSearch's own, of free disk; as percentages they would be passed on most laptops."""


@dataclass(frozen=True)
class FreeSpace:
    """What has to be free."""

    disk_bytes: int
    memory_bytes: int


FOR_SERVERS = FreeSpace(disk_bytes=LOW_WATERMARK_BYTES, memory_bytes=1_500_000_000)
"""To start both servers."""
FOR_DEMO = FreeSpace(disk_bytes=3_000_000_000, memory_bytes=3_500_000_000)
"""For both servers, a day's traffic, JupyterLab and a kernel for every notebook."""
