"""The list of the servers' files, and by what names they lie in the cache.

Standard library alone: `scripts/install.py` needs it before there is a .venv.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

PATH = Path(__file__).with_name("servers.sha256")


@dataclass(frozen=True)
class Listed:
    """One file of the list."""

    sha256: str
    size: int
    coordinate: str

    @property
    def name(self) -> str:
        """The name a repository gives the file."""
        _, artifact, packaging, version = self.coordinate.split(":")
        return f"{artifact}-{version}.{packaging}"

    @property
    def is_folder(self) -> bool:
        """Whether it is a zip, of which the cache keeps what was in it."""
        return self.name.endswith(".zip")

    @property
    def kept_as(self) -> str:
        """The name in the cache."""
        return self.name.removesuffix(".zip")

    def is_in(self, folder: Path) -> bool:
        """Say whether it lies there; it got its name only once it was whole and checked."""
        path = folder / self.kept_as
        return path.exists() and (self.is_folder or path.stat().st_size == self.size)


def read(path: Path) -> list[Listed]:
    """Read a list: SHA-256, size in bytes, Maven coordinate; a line each."""
    lines = path.read_text().splitlines()
    return [
        Listed(sha256, int(size), coordinate)
        for sha256, size, coordinate in (line.split() for line in lines)
    ]


def marker(path: Path) -> str:
    """Name the file that says that everything on this very list is there."""
    return f"complete-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
