"""The imports of commands on real servers, and the page of the charts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from clickstream.consumer import index_topic
from clickstream.settings import Settings
from tests.support.by_id import namespace, send
from tests.support.terminal import clickstream

PROGRAM = """
import atexit, sys
atexit.register(lambda: print("loaded", *sys.modules, file=sys.stderr))
from clickstream.__main__ import main
main()
"""
DRAWS_OR_DOWNLOADS = {"pandas", "plotly", "jgo", "ipywidgets"}


def test_charts_are_written_into_the_home_folder(
    made: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell leaves the `~` in `--out=~/charts` as it is; the command expands it."""
    home = {"CLICKSTREAM_NAMESPACE": namespace(made), "HOME": str(tmp_path)}
    monkeypatch.chdir(tmp_path)
    done = clickstream(os.environ | home, "--target", "local", "charts", "--out=~/charts")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"charts"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("produce --events 20 --rate max", "20 events"),
        ("consume --until-caught-up", "20 documents stored"),
        ("peek -n 3", "reader-"),
        ("status", "20 messages, lag 20, 0 dead letters, 0 documents"),
        ("status --json", '"errors": {}'),
    ],
)
def test_a_command_loads_nothing_that_draws_or_downloads(
    made: Settings, command: str, said: str
) -> None:
    """A command that draws nothing works without pandas, plotly, jgo and ipywidgets."""
    if not command.startswith("produce"):
        send(made, 20)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split()],
        env=os.environ | {"CLICKSTREAM_NAMESPACE": namespace(made)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    *_, last = done.stderr.splitlines()
    assert DRAWS_OR_DOWNLOADS.isdisjoint(last.split())
    assert "confluent_kafka" in last.split()


def test_the_charts_are_one_page(made: Settings, tmp_path: Path) -> None:
    """`charts` writes one page with a title and every chart; it contains plotly.js once."""
    send(made, 60)
    index_topic(made, until_caught_up=True)
    names = os.environ | {"CLICKSTREAM_NAMESPACE": namespace(made)}
    done = clickstream(names, "charts", "--live", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "out").iterdir()
    page = file.read_text(encoding="utf-8")

    assert done.stdout.strip() == str(file)
    assert f" events of {made.opensearch.index}</title>" in page
    assert page.count(get_plotlyjs()[:200]) == 1
    assert page.count("Plotly.newPlot(") - get_plotlyjs().count("Plotly.newPlot(") == 5
    assert "http" not in page.replace(get_plotlyjs(), "")


def test_a_page_that_cannot_be_written_is_told(made: Settings, tmp_path: Path) -> None:
    """A file in place of the folder is a one-line error that names the option."""
    (tmp_path / "out").write_text("")
    names = os.environ | {"CLICKSTREAM_NAMESPACE": namespace(made)}
    done = clickstream(names, "charts", "--out", str(tmp_path / "out"))

    assert done.returncode == 1
    assert "choose another folder with --out" in done.stderr
