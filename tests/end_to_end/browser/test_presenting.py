"""Notebooks as a presenter opens and runs them, in a real JupyterLab of 1280 by 720."""

from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page, expect

from benchmarks import screen
from clickstream.settings import Settings

pytestmark = pytest.mark.slow


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
