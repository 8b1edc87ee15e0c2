"""The venue's network is gone: servers, JupyterLab, kernel and browser on loopback alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

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
from clickstream import servers

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
        room.until(lambda: room.said().startswith("Stopped"))
        numbers = [room.number(name) for name in ("produced", "in Kafka", "indexed")]
        print(json.dumps([changes, numbers, notebook.requests, notebook.errors]))
finally:
    servers.down()
"""


def without_network() -> list[str]:
    """What a command is run by, so that it has loopback alone."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        pytest.skip("no network namespaces here: that it works offline is not tried")
    by = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "-r", "--net"]
    if subprocess.run([*by, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system gives no network namespace: that it works offline is not tried")
    return by


@pytest.mark.timeout(240)
def test_everything_works_without_a_network(chromium: str, tmp_path: Path) -> None:
    """Charts move and numbers agree, and nobody asks for anything from elsewhere."""
    done = subprocess.run(
        [*without_network(), sys.executable, "-c", INSIDE],
        cwd=ROOT,
        env={**os.environ, "CLICKSTREAM_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert "no way out" in done.stderr
    changes, numbers, requests, errors = json.loads(done.stdout.splitlines()[-1])
    assert changes[0] > 2
    assert min(changes) > 0.3
    assert numbers[0] == numbers[1] == numbers[2] > 50
    assert requests == []
    assert errors == []
