"""Run every notebook headless, in order, and write each as one HTML file (`make walk`).

A file holds everything it shows: plotly.js once, figures as figures, the last picture of a
live panel in place of its controls. Nothing is loaded from anywhere, so it opens from
disk.

    python -m scripts.walk FOLDER
"""

from __future__ import annotations

import html
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import HTMLExporter
from plotly.offline import get_plotlyjs
from pygments.formatters import HtmlFormatter

from clickstream.errors import ClickstreamError, shown
from clickstream.servers import local
from scripts.headless import NotebookClient

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
WIDGETS = "application/vnd.jupyter.widget-state+json"

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 18px/1.5 Helvetica, Arial, sans-serif; color: #1b1f24; background: #fff;
       max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }}
pre {{ font-size: 16px; line-height: 1.4; padding: .6rem .8rem;
      white-space: pre-wrap; overflow-wrap: anywhere; }}
.jp-InputArea pre, .input_area pre, .highlight {{ background: #f2f6fa; border-radius: 4px; }}
blockquote {{ border-left: 4px solid #0b5a94; margin-left: 0; padding-left: 1rem; color: #444; }}
table {{ border-collapse: collapse; font-size: 16px; }}
td, th {{ padding: .3rem .8rem; border-bottom: 1px solid #d5dae0; text-align: right; }}
.prompt, .anchor-link, .jp-InputPrompt, .jp-OutputPrompt {{ display: none; }}
{highlighting}
</style>
{plotly}
</head>
<body>
{body}
</body>
</html>
"""


def run(path: Path) -> nbformat.NotebookNode:
    """Run a notebook top to bottom in a kernel of its own; an error ends it."""
    notebook = nbformat.read(path, as_version=4)
    if path.name.startswith("99"):
        confirm(notebook)
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
        # A kernel on loopback warns at every start that its port is not encrypted.
        extra_arguments=["--log-level=ERROR"],
    ).execute()
    return notebook


def confirm(notebook: nbformat.NotebookNode) -> None:
    """Say yes in the notebook that stops everything."""
    for cell in notebook.cells:
        cell.source = cell.source.replace("stop = False", "stop = True")


def write(notebook: nbformat.NotebookNode, path: Path) -> int:
    """Write a notebook that was run as one HTML file; return the number of its figures."""
    figures = 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [
                plain
                for output in cell.outputs
                for plain in without_widgets(output, notebook.metadata.get("widgets", {}))
            ]
            for output in cell.outputs:
                if PLOTLY in output.get("data", {}):
                    output.data = {"text/html": figure(output.data[PLOTLY], f"figure-{figures}")}
                    figures += 1
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    path.write_text(
        PAGE.format(
            title=html.escape(path.stem),
            highlighting=HtmlFormatter().get_style_defs(".highlight"),
            plotly=f"<script>{get_plotlyjs()}</script>" if figures else "",
            body=body,
        )
    )
    return figures


def without_widgets(output: Any, widgets: dict[str, Any]) -> Iterator[Any]:
    """Give an output as it is, and for a widget what it shows: outputs, text, charts, numbers."""
    view = output.get("data", {}).get(WIDGET)
    if view is None:
        yield output
        return
    state = widgets.get(WIDGETS, {}).get("state", {})
    waiting = [view["model_id"]]
    while waiting:
        model = state.get(waiting.pop(0), {}).get("state", {})
        for each in model.get("outputs", []):
            yield nbformat.from_dict(each)
        if model.get("_model_name") == "HTMLModel" and model["value"]:
            yield nbformat.v4.new_output("display_data", {"text/html": model["value"]})
        if numbers := json.loads(model.get("_state", "{}")).get("numbers"):
            pipeline = " · ".join(
                f"{name} <b>{html.escape(text)}</b>" for name, text in numbers.items()
            )
            yield nbformat.v4.new_output("display_data", {"text/html": f"<p>{pipeline}</p>"})
        # A chart that was never drawn is not shown, either.
        if drawn := json.loads(model.get("_figure", "{}")):
            title = drawn["layout"].pop("title", {}).get("text", "").partition("<br>")[0]
            yield nbformat.v4.new_output("display_data", {"text/html": f"<h4>{title}</h4>"})
            yield nbformat.v4.new_output("display_data", {PLOTLY: drawn})
        waiting += [child.removeprefix("IPY_MODEL_") for child in model.get("children", [])]


def figure(spec: dict[str, Any], name: str) -> str:
    """Write a plotly figure as the element it is drawn into."""
    # A closing tag inside a label would end the script.
    data = json.dumps({"data": spec["data"], "layout": spec["layout"]}).replace("</", "<\\/")
    return (
        f'<div id="{name}"></div><script>Plotly.newPlot("{name}", Object.assign({data}, '
        "{config: {responsive: true, displaylogo: false}}));</script>"
    )


def main(folder: Path, notebooks: Path = NOTEBOOKS) -> None:
    """Run and write them all, the one that stops everything last."""
    local.up()  # an error here is one line; in a kernel it would be fifty
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(notebooks.glob("*.ipynb")):
        started_s = time.monotonic()
        figures = write(run(path), folder / f"{path.stem}.html")
        took_s = time.monotonic() - started_s
        print(f"{folder / path.stem}.html  {figures} figures  {took_s:.1f} s", flush=True)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except ClickstreamError as error:
        sys.exit(f"walk: {shown(error)}")
