"""The list of the servers' files, and their names in the cache.

It uses only the standard library: `scripts/install.py` needs it before the .venv exists.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).with_name("servers.sha256")


@dataclass(frozen=True)
class PinnedFile:
    """One file of the list."""

    sha256: str
    size: int
    coordinate: str

    @property
    def name(self) -> str:
        """The file name in a repository."""
        _, artifact, packaging, version = self.coordinate.split(":")
        return f"{artifact}-{version}.{packaging}"

    @property
    def is_folder(self) -> bool:
        """Whether it is a zip, which the cache keeps unpacked."""
        return self.name.endswith(".zip")

    @property
    def cached_name(self) -> str:
        """The name in the cache."""
        return self.name.removesuffix(".zip")

    def is_in(self, folder: Path) -> bool:
        """Say whether it is in the folder; a file gets its name only after verification."""
        path = folder / self.cached_name
        return path.exists() and (self.is_folder or path.stat().st_size == self.size)


def read(path: Path) -> list[PinnedFile]:
    """Read a list with SHA-256, size in bytes and Maven coordinate per line."""
    lines = path.read_text().splitlines()
    return [
        PinnedFile(sha256, int(size), coordinate)
        for sha256, size, coordinate in (line.split() for line in lines)
    ]


def marker(path: Path) -> str:
    """Return the name of the marker file, which says that this exact list is complete."""
    return f"complete-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
