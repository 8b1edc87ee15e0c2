"""A JupyterLab and a Chromium of their own: what an audience sees, and how much it moves.

For the tests in `tests/end_to_end/browser`, `make bench-stage` and `make pictures`. Nothing in here
sleeps for a fixed time and hopes: what is waited for is looked at.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from playwright.sync_api import Locator, Page, expect, sync_playwright

from clickstream.cli import jupyter as jupyterlab
from clickstream.servers import processes

_RUN = """
import sys
from pathlib import Path
from clickstream.cli import jupyter as lab
lab.COPY = Path(sys.argv[1])
lab.NOTEBOOKS = Path(sys.argv[2])
lab.SETTINGS = Path(sys.argv[4])
lab.run(sys.argv[3], environment={}, say=lambda line: print(line, flush=True))
"""
NOTEBOOKS = Path(__file__).parent.parent / "notebooks"

# What each visible chart shows, as the page has it: plotly keeps its traces in `_fullData`.
_SHOWN = """() => [
  ...document.querySelectorAll('.clickstream-live-chart')
].filter((plot) => plot.offsetParent).map((plot) => {
  const plain = (values) => Array.from(values ?? [], (v) => (v?.length && v.map ? [...v] : v));
  const shown = (trace) => [trace.x, trace.y, trace.z, trace.values].map(plain);
  return JSON.stringify((plot._fullData ?? []).map(shown));
})"""
_TEXT = """() => [...document.querySelectorAll(selector)].map((each) => each.innerText)"""
_COUNT_CHANGES = """([seconds, selector]) => new Promise((resolve) => {
  const look = LOOK;
  let before = look();
  const counts = before.map(() => 0);
  const timer = setInterval(() => {
    const now = look();
    now.forEach((value, place) => { if (value !== before[place]) counts[place] += 1; });
    before = now;
  }, 40);
  setTimeout(() => { clearInterval(timer); resolve(counts); }, seconds * 1000);
})"""


def chromium() -> str | None:
    """Find the installed Chromium; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def lab(
    copy: Path,
    notebook: str,
    *,
    notebooks: Path = NOTEBOOKS,
    overrides: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[str]:
    """Run JupyterLab on a working copy, as `clickstream demo` does; its address.

    It is ended by Ctrl-C, as a presenter does it.

    Args:
        copy: made here.
        notebook: what is opened first.
        notebooks: what is copied.
        overrides: settings of JupyterLab's plugins in place of the kit's.
    """
    settings = copy.with_name(f"{copy.name}-settings")
    shutil.copytree(jupyterlab.SETTINGS, settings)
    shipped = json.loads((jupyterlab.SETTINGS / "overrides.json").read_text())
    (settings / "overrides.json").write_text(json.dumps({**shipped, **overrides}))
    hidden = ("DISPLAY", "WAYLAND_DISPLAY")
    # Tabs of another copy would come back, and their notebooks are not here.
    shutil.rmtree(processes.folder() / "jupyter" / "workspaces", ignore_errors=True)
    process = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(copy), str(notebooks), notebook, str(settings)],
        env={key: value for key, value in os.environ.items() if key not in hidden},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line
        yield found[0]
    finally:
        process.send_signal(2)
        process.communicate(timeout=30)
    assert process.returncode == 0


