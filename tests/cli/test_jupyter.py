"""The working copy: filled, never overwritten, renewed with the old one kept."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from clickstream.cli import jupyter
from clickstream.errors import ConfigError, shown
from tests.support.errors import raises_shown

RUN = """
import sys
from pathlib import Path
from clickstream.cli import jupyter
jupyter.COPY = Path(sys.argv[1])
jupyter.run("00-start-here.ipynb", environment={}, say=lambda line: print(line, flush=True))
"""


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working copy in a temporary folder."""
    folder = tmp_path / "work"
    monkeypatch.setattr(jupyter, "COPY", folder)
    return folder


def test_the_copy_holds_every_notebook(copy: Path) -> None:
    """The working copy holds every notebook, the presenter's page, and nothing else."""
    jupyter.fill_copy()
    notebooks = {path.name for path in jupyter.NOTEBOOKS.glob("*.ipynb")}
    assert {path.name for path in copy.iterdir()} == {*notebooks, "PRESENTER.md"}


def test_a_presenter_s_edits_are_never_overwritten(copy: Path) -> None:
    """A deleted notebook is copied again; a changed one is kept."""
    jupyter.fill_copy()
    (copy / "00-start-here.ipynb").write_text("mine")
    (copy / "01-meet-the-readers.ipynb").unlink()
    jupyter.fill_copy()
    assert (copy / "00-start-here.ipynb").read_text() == "mine"
    assert (copy / "01-meet-the-readers.ipynb").exists()


def test_renewing_keeps_the_old_copy_aside(copy: Path) -> None:
    """Renewing the copy keeps the old one beside it."""
    jupyter.fill_copy()
    (copy / "00-start-here.ipynb").write_text("mine")
    aside = jupyter.replace_copy()
    assert aside is not None
    assert (aside / "00-start-here.ipynb").read_text() == "mine"
    assert (copy / "00-start-here.ipynb").read_text() != "mine"


def test_a_jupyterlab_that_is_gone_is_not_running(copy: Path) -> None:
    """A record of an ended JupyterLab does not count as running."""
    copy.mkdir()
    (copy / ".jupyterlab.json").write_text('{"pid": 1, "url": "http://127.0.0.1:9/lab/?token=x"}')
    assert jupyter.how_to_end() is None


def broken_jupyter(folder: Path) -> dict[str, str]:
    """Variables of a user whose Python, JupyterLab, its settings and its program are all broken."""
    folder.mkdir()
    (folder / "jupyter_config.py").write_text("raise SystemExit('broken')")
    (folder / "jupyter-lab").write_text("#!/bin/sh\nexit 1\n")
    (folder / "jupyter-lab").chmod(0o755)
    named = ("JUPYTERLAB_DIR", "JUPYTER_CONFIG_PATH", "JUPYTER_CONFIG_DIR", "IPYTHONDIR")
    return {
        **dict.fromkeys(named, str(folder)),
        "PYTHONSTARTUP": str(folder / "jupyter_config.py"),
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_jupyterlab_ends_with_its_terminal(
    copy: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """It opens whatever the user's own Jupyter is; another is refused, with a way to end this one.

    That way needs no terminal.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(copy)],
        env={
            **{k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")},
            **broken_jupyter(tmp_path / "user"),
            "CLICKSTREAM_STATE": str(tmp_path / "state"),
        },
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, timeout=30) as page:
        assert page.status == 200
    with raises_shown(ConfigError, match=r"stop it with Ctrl-C in its terminal, or `kill") as told:
        jupyter.replace_copy()
    with raises_shown(ConfigError, match="on another target; stop it with"):
        jupyter.run("00-start-here.ipynb", environment={"CLICKSTREAM_TARGET": "hosted"}, say=print)
    found = re.search(r"kill (\d+)", shown(told.value))
    assert found is not None
    jupyterlab = psutil.Process(int(found[1]))
    assert {"PYTHONSTARTUP", "JUPYTERLAB_DIR"}.isdisjoint(jupyterlab.environ())

    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert not jupyterlab.is_running()
    assert jupyter.how_to_end() is None
