"""A click on a chart of the control room, in a real JupyterLab."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from benchmarks import screen, stage

pytestmark = pytest.mark.slow

SCREENSHOTS = Path(__file__).parent.parent.parent.parent / "build" / "screenshots"


@pytest.mark.timeout(240)
def test_a_click_on_a_cell_or_a_bar_filters_all_charts(notebook: screen.Notebook) -> None:
    """A chip names the filter, and removes it; a reader's sessions open in the drawer."""
    room, _ = stage.first_chart(notebook)
    room.button("Start").click()
    room.until_past_is_indexed()
    heading = room.output.get_by_text(re.compile(r"is \d+% of [\d,]+ events")).first

    def counted() -> int:
        return int(re.findall(r"[\d,]+ events", heading.inner_text())[0][:-7].replace(",", ""))

    def chip(name: str) -> Locator:
        return room.output.get_by_role("button", name=re.compile(f"^{name} .* ×$"))

    everything = counted()
    stage.click_cell(room)
    expect(chip("section")).to_be_visible()
    expect(chip("device")).to_be_visible()
    room.until(lambda: counted() < everything / 3)
    chip("section").click()
    chip("device").click()
    expect(chip("section")).to_be_hidden()
    expect(chip("device")).to_be_hidden()
    room.until(lambda: counted() > everything / 2)

    stage.click_in(room.output.locator(".bars .point path").first, 0.5, 0.5)
    expect(chip("reader")).to_be_visible()
    user_id = chip("reader").inner_text().split()[1]
    expect(room.output.locator(".clickstream-drawer")).to_contain_text(f"{user_id}: ")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    notebook.page.screenshot(path=SCREENSHOTS / "06-touch.png")
    notebook.page.keyboard.press("Escape")
    chip("reader").click()
    expect(chip("reader")).to_be_hidden()
    room.button("Stop").click()
    room.until(lambda: room.status().startswith("Stopped"))
    assert notebook.errors == []
