"""The working copy: filled, never overwritten, renewed with the old one kept."""

from pathlib import Path

import pytest

from clickstream import lab


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working copy in a folder of the test's own."""
    folder = tmp_path / "work"
    monkeypatch.setattr(lab, "COPY", folder)
    return folder


def test_the_copy_holds_every_notebook(copy: Path) -> None:
    """And nothing else."""
    lab.fill_copy()
    assert {p.name for p in copy.iterdir()} == {p.name for p in lab.NOTEBOOKS.glob("*.ipynb")}


def test_a_presenter_s_edits_are_never_overwritten(copy: Path) -> None:
    """A notebook that was deleted comes back; one that was changed stays."""
    lab.fill_copy()
    (copy / "00-start-here.ipynb").write_text("mine")
    (copy / "01-meet-the-readers.ipynb").unlink()
    lab.fill_copy()
    assert (copy / "00-start-here.ipynb").read_text() == "mine"
    assert (copy / "01-meet-the-readers.ipynb").exists()


def test_renewing_keeps_the_old_copy_aside(copy: Path) -> None:
    """Nothing of a presenter's is lost."""
    lab.fill_copy()
    (copy / "00-start-here.ipynb").write_text("mine")
    aside = lab.renew()
    assert aside is not None
    assert (aside / "00-start-here.ipynb").read_text() == "mine"
    assert (copy / "00-start-here.ipynb").read_text() != "mine"


def test_a_jupyterlab_that_is_gone_is_not_running(copy: Path) -> None:
    """What it left behind is no proof of life."""
    copy.mkdir()
    (copy / ".jupyterlab.json").write_text('{"pid": 1, "url": "http://127.0.0.1:9/lab/?token=x"}')
    assert not lab.is_running()
