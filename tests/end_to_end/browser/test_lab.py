"""JupyterLab in a real Chromium."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from benchmarks.screen import Notebook, lab
from clickstream.kafka import topics
from clickstream.opensearch import client, index
from clickstream.settings import Settings

pytestmark = pytest.mark.slow

SCREENSHOTS = Path(__file__).parent.parent.parent.parent / "build" / "screenshots"


@pytest.fixture(scope="module")
def address(
    chromium: str, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of the first notebook in a JupyterLab on a separate working copy."""
    copy = tmp_path_factory.mktemp("lab") / "work"
    with lab(copy, "00-start-here.ipynb") as address:
        yield address


@pytest.mark.timeout(180)
def test_jupyterlab_opens_without_a_question(page: Page, address: str) -> None:
    """JupyterLab opens the notebook with a kernel, without any dialog."""
    notebook = Notebook(page, address)
    page.wait_for_timeout(3_000)

    assert page.locator(".jp-Dialog").count() == 0
    assert page.locator(".Toastify__toast").count() == 0
    expect(notebook.panel.get_by_role("heading", name="Is everything up?")).to_be_visible()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "00-start-here.png")


@pytest.mark.timeout(240)
def test_the_dials_redraw_the_chart(page: Page, address: str, settings: Settings) -> None:
    """Run All in notebook 05 shows every chart, and a dial redraws one."""
    notebook = Notebook(page, address.replace("00-start-here.ipynb", "05-ask-questions.ipynb"))
    notebook.run_all()
    dials = notebook.panel.locator(".widget-interact")
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
    stderr = ".jp-OutputArea-output[data-mime-type*='stderr']"
    assert notebook.panel.locator(stderr).count() == 0
    assert notebook.requests == []
    topics.delete_topics(settings.kafka)
    index.delete(client.connect(settings.opensearch), settings.opensearch.index)
