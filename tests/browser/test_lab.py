"""JupyterLab as a customer sees it, in a real Chromium."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from clickstream import index, topics
from clickstream.settings import Settings

RUN = """
import sys
from pathlib import Path
from clickstream import lab
lab.COPY = Path(sys.argv[1])
lab.run("00-start-here.ipynb", environment={}, say=lambda line: print(line, flush=True))
"""
expect.set_options(timeout=30_000)
SCREENSHOTS = Path(__file__).parent.parent.parent / "build" / "screenshots"


@pytest.fixture(scope="module")
def chromium() -> str:
    """The installed Chromium: skipped without one, unless one is required."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        if os.environ.get("CLICKSTREAM_REQUIRE_BROWSER"):
            pytest.fail("CLICKSTREAM_REQUIRE_BROWSER is set and there is no chromium")
        pytest.skip("no chromium on this machine; set CLICKSTREAM_REQUIRE_BROWSER=1 to insist")
    return found


@pytest.fixture(scope="module")
def address(
    chromium: str, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A JupyterLab on a working copy of its own; ended by Ctrl-C, as a presenter does."""
    copy = tmp_path_factory.mktemp("lab") / "work"
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(copy)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"http://\S+", line)
        assert match is not None, line
        yield match[0]
    finally:
        process.send_signal(2)
        process.communicate(timeout=30)
    assert process.returncode == 0


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    """A window of 1280 by 720, as a projector shows it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-background-networking", "--disable-sync"],
        )
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.set_default_timeout(30_000)
        yield page
        browser.close()


def open_notebook(page: Page, address: str, name: str) -> Locator:
    """Open a notebook by its address and wait until its kernel is idle."""
    page.goto(address.replace("00-start-here.ipynb", name))
    # Tabs of an earlier visit may come back first.
    tab = page.locator("#jp-main-dock-panel .lm-TabBar-tab.lm-mod-current")
    expect(tab).to_contain_text(name, timeout=60_000)
    notebook = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    expect(notebook.locator('[data-status="idle"]').first).to_be_visible(timeout=60_000)
    return notebook


def run_all(page: Page, notebook: Locator) -> None:
    """Choose *Run All Cells* and wait for the last one."""
    prompts = notebook.locator(".jp-CodeCell .jp-InputPrompt")
    deadline_s = time.monotonic() + 120
    while not re.search(r"\[\d+\]", prompts.last.inner_text()):
        assert time.monotonic() < deadline_s, "the last cell did not run"
        if re.search(r"\[ \]", prompts.first.inner_text()):
            # A menu that is still being filled takes no notice; a person would click again.
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_text("Run All Cells", exact=True).click()
            page.wait_for_timeout(3_000)
        page.wait_for_timeout(200)


@pytest.mark.timeout(180)
def test_jupyterlab_opens_without_a_question(page: Page, address: str) -> None:
    """The notebook is there, its kernel runs, no dialog and no news in the way."""
    notebook = open_notebook(page, address, "00-start-here.ipynb")
    page.wait_for_timeout(3_000)

    assert page.locator(".jp-Dialog").count() == 0
    assert page.locator(".Toastify__toast").count() == 0
    expect(notebook.get_by_role("heading", name="Is everything up?")).to_be_visible()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "00-start-here.png")


@pytest.mark.timeout(240)
def test_the_dials_redraw_the_chart(page: Page, address: str, settings: Settings) -> None:
    """Run All in notebook 05 shows every chart; another choice shows another picture."""
    notebook = open_notebook(page, address, "05-ask-questions.ipynb")
    run_all(page, notebook)
    dials = notebook.locator(".widget-interact")
    dials.scroll_into_view_if_needed()
    title = dials.locator(".gtitle")

    expect(title).to_contain_text("page_view is")
    page.screenshot(path=SCREENSHOTS / "05-dials.png")
    dials.locator("select").first.select_option("top-users")
    expect(title).to_contain_text("number 10 has")
    handle = dials.locator(".noUi-handle").nth(1)
    handle.press("ArrowRight")
    expect(title).to_contain_text("number 11 has")
    assert page.locator(".jp-Dialog").count() == 0
    assert notebook.locator(".jp-OutputArea-output[data-mime-type*='stderr']").count() == 0
    topics.delete_topics(settings.kafka)
    index.delete_index(index.connect(settings.opensearch), settings.opensearch.index)
