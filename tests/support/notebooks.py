"""Every notebook that git tracks, run in one kernel on the real servers, and looked at."""

import ast
import os
import re
import subprocess
import time
from pathlib import Path

import nbformat

from clickstream.demo.exercises import UNTOUCHED
from clickstream.kafka import topics
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.settings import Settings
from scripts import walk
from scripts.headless import NotebookClient

ROOT = Path(__file__).parent.parent.parent
MOST_S = 20
"""The longest that any cell may take, in front of people."""

ENTERED_S = 15
"""A notebook may be the first that is opened: so long its first two code cells take at most."""

FIGURES = {"01": 5, "04": 1, "05": 6, "06": 7, "07": 6}
"""Charts on the page of a notebook; of the dials, the first picture."""

LIVE = {"06-live-control-room.ipynb": "room.stop()"}
"""What goes on after the last cell, and what ends it."""

SOLUTION = re.compile(r"<summary>A solution</summary>\n\n```python\n(.*?)```", re.DOTALL)
"""Folded behind the check of an exercise."""

LEFT_OVER = """
import threading
ours = ("clickstream", "reader", "producer", "consumer")
[thread.name for thread in threading.enumerate() if thread.name.startswith(ours)]
"""


def tracked() -> list[str]:
    """The notebooks in their order, the one that stops everything last."""
    listed = subprocess.run(
        ["git", "ls-files", "notebooks/*.ipynb"], cwd=ROOT, capture_output=True, check=True
    )
    return sorted(Path(name).name for name in listed.stdout.decode().split())


def run_twice(name: str, state: str, *, stop: bool = False, again: bool = True) -> NotebookClient:
    """Run all cells, and then all of them once more.

    No cell may take longer than twice `MOST_S`. One that says so is run again, as a reader would.
    The last time every exercise is tried, where it stands. Topic and index are its own and
    new: no notebook needs what another left.
    """
    path = ROOT / "notebooks" / name
    notebook = nbformat.read(path, as_version=4)
    if stop:
        for cell in notebook.cells:
            cell.source = cell.source.replace("stop = False", "stop = True")
    client = NotebookClient(
        notebook,
        timeout=2 * MOST_S,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
    )
    own = {"CLICKSTREAM_STATE": state, "CLICKSTREAM_NAMESPACE": namespace(name)}
    with client.setup_kernel(env={**os.environ, **own}):
        tasks = exercises(notebook)
        took_s = []
        for is_last in (False, True) if again else (True,):
            for place, cell in enumerate(notebook.cells):
                started_s = time.monotonic()
                execute(client, cell, place)
                if cell.cell_type == "code":
                    took_s.append(time.monotonic() - started_s)
                if is_last and place in tasks:
                    assert_can_be_solved(client, place, *tasks[place])
        assert sum(took_s[:2]) < 2 * ENTERED_S
        if name in LIVE:
            notebook.cells.append(nbformat.v4.new_code_cell(LIVE[name]))
            execute(client, notebook.cells[-1], len(notebook.cells) - 1)
        probe = nbformat.v4.new_code_cell(LEFT_OVER)
        notebook.cells.append(probe)
        client.execute_cell(probe, len(notebook.cells) - 1)
        assert probe.outputs[0]["data"]["text/plain"] == "[]"
    return client


def namespace(name: str) -> str:
    """Give what makes the names of a notebook's topic and index its own."""
    return f"notebook-{name[:2]}"


def execute(client: NotebookClient, cell: nbformat.NotebookNode, place: int) -> None:
    """Run a cell, and again while it says that it was too early."""
    for _ in range(5):
        client.execute_cell(cell, place)
        if "run this cell again" not in str(cell.get("outputs", "")):
            return


def exercises(notebook: nbformat.NotebookNode) -> dict[int, tuple[int, str]]:
    """By the place of its check: the place of the cell to edit, and the folded solution."""
    folded = {place: SOLUTION.search(cell.source) for place, cell in enumerate(notebook.cells)}
    return {place - 1: (place - 3, found[1]) for place, found in folded.items() if found}


def assert_can_be_solved(client: NotebookClient, check: int, task: int, solution: str) -> None:
    """Let the check, just run, judge what is there untouched, a wrong answer, the solution."""
    cells = client.nb.cells
    said = [ast.literal_eval(cells[check].outputs[0]["data"]["text/plain"])]
    for answer in (cells[task].source.replace("None", "-1"), solution):
        cells[task].source = answer
        for place in (task, check):
            execute(client, cells[place], place)
        said.append(ast.literal_eval(cells[check].outputs[0]["data"]["text/plain"]))
    assert said[0] == UNTOUCHED
    assert said[1].startswith("Not yet: ")
    assert said[2].startswith("Right: ")


def outputs_of(client: NotebookClient) -> list[nbformat.NotebookNode]:
    """What all cells showed, in order; for a widget, what its output area shows."""
    shown = [output for cell in client.nb.cells for output in cell.get("outputs", [])]
    return shown + [output for comm in client.comm_objects.values() for output in comm.outputs]


def written(client: NotebookClient, path: Path) -> tuple[int, str]:
    """Write the notebook as `make walk` does; how many figures, and the page."""
    client.set_widgets_metadata()
    return walk.write(client.nb, path), path.read_text()


def assert_runs_twice(name: str, settings: Settings, page: Path, *, again: bool = True) -> None:
    """Without an error or a word on stderr, exercises solved; no worker left, all charts there.

    Its topic and index are its own and gone afterwards; the page is written as `make walk` does.
    """
    own = settings.in_namespace(namespace(name))
    try:
        client = run_twice(name, os.environ["CLICKSTREAM_STATE"], again=again)
    finally:
        topics.delete_topics(own.kafka)
        index.delete(opensearch.connect(own.opensearch), own.opensearch.index)

    assert len(exercises(client.nb)) in (1, 2)
    wrong = [o for o in outputs_of(client) if o.output_type == "error" or o.get("name") == "stderr"]
    assert wrong == []
    if name.startswith("05"):
        dialled = [output for comm in client.comm_objects.values() for output in comm.outputs]
        assert any("application/vnd.plotly.v1+json" in each.get("data", {}) for each in dialled)
    figures, text = written(client, page)
    assert figures == FIGURES.get(name[:2], 0)
    assert text.count("Plotly.newPlot(") >= figures
    assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=.https?:", text) == []
