"""Use known secrets, run everything, and search all output for them."""

import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import nbformat
import psutil
import pytest
from nbconvert import HTMLExporter

from clickstream.demo import target_checks
from clickstream.kafka import offsets
from clickstream.servers import processes
from clickstream.targets import target
from scripts.headless import NotebookClient
from tests.end_to_end.hosted.conftest import OPENSEARCH_PASSWORD, PASSWORD, USER, Conf

pytestmark = pytest.mark.slow

SOURCE = """\
from clickstream.demo.demo import Demo
demo = Demo.attach()
demo
---
demo.settings.kafka, demo.settings.opensearch, vars(demo)
---
demo.produce(50, events_per_second=1_000)
---
demo.consume()
---
demo.overview()
---
%xmode Verbose
demo.produce()
---
import traceback
try:
    demo.settings.in_namespace("No Good")
except Exception:
    traceback.print_exc()
"""


def forms() -> list[str]:
    """Each secret as plain text, in base64 (alone and with its user), and URL-encoded."""
    found = []
    for secret in (PASSWORD, OPENSEARCH_PASSWORD):
        found += [secret, quote(secret), quote(secret, safe="")]
        for text in (secret, f"{USER}:{secret}"):
            found.append(b64encode(text.encode()).decode().rstrip("="))
    return found


def files(*folders: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of every file, except server data and the authority's keys."""
    for folder in folders:
        for place, names_below, names in os.walk(folder):  # while Kafka deletes folders of its own
            names_below[:] = [name for name in names_below if name not in ("data", "authority")]
            for path in (Path(place, name) for name in names):
                if path.is_file():
                    yield str(path), path.read_text(errors="replace")


def wrong_password(folder: Path) -> None:
    """Use a wrong password that contains the real one."""
    path = folder / "opensearch.json"
    path.write_text(path.read_text().replace('"password": "', '"password": "x'))


@pytest.mark.timeout(240)
def test_no_planted_secret_is_found_anywhere(
    conf: Conf, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No secret is in command output, logs, notebooks, pages, process list or metadata."""
    place = conf(by="scram")
    written: dict[str, str] = {}
    environment = {**os.environ, **target.choose(place).environment}

    def run(*words: str, **more: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "clickstream", *words],
            env=environment | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        written[" ".join(words) + str(more)] = done.stdout + done.stderr

    run("produce", "--events", "200", "--rate", "max", "-v")
    consumer = subprocess.Popen(
        [sys.executable, "-m", "clickstream", "consume", "-v"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert consumer.stdout is not None
    said = ""
    while "bulk indexed" not in said:
        said += consumer.stdout.readline()
        assert consumer.poll() is None, said
    seen = [str(each.info["cmdline"]) for each in psutil.process_iter(["cmdline"])]
    written["process list"] = "\n".join(seen)
    consumer.terminate()
    written["consumer"] = said + consumer.communicate(timeout=30)[0]
    assert "stored" in written["consumer"]
    run("status", "--json")
    run("status")
    run("check")
    run("reset")
    settings = target.choose(place).find()
    written["settings"] = repr(settings) + str(settings)
    written["metrics"] = str(offsets.members(settings.kafka))
    written["steps"] = "".join(
        each._repr_html_() for each in target_checks.run(target.choose(place))
    )

    for key, value in target.choose(place).environment.items():
        monkeypatch.setenv(key, value)
    cells = [nbformat.v4.new_code_cell(text) for text in SOURCE.split("---\n")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True).execute()
    written["notebook"] = nbformat.writes(notebook)
    assert "produce without a limit" in written["notebook"]
    written["page"] = HTMLExporter().from_notebook_node(notebook)[0]

    _open_jupyterlab(tmp_path, written)
    wrong_password(place)
    for words in (("status",), ("produce", "--events", "1"), ("consume", "--until-caught-up")):
        run(*words, CLICKSTREAM_TRACEBACK="1")
    assert "401" in written["status{'CLICKSTREAM_TRACEBACK': '1'}"]
    written |= dict(files(folder, processes.folder(), tmp_path / "work"))

    assert len(written) > 15
    assert any("jupyter.log" in name for name in written)
    found = [(name, form) for name, text in written.items() for form in forms() if form in text]
    assert found == []


def _open_jupyterlab(tmp_path: Path, written: dict[str, str]) -> None:
    program = """
import sys
from pathlib import Path
from clickstream.cli import jupyter as lab
from clickstream.targets import target
lab.COPY = Path(sys.argv[1])
lab.run("00-start-here.ipynb", environment=target.from_environment().environment, say=print)
"""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", program, str(tmp_path / "work")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={k: v for k, v in os.environ.items() if "DISPLAY" not in k},
        start_new_session=True,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(2)
    written["jupyterlab"] = first + process.communicate(timeout=30)[0]
    assert "http://127.0.0.1" in first


def test_a_planted_secret_would_be_found() -> None:
    """A secret in the output would be found in each of its forms."""
    header = b64encode(f"{USER}:{OPENSEARCH_PASSWORD}".encode()).decode()
    for text in (PASSWORD, f"Basic {header}", f"https://x?{quote(PASSWORD, safe='')}"):
        assert any(form in text for form in forms())