@contextmanager
def window(executable: str, *, width: int = 1280, height: int = 720) -> Iterator[Page]:
    """Open a window as a projector shows it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=["--no-sandbox", "--disable-background-networking", "--disable-sync"],
        )
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(30_000)
        try:
            yield page
        except Exception as error:
            error.add_note(seen(page))
            raise
        browser.close()


def seen(page: Page) -> str:
    """Describe what a window shows, for a test that did not find what it looked for."""
    charts = page.locator(".clickstream-live-chart")
    drawn = page.locator(".clickstream-live-chart:has(.main-svg)")
    lines = [f"{charts.count()} live charts, {drawn.count()} of them drawn"]
    lines += [f"a dialog: {text!r}" for text in page.locator(".jp-Dialog").all_inner_texts()]
    shown = page.locator(".jp-OutputArea-output").all_inner_texts()
    lines += [f"a cell showed: {text[:500]!r}" for text in shown]
    lines += [f"status: {text!r}" for text in page.locator("#jp-main-statusbar").all_inner_texts()]
    return "\n".join(lines)


class Notebook:
    """A notebook that is open in a window."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.errors: list[str] = []
        """What the page wrote to its console as an error, from now on."""
        self.requests: list[str] = []
        """What it asked of anybody but this machine."""
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._on_request(request.url))
        page.goto(address)
        name = address.split("?", maxsplit=1)[0].rsplit("/", 1)[-1]
        # Tabs of an earlier visit may come back first.
        tab = page.locator("#jp-main-dock-panel .lm-TabBar-tab.lm-mod-current")
        expect(tab).to_contain_text(name, timeout=60_000)
        self.panel: Locator = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        self.until_idle()

    def _on_console(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def _on_request(self, url: str) -> None:
        if not re.match(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:", url):
            self.requests.append(url)

    def until_idle(self) -> None:
        """Wait until the kernel is there and has nothing to do."""
        # The notebook's own light is "idle" before there is a kernel, too. Whoever runs a cell
        # then makes JupyterLab start a second one and end the first, and the run is lost.
        line = self.page.locator("#jp-main-statusbar")
        expect(line).to_contain_text("Python 3 (ipykernel) | Idle", timeout=60_000)

    def run_all(self, timeout_s: float = 120) -> None:
        """Choose *Run All Cells* and wait for the last one."""
        prompts = self.panel.locator(".jp-CodeCell .jp-InputArea-prompt")
        deadline_s = time.monotonic() + timeout_s
        while not re.search(r"\[\d+\]", prompts.last.inner_text()):
            assert time.monotonic() < deadline_s, "the last cell did not run"
            if re.search(r"\[ \]", prompts.first.inner_text()):
                # A menu that is still being filled takes no notice; a person would click again.
                self.choose("Run", "Run All Cells")
                self.page.wait_for_timeout(3_000)
            self.page.wait_for_timeout(200)

    def choose(self, menu: str, command: str) -> None:
        """Choose a command from a menu."""
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.get_by_text(command, exact=True).click()

    def restart_kernel(self) -> None:
        """Choose *Restart Kernel*, say yes, and wait until the new one is there."""
        self.choose("Kernel", "Restart Kernel…")
        self.page.locator(".jp-Dialog").get_by_role("button", name="Confirm Kernel Restart").click()
        expect(self.page.locator(".jp-Dialog")).to_have_count(0)
        self.until_idle()

    def start_cell(self, place: int) -> None:
        """Run a code cell, and wait for nothing."""
        # Its edge: the code may be folded, and a click on a fold unfolds it.
        self.panel.locator(".jp-CodeCell").nth(place).click(position={"x": 90, "y": 2})
        self.page.keyboard.press("Control+Enter")

    def run_cell(self, place: int, timeout_s: float = 60) -> None:
        """Run a code cell, and wait until it is through."""
        # Where the code is folded, only what it shows has a prompt.
        cell = self.panel.locator(".jp-CodeCell").nth(place)
        prompts = cell.locator(".jp-InputArea-prompt, .jp-OutputPrompt")
        before = prompts.all_inner_texts()
        deadline_s = time.monotonic() + timeout_s
        self.start_cell(place)
        pressed_s = time.monotonic()
        while (now := prompts.all_inner_texts()) == before or not now or "*" in str(now):
            assert time.monotonic() < deadline_s, f"cell {place} is not through"
            if now == before and time.monotonic() - pressed_s > 3:
                # A page that is still being filled takes no notice; a person would try again.
                self.start_cell(place)
                pressed_s = time.monotonic()
            self.page.wait_for_timeout(20)
        errors = cell.locator("[data-mime-type='application/vnd.jupyter.error'], .jp-RenderedText")
        text = " ".join(errors.all_inner_texts())
        assert "Error" not in text, text

    def save(self) -> None:
        """Save, and wait until it is saved: what a reload brings back."""
        self.page.keyboard.press("Control+s")
        dirty = self.page.locator("#jp-main-dock-panel .lm-TabBar-tab.jp-mod-dirty")
        expect(dirty).to_have_count(0)

    def until_drawn(self, charts: int) -> None:
        """Wait until this many live charts show something."""
        drawn = ".clickstream-live-chart .main-svg"
        self.page.wait_for_function(
            f"new Set([...document.querySelectorAll('{drawn}')]"
            f".map((svg) => svg.closest('.clickstream-live-chart'))).size >= {charts}"
        )

    def changes_per_second(self, seconds: float) -> list[float]:
        """Count how often each live chart shows other data than before, in their order."""
        counts = self.page.evaluate(_COUNT_CHANGES.replace("LOOK", _SHOWN), [seconds, ""])
        return [count / seconds for count in counts]

    def text_changes_per_second(self, selector: str, seconds: float) -> float:
        """Count how often the first element of a CSS selector shows another text than before."""
        counts = self.page.evaluate(_COUNT_CHANGES.replace("LOOK", _TEXT), [seconds, selector])
        return float(counts[0]) / seconds

    def heap_mb(self) -> float:
        """Give what the tab's scripts hold, garbage taken away."""
        session = self.page.context.new_cdp_session(self.page)
        try:
            session.send("HeapProfiler.collectGarbage")
            return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6
        finally:
            session.detach()
