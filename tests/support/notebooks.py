"""Run every tracked notebook in one kernel on the real servers, and check it."""

import os
import re
import subprocess
import time
from pathlib import Path

import nbformat

from clickstream.kafka import topics
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.settings import Settings
from scripts import walk
from scripts.headless import NotebookClient

ROOT = Path(__file__).parent.parent.parent
MOST_S = 20
"""The longest time that a cell may take."""

ENTERED_S = 15
"""The longest time for the first two code cells of a notebook that is opened first."""

FIGURES = {"01": 5, "04": 1, "05": 6, "06": 6, "07": 6}
"""Charts on the page of a notebook; controls count with their first chart."""

LIVE = {"06-live-control-room.ipynb": "_ = room.stop()"}
"""Notebooks that keep running after the last cell, and the code that stops them."""

SOLUTION = re.compile(r"<summary>A solution</summary>\n\n```python\n(.*?)```", re.DOTALL)
"""The folded solution after the check of an exercise."""

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

    No cell may take longer than twice `MOST_S`. A cell that asks for it is run again. The last run
    also tries every exercise in its place. Topic and index are separate and new, because no
    notebook may depend on another.
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
    """Return the namespace of a notebook's topic and index."""
    return f"notebook-{name[:2]}"


def execute(client: NotebookClient, cell: nbformat.NotebookNode, place: int) -> None:
    """Run a cell, and repeat it while its output asks for that."""
    for _ in range(5):
        client.execute_cell(cell, place)
        if "run this cell again" not in str(cell.get("outputs", "")):
            return


def exercises(notebook: nbformat.NotebookNode) -> dict[int, tuple[int, str]]:
    """Map the index of a check to the index of the cell to edit, and the solution."""
    folded = {place: SOLUTION.search(cell.source) for place, cell in enumerate(notebook.cells)}
    return {place - 1: (place - 3, found[1]) for place, found in folded.items() if found}


def assert_can_be_solved(client: NotebookClient, check: int, task: int, solution: str) -> None:
    """Check the replies for no answer, a wrong answer and the solution."""
    cells = client.nb.cells
    said = [reply(cells[check])]
    for answer in (cells[task].source.replace("None", "-1"), solution):
        cells[task].source = answer
        for place in (task, check):
            execute(client, cells[place], place)
        said.append(reply(cells[check]))
    assert said[0].startswith("! No answer yet: ")
    assert said[1].startswith(("✘ Not yet: ", "✘ Wrong type: "))
    assert said[2].startswith("✔ Right: ")


def reply(cell: nbformat.NotebookNode) -> str:
    """The text of the coloured line that a check shows."""
    return re.sub("<[^>]*>", "", cell.outputs[0]["data"]["text/html"])


def outputs_of(client: NotebookClient) -> list[nbformat.NotebookNode]:
    """The outputs of all cells, in order, and of the output areas of widgets."""
    shown = [output for cell in client.nb.cells for output in cell.get("outputs", [])]
    return shown + [output for comm in client.comm_objects.values() for output in comm.outputs]


def written(client: NotebookClient, path: Path) -> tuple[int, str]:
    """Write the page like `make walk`; return the number of figures and the page."""
    client.set_widgets_metadata()
    return walk.write(client.nb, path), path.read_text()


def assert_runs_twice(name: str, settings: Settings, page: Path, *, again: bool = True) -> None:
    """Check that a notebook runs twice without errors and leaves no worker, with all charts.

    Its topic and index are separate and deleted afterwards; the page is that of `make walk`.
    """
    own = settings.in_namespace(namespace(name))
    try:
        client = run_twice(name, os.environ["CLICKSTREAM_STATE"], again=again)
    finally:
        topics.delete_topics(own.kafka)
        index.delete(opensearch.connect(own.opensearch), own.opensearch.index)

    assert len(exercises(client.nb)) in (1, 2)
    texts = [each.get("data", {}).get("text/plain", "") for each in outputs_of(client)]
    assert [text for text in texts if text.startswith(("'", '"'))] == [], "text in quotes"
    wrong = [o for o in outputs_of(client) if o.output_type == "error" or o.get("name") == "stderr"]
    assert wrong == []
    if name.startswith("05"):
        dialled = [output for comm in client.comm_objects.values() for output in comm.outputs]
        assert any("application/vnd.plotly.v1+json" in each.get("data", {}) for each in dialled)
        chosen = [model["index"] for model in client.widget_state.values() if "index" in model]
        assert None not in chosen, "a dropdown shows nothing"
    figures, text = written(client, page)
    assert figures == FIGURES.get(name[:2], 0)
    assert text.count("Plotly.newPlot(") >= figures
    if name.startswith("06"):
        assert re.search(r"indexed <b>[1-9]", text), "the numbers of the room"
    assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=.https?:", text) == []
