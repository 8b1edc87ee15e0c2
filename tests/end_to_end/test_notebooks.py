"""Every notebook, run twice in one kernel on the real servers."""

from pathlib import Path

import nbformat
import psutil
import pytest

from clickstream.servers import local
from clickstream.settings import Settings
from scripts import walk
from tests.support.notebooks import assert_runs_twice, run_twice, tracked

APART = ("07", "99")
"""Notebooks that stop a server of the shared pair, or the whole pair."""


@pytest.mark.timeout(480)
@pytest.mark.parametrize("name", [name for name in tracked() if not name.startswith(APART)])
def test_a_notebook_runs_twice_in_one_kernel(name: str, settings: Settings, tmp_path: Path) -> None:
    """A notebook runs twice without errors, its exercises can be solved, and all charts exist."""
    assert_runs_twice(name, settings, tmp_path / "page.html")


@pytest.mark.timeout(480)
def test_the_last_notebook_stops_a_pair_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last notebook stops nothing by default, and everything with `stop = True`."""
    monkeypatch.setenv("CLICKSTREAM_STATE", str(tmp_path))
    local.up()
    try:
        run_twice("99-stop-everything.ipynb", str(tmp_path))
        assert [server.state for server in local.status()] == ["up", "up"]
        run_twice("99-stop-everything.ipynb", str(tmp_path), stop=True)
        assert [server.state for server in local.status()] == ["down", "down"]
        assert local.down() == ()
        processes = psutil.process_iter(["cmdline"])
        assert [p for p in processes if str(tmp_path) in str(p.info["cmdline"])] == []
    finally:
        local.down()


def test_walk_writes_a_page_of_each_notebook(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all its charts, and a line for each that names the page."""
    chart = "import plotly.graph_objects as go\ngo.Figure(go.Bar(y=[1, 2]))"
    for name, sources in (("01-charts", (chart, chart)), ("02-text", ("print(1 + 1)",))):
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    walk.main(tmp_path / "pages", tmp_path)

    pages = sorted((tmp_path / "pages").iterdir())
    lines = capsys.readouterr().out.splitlines()
    assert [page.name for page in pages] == ["01-charts.html", "02-text.html"]
    assert pages[0].read_text().count("Plotly.newPlot(") >= 2
    assert "<pre>2" in pages[1].read_text()
    assert [line.split("  ")[:2] for line in lines] == [
        [str(pages[0]), "2 figures"],
        [str(pages[1]), "0 figures"],
    ]
