"""`make stage`, too: servers, JupyterLab, kernel and browser where there is no network."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

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


def main() -> None:
    """Run it, and say what came of it in a line."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        sys.exit("offline: no network namespaces here; not tried")
    by = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "-r", "--net"]
    if subprocess.run([*by, "true"], capture_output=True, check=False).returncode:
        sys.exit("offline: this system gives no network namespace; not tried")
    done = subprocess.run(
        [*by, sys.executable, "-c", INSIDE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"offline: {done.stderr[-2_000:]}")
    changes, numbers, requests, errors = json.loads(done.stdout.splitlines()[-1])
    print(f"offline: changes a second {changes}; produced, in Kafka, indexed {numbers}")
    print(f"offline: asked elsewhere {requests}; errors in the console {errors}")
    agree = numbers[0] == numbers[1] == numbers[2]
    sys.exit(0 if agree and min(changes) > 0 and not requests and not errors else 1)


if __name__ == "__main__":
    main()
