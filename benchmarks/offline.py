"""`make bench-stage`, too: servers, JupyterLab, kernel and browser where there is no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

# Runs where there is no interface but loopback, and no route to anywhere.
INSIDE = """
import fcntl, json, socket, struct, sys, tempfile
from pathlib import Path

UP, SET_FLAGS = 1, 0x8914
with socket.socket() as control:
    fcntl.ioctl(control, SET_FLAGS, struct.pack("16sH14x", b"lo", UP))
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError as error:
    print(f"no way out: {error.strerror}", file=sys.stderr)
else:
    sys.exit("there is a way out")

from benchmarks import screen, stage
from clickstream.servers import local as servers

servers.up()
try:
    with (
        tempfile.TemporaryDirectory() as folder,
        screen.window(screen.chromium()) as page,
        screen.lab(Path(folder) / "work", stage.NOTEBOOK) as address,
    ):
        notebook = screen.Notebook(page, address)
        room, first = stage.first_chart(notebook)
        room.button("Start").click()
        room.until(lambda: room.number("indexed") > 50)
        changes = notebook.changes_per_second(5)
        room.button("Stop").click()
        room.until(lambda: room.status().startswith("Stopped"))
        numbers = [room.number(name) for name in ("produced", "in Kafka", "indexed")]
        print(json.dumps([changes, numbers, notebook.requests, notebook.errors]))
finally:
    servers.down()
"""


class NotTried(Exception):
    """This system gives no network namespace; the message says why."""


@dataclass(frozen=True)
class Seen:
    """What the room did without a network."""

    changes: list[float]
    """Of each chart, a second."""
    numbers: list[float]
    """Produced, in Kafka and indexed, after Stop."""
    requests: list[str]
    """What the page asked of anybody but this machine."""
    errors: list[str]
    """In the page's console."""

    @property
    def is_good(self) -> bool:
        """Whether all charts moved, the numbers agree, and the page asked no other machine."""
        agree = len(set(self.numbers)) == 1
        return agree and min(self.changes) > 0 and not self.requests and not self.errors


def look() -> Seen:
    """Run the control room in a network namespace that has loopback alone; it takes half a minute.

    Raises:
        NotTried: there is no such namespace here.
        RuntimeError: something in it failed.
    """
    if sys.platform != "linux" or shutil.which("unshare") is None:
        msg = "no network namespaces here: that it works offline is not tried"
        raise NotTried(msg)
    by = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "-r", "--net"]
    if subprocess.run([*by, "true"], capture_output=True, check=False).returncode:
        msg = "this system gives no network namespace: that it works offline is not tried"
        raise NotTried(msg)
    with tempfile.TemporaryDirectory() as state:
        done = subprocess.run(
            [*by, sys.executable, "-c", INSIDE],
            cwd=ROOT,
            env={**os.environ, "CLICKSTREAM_STATE": state},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2_000:])
    return Seen(*json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Print what was found; the exit code says whether it is good."""
    try:
        found = look()
    except NotTried as reason:
        print(f"offline: {reason}")
        return
    print(f"offline: {found}")
    sys.exit(0 if found.is_good else 1)


if __name__ == "__main__":
    main()
