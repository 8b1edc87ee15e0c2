"""The live chart in a real JupyterLab."""

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Page

from benchmarks.screen import Notebook, lab

pytestmark = [pytest.mark.slow, pytest.mark.timed]

CELLS = (
    """
import threading, time
import plotly.graph_objects as go
from clickstream.widgets import workers
from clickstream.widgets.live_chart import LiveChart

def figure(n):
    y = [(i * i + n) % 97 for i in range(300)]
    layout = {"title": {"text": f"at {n}"}, "showlegend": True, "legend_orientation": "h"}
    return go.Figure([go.Scatter(y=y, name="one"), go.Scatter(y=y[::-1], name="<b>two")], layout)

chart = LiveChart(figure(0))
""",
    "chart",
    """
def move(stop):
    n = 0
    while not stop.wait(0.1):
        n += 1
        chart.show(figure(n))

workers.start("mover", move); None
""",
    "chart = LiveChart(figure(0)); chart",
    "time.sleep(4)",
    "workers.stop('mover'); assert not chart.show(figure(7)) or not chart.show(figure(7))",
)


@pytest.fixture
def notebook(page: Page, chromium: str, tmp_path: Path) -> Iterator[Notebook]:
    """A notebook with a chart that updates ten times per second, without a server."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS]
    made = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(made, tmp_path / "chart.ipynb")
    with lab(tmp_path / "work", "chart.ipynb", notebooks=tmp_path) as address:
        yield Notebook(page, address)


@pytest.mark.timeout(240)
def test_a_live_chart_survives_a_presenter(notebook: Notebook) -> None:
    """The chart updates after a repeated display, a new instance, a busy kernel and a reload."""
    for place in (0, 1, 2):
        notebook.run_cell(place)
    notebook.until_drawn(1)
    (moving,) = notebook.changes_per_second(3)
    assert moving > 2

    before_mb = notebook.heap_mb()
    for _ in range(10):
        notebook.run_cell(1)
    notebook.until_drawn(1)
    assert notebook.changes_per_second(2)[0] > 2, "shown again, it stands still"
    for _ in range(10):
        notebook.run_cell(3)
    notebook.until_drawn(2)
    shown_again, made_anew = notebook.changes_per_second(2)
    assert shown_again == 0, "the variable names another chart now"
    assert made_anew > 2
    assert notebook.heap_mb() - before_mb < 20, "twice the bar"

    notebook.start_cell(4)
    notebook.page.wait_for_timeout(500)
    assert notebook.changes_per_second(2)[1] > 2, "it stands still while a cell runs"
    notebook.until_idle()

    axis = "document.querySelectorAll('.clickstream-live-chart')[1]._fullLayout.xaxis.range"
    last = notebook.panel.locator(".clickstream-live-chart").nth(1)
    box = last.bounding_box()
    assert box is not None
    notebook.page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.5)
    notebook.page.mouse.up()
    notebook.page.wait_for_timeout(500)
    zoomed = notebook.page.evaluate(axis)
    assert zoomed[1] - zoomed[0] < 200
    assert notebook.changes_per_second(1)[1] > 1
    assert notebook.page.evaluate(axis) == zoomed, "zoom was lost"

    name = notebook.panel.get_by_role("button", name="<b>two").nth(1)
    name.click()
    assert notebook.changes_per_second(1)[1] > 1
    two = "document.querySelectorAll('.clickstream-live-chart')[1]._fullData[1].visible"
    assert notebook.page.evaluate(two) == "legendonly", "hidden, it came back"
    name.click()
    notebook.page.wait_for_timeout(500)
    assert notebook.page.evaluate(two) is True

    name.hover()
    notebook.page.mouse.down()
    notebook.page.wait_for_timeout(300)  # three figures
    notebook.page.mouse.up()
    notebook.page.wait_for_timeout(500)
    assert notebook.page.evaluate(two) == "legendonly", "a slow click was lost"
    name.focus()
    notebook.page.wait_for_timeout(300)
    notebook.page.keyboard.press("Enter")
    notebook.page.wait_for_timeout(500)
    assert notebook.page.evaluate(two) is True, "the focus was lost"

    notebook.save()
    notebook.page.reload()
    notebook.until_idle()
    notebook.until_drawn(2)
    assert notebook.changes_per_second(2)[1] > 2, "reloaded, it stands still"
    notebook.run_cell(5)
    assert notebook.errors == []
    assert notebook.requests == []
