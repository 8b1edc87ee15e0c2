"""Problems around a control room, in a real JupyterLab."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from benchmarks import screen, stage
from clickstream.kafka import topics
from clickstream.opensearch import client, index
from clickstream.settings import Settings
from tests.end_to_end.browser.test_pipeline import DOTS
from tests.support.by_id import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timed]

WAIT = "print('waiting')\nroom.until(more=10**9, most_s=60)"


def kernels() -> list[int]:
    """The process ids of the kernels of this test's JupyterLab."""
    found = []
    for each in psutil.Process(os.getpid()).children(recursive=True):
        with suppress(psutil.Error):  # it has just ended
            if "ipykernel_launcher" in " ".join(each.cmdline()):
                found.append(each.pid)
    return found


@pytest.fixture
def notebook(
    page: Page, chromium: str, settings: Settings, tmp_path: Path
) -> Iterator[screen.Notebook]:
    """Notebook 06 with an extra cell that waits for a long time."""
    notebooks = stage.with_a_cell_more(tmp_path / "notebooks", WAIT)
    # Two tabs that save the same file are asked which of them is right.
    saving = {"@jupyterlab/docmanager-extension:plugin": {"autosave": False}}
    with screen.lab(
        tmp_path / "work", stage.NOTEBOOK, notebooks=notebooks, overrides=saving
    ) as address:
        yield screen.Notebook(page, address)
        last = kernels()
    assert len(last) == 1
    assert not psutil.pid_exists(last[0]), "a kernel outlived JupyterLab"
    # Sooner than a seat that nobody left is taken away, six seconds after its last sign of life.
    wait_until(lambda: topics.consumers(settings.kafka) == 0, 3)
    topics.delete_topics(settings.kafka)
    index.delete(client.connect(settings.opensearch), settings.opensearch.index)


@pytest.mark.timeout(240)
def test_trouble_around_the_room_orphans_nothing(notebook: screen.Notebook) -> None:
    """The room survives an interrupt, a second tab, a kernel restart and a close."""
    room, _ = stage.first_chart(notebook)
    room.button("Start").click()
    room.until(lambda: room.number("indexed") > 50)

    notebook.start_cell(stage.LAST)
    told = notebook.panel.locator(".jp-CodeCell").nth(stage.LAST).locator(".jp-Cell-outputArea")
    expect(told).to_contain_text("waiting")
    room.choose_rate("50 /s")  # the slider's first touch
    room.until(lambda: room.number("per second") > 35, 20)
    notebook.choose("Kernel", "Interrupt Kernel")
    expect(told).to_contain_text("background work continues")
    assert "Traceback" not in told.inner_text()
    assert room.changes_per_second(3) >= stage.LEAST_HZ / 2

    notebook.save()
    with notebook.page.expect_popup() as opened:
        notebook.page.evaluate("window.open('about:blank')")
    second = screen.Notebook(opened.value, notebook.page.url)
    twin = stage.Room(second)
    twin.output.scroll_into_view_if_needed()  # what is far below is drawn when it is seen
    second.until_drawn(len(stage.CHARTS))
    for each in (twin, room):
        each.page.bring_to_front()
        assert each.changes_per_second(4) > 0, "both draw on the same two cores, so no bar"
    second.page.bring_to_front()
    twin.choose_rate("200 /s")
    twin.until(lambda: twin.number("per second") > 120, 10)
    second.page.close()
    notebook.page.bring_to_front()
    room.until(lambda: room.number("per second") > 120, 10)

    (before,) = kernels()
    notebook.restart_kernel()
    wait_until(lambda: before not in kernels() and len(kernels()) == 1, 60)
    (after,) = kernels()
    notebook.until_idle()
    room.until(lambda: notebook.page.evaluate(DOTS) == 0, 10)  # nothing moves any more
    again, _ = stage.first_chart(notebook)
    again.button("Start").click()
    indexed = again.number("indexed")
    again.until(lambda: again.number("indexed") > indexed + 50)
    assert before != after
    assert not psutil.pid_exists(before)
    assert again.changes_per_second(3) >= stage.LEAST_HZ / 2
    assert notebook.errors == []
    notebook.page.close()
