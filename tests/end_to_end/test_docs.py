"""The commands of README and docs do what the text says, in a fresh clone, through a shell."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(r"^```sh(?P<mark>[^\n]*)\n(?P<script>.*?)^```", re.DOTALL | re.MULTILINE)
PAGES = [
    "README.md",
    *(f"docs/{name}.md" for name in ("presenting", "commands", "readers", "delivery", "settings")),
]
"""In the order in which they are tried: commands.md starts the servers that the README stopped."""

ELSEWHERE = ("make test\n", "make walk\n")
"""The command that runs this test, and one that the notebook tests cover."""


def blocks() -> list[str]:
    """The shell blocks in order, but those marked untested and those that are run elsewhere."""
    return [
        match["script"]
        for page in PAGES
        for match in BLOCK.finditer((ROOT / page).read_text())
        if "untested" not in match["mark"] and match["script"] not in ELSEWHERE
    ]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clone with a separate state folder, whose servers are stopped at the end.

    Its path contains a space.
    """
    folder = tmp_path_factory.mktemp("fresh") / "the clone"
    folder.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = [name for name in listed.stdout.decode().split("\0") if (ROOT / name).is_file()]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
        (folder / name).chmod((ROOT / name).stat().st_mode)
    yield folder
    run(folder, "[ ! -x .venv/bin/clickstream ] || .venv/bin/clickstream down")


def environment(folder: Path) -> dict[str, str]:
    """The environment of this process without the tests' pair and without a browser."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("CLICKSTREAM_CACHE", "CLICKSTREAM_MAVEN_MIRROR", "CLICKSTREAM_JAVA_OPTIONS")
        or not name.startswith(("CLICKSTREAM_", "DISPLAY", "WAYLAND_", "BROWSER", "MAKE", "MFLAGS"))
    }
    return kept | {"CLICKSTREAM_STATE": str(folder.parent / "state"), "BROWSER": "none"}


def run(folder: Path, script: str) -> str:
    """Run a block through sh until its first failure; return both output streams."""
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout


def run_demo(folder: Path) -> str:
    """Run `make demo` until JupyterLab answers, send Ctrl-C, and return the output."""
    log = folder.parent / "demo.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            ["make", "demo"],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            # A group of its own, as under a terminal, so that Ctrl-C reaches all of it.
            start_new_session=True,
        )
        deadline_s = time.monotonic() + 800
        while not re.search(r"http://\S+token=", log.read_text()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)
    return log.read_text()


@pytest.mark.timeout(1_800)
def test_the_commands_of_readme_and_docs_run_in_a_fresh_clone(clone: Path) -> None:
    """Block after block, page after page, from `make demo` on."""
    scripts = blocks()
    assert scripts[0] == "make demo\n"

    said = run_demo(clone)
    assert re.search(r"about \d+ MB of Python packages|nothing to download", said), said
    assert "round trip of 5,000 events" in said
    assert "make down" in said.rsplit("round trip", 1)[1]
    started_s = time.monotonic()
    again = run_demo(clone)
    took_s = time.monotonic() - started_s
    assert "round trip of 5,000 events" in again
    assert took_s < 60, f"the second run took {took_s:.0f} s, twice the promise or more"
    for script in scripts[1:]:
        said = run(clone, script)
        if "--until-caught-up" in script:
            assert "documents stored" in said
        if "dlq replay" in script:
            assert re.search(r"[1-9]\d* of \d+ dead letters sent back", said)
        if script.startswith("make status"):
            assert "reset" in said
