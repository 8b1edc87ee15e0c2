"""Notebooks as a presenter opens and runs them, in a real JupyterLab of 1280 by 720."""

from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

from benchmarks import screen, stage
from clickstream.settings import Settings

pytestmark = pytest.mark.slow

ACTIVE = """() => [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell')]
  .findIndex(cell => cell.classList.contains('jp-mod-active'))"""
AT_TOP = """output => Math.abs(output.getBoundingClientRect().top
  - output.closest('.jp-WindowedPanel-outer').getBoundingClientRect().top) < 4"""
FITS = """output => output.getBoundingClientRect().height
  <= output.closest('.jp-WindowedPanel-outer').clientHeight"""


@pytest.mark.timeout(240)
def test_a_widget_whose_kernel_ended_asks_to_run_its_cell(
    page: Page, chromium: str, settings: Settings, tmp_path: Path
) -> None:
    """A notebook that another kernel saved shows no error in place of its widgets."""
    source = "import ipywidgets\nipywidgets.IntSlider()"
    cells = [nbformat.v4.new_code_cell(source)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "slider.ipynb")
    with screen.lab(tmp_path / "work", "slider.ipynb", notebooks=folder) as address:
        notebook = screen.Notebook(page, address)
        notebook.run_cell(0)
        expect(notebook.panel.locator(".noUi-handle")).to_be_visible()
        notebook.save()
        notebook.restart_kernel()
        again = screen.Notebook(page, address)
        ended = again.panel.locator(".jp-OutputArea-output.jupyter-widgets")
        expect(ended).to_have_count(1)
        content = ended.evaluate("output => getComputedStyle(output, '::after').content")
        shown = ended.inner_text()
        again.run_cell(0)
        expect(again.panel.locator(".noUi-handle")).to_be_visible()

    assert content == '"Run this cell: its controls ended with their kernel."'
    assert shown == ""


@pytest.mark.timeout(240)
def test_the_room_is_in_sight_after_three_cells(notebook: screen.Notebook) -> None:
    """Shift-Enter leads to the whole room and stays there; arrow keys reach its cell."""
    page, panel = notebook.page, notebook.panel
    panel.locator(".jp-MarkdownCell").first.click(position={"x": 200, "y": 5})
    active, codes = panel.locator(".jp-Cell.jp-mod-active"), panel.locator(".jp-CodeCell")

    def press(keys: str) -> None:
        before = page.evaluate(ACTIVE)
        page.keyboard.press(keys)
        page.wait_for_function(f"({ACTIVE})() !== {before}")

    for number in (1, 2, 3):
        while "jp-CodeCell" not in str(active.get_attribute("class")):
            press("Shift+Enter")
        press("Shift+Enter")
        prompt = codes.nth(number - 1).locator(".jp-InputArea-prompt")
        expect(prompt).to_have_text(f"[{number}]:", timeout=60_000)
    notebook.until_drawn(len(stage.CHARTS))
    room = codes.nth(stage.ROOM).locator(".jp-OutputArea")
    page.wait_for_function(AT_TOP, arg=room.element_handle())
    assert room.evaluate(FITS)
    for _ in range(3):
        press("ArrowUp")
    assert "ControlRoom(demo)" in active.inner_text()
