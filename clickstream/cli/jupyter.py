"""Open JupyterLab on a working copy of the notebooks, without any prompt.

The copy is in `work/` of the clone. It is never overwritten, and contains the presenter's edits and
outputs, so that the clone stays clean. JupyterLab runs as a child process and ends with Ctrl-C.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

from clickstream.cli.terminal import handling
from clickstream.errors import OPTIONS, ConfigError, ServerError, typed_options
from clickstream.servers import download, nodes, ports, processes
from clickstream.settings import CLONE

NOTEBOOKS = CLONE / "notebooks"
COPY = CLONE / "work"
SETTINGS = Path(__file__).with_name("lab_settings")
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0


def run(notebook: str, *, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Open JupyterLab on a notebook, and wait until Ctrl-C or the end of the terminal ends it.

    If JupyterLab already runs for this working copy, open it again in the browser and return.

    Args:
        notebook: file name in the working copy.
        environment: variables that every kernel gets.
        say: called with every line for the user.

    Raises:
        ConfigError: JupyterLab already runs with other variables, so for another target.
        ServerError: JupyterLab did not start; with its last log lines.
    """
    fill_copy()
    if (there := _running()) is not None:
        if there.get("environment") != dict(environment):
            msg = "JupyterLab is running already, on another target"
            raise ConfigError(msg, f"{how_to_end()}, then run this again")
        say(f"JupyterLab is running already; opening it again. Stop it with {_how_to_end(there)}.")
        _open(there["url"], say)
        return
    with _signals_as_interrupts(), _started(environment, notebook) as (process, url):
        _record(process.pid, url, environment)
        _open(url, say)
        say("Press Ctrl-C here to stop JupyterLab.")
        try:
            process.wait()
        except KeyboardInterrupt:
            say("Stopping JupyterLab.")
        finally:
            _record_path().unlink(missing_ok=True)


def how_to_end() -> str | None:
    """Say how to end the JupyterLab of this working copy; None if none answers."""
    there = _running()
    return None if there is None else f"stop it with {_how_to_end(there)}"


def fill_copy() -> None:
    """Copy missing notebooks and PRESENTER.md; existing files do not change."""
    COPY.mkdir(exist_ok=True)
    for path in sorted(NOTEBOOKS.iterdir()):
        if path.suffix in (".ipynb", ".md") and not (COPY / path.name).exists():
            shutil.copy(path, COPY)


def replace_copy() -> Path | None:
    """Replace the working copy, and return the new path of the old one; None without one.

    Raises:
        ConfigError: JupyterLab is running on it.
    """
    if (how := how_to_end()) is not None:
        msg = "JupyterLab is running on the working copy"
        raise ConfigError(msg, how)
    aside = None
    if COPY.exists():
        aside = COPY.with_name(f"work-{datetime.now():%Y%m%d-%H%M%S}")
        COPY.rename(aside)
    fill_copy()
    return aside


@contextlib.contextmanager
def _started(
    environment: Mapping[str, str], notebook: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    folder = processes.private_folder() / "jupyter"
    style = folder / "config" / "custom" / "custom.css"
    folder.mkdir(mode=0o700, exist_ok=True)
    style.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(SETTINGS / style.name, style)
    log_path = processes.folder() / "jupyter.log"
    port, token = next(ports.free()), os.urandom(16).hex()
    kernels = Path(sys.prefix) / "share" / "jupyter"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [
                # Not `jupyter lab`: that prefers another `jupyter-lab` on the PATH. With -P, the
                # presenter's own files do not replace modules.
                *(sys.executable, "-P", "-m", "jupyterlab", "--no-browser"),
                *(["--allow-root"] if os.geteuid() == 0 else []),
                "--ServerApp.ip=127.0.0.1",
                f"--ServerApp.port={port}",
                "--ServerApp.port_retries=0",
                f"--ServerApp.root_dir={COPY}",
                # No prompt on Ctrl-C.
                "--ServerApp.answer_yes=True",
                f"--LabApp.app_settings_dir={SETTINGS}",
                "--LabApp.custom_css=True",
                "--LabApp.extension_manager=readonly",
            ],
            cwd=COPY,
            env={
                **processes.environment(),
                # The user's settings, workspaces and kernels do not affect the demo.
                "JUPYTER_CONFIG_DIR": str(folder / "config"),
                "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
                "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
                "JUPYTER_DATA_DIR": str(folder / "data"),
                "JUPYTER_PATH": str(kernels),
                "JUPYTER_TOKEN": token,
                "IPYTHONDIR": str(folder / "ipython"),
                # Kernels start in another folder, where a relative path would be wrong.
                "CLICKSTREAM_CACHE": str(download.cache_dir()),
                # glibc returns temporary memory of cells, about 25 MB per kernel. Otherwise its
                # thresholds would grow with the largest block that was ever freed.
                "MALLOC_TRIM_THRESHOLD_": "131072",
                "MALLOC_MMAP_THRESHOLD_": "131072",
                OPTIONS: typed_options(),
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # We pass Ctrl-C on, once.
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}/lab/tree/{notebook}?token={token}"
    try:
        _wait_until_ready(process, url, log_path)
        yield process, url
    finally:
        _end(process)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log_path: Path) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while not _answers(url):
        if process.poll() is not None or time.monotonic() > deadline_s:
            msg = f"JupyterLab did not start; {nodes.last_log_lines(log_path)}"
            raise ServerError(msg)
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()  # ends its kernels, too
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Make SIGTERM, and SIGHUP from a closed terminal, end the block like Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # respect nohup
        numbers.append(signal.SIGHUP)
    with handling(numbers, interrupt), contextlib.suppress(KeyboardInterrupt):
        yield


def _record_path() -> Path:
    return COPY / ".jupyterlab.json"


def _record(pid: int, url: str, environment: Mapping[str, str]) -> None:
    path = _record_path()
    path.touch(mode=0o600)  # the token opens every notebook
    path.write_text(json.dumps({"pid": pid, "url": url, "environment": dict(environment)}))


def _running() -> dict[str, Any] | None:
    try:
        there = dict(json.loads(_record_path().read_text()))
        return there if _answers(there["url"]) else None
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def _how_to_end(there: dict[str, Any]) -> str:
    return f"Ctrl-C in its terminal, or `kill {there['pid']}`"


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    base, _, token = url.partition("?")
    status = f"{base.split('/lab/')[0]}/api/status?{token}"
    try:
        with opener.open(status, timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def _open(url: str, say: Callable[[str], None]) -> None:
    """Open the browser if the user can see one, and print the URL."""
    can_show = sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")
    )
    if can_show:
        with contextlib.suppress(webbrowser.Error):
            if webbrowser.open(url):
                say(f"JupyterLab is open in your browser: {url}")
                return
    say(f"Open this address in a browser: {url}")
