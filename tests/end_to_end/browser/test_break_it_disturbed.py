"""*Break it* in a real JupyterLab: outage, kill and poison, each followed by a count by id."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from benchmarks import screen, stage
from clickstream.servers import local, processes
from clickstream.settings import Settings
from clickstream.widgets.faults import CONSUMER
from tests.support.layout import faults_of_text

pytestmark = pytest.mark.slow

SCREENSHOTS = Path(__file__).parent.parent.parent.parent / "build" / "screenshots"


@pytest.fixture(autouse=True)
def nothing_left(settings: Settings) -> Iterator[None]:
    """After JupyterLab has ended, no consumer process is left, and OpenSearch is up."""
    yield
    left = processes.running(CONSUMER)
    processes.stop(CONSUMER)
    local.up()
    assert left is None


@pytest.mark.timeout(300)
def test_what_is_broken_in_the_drawer_recovers_and_is_counted(notebook: screen.Notebook) -> None:
    """The drawer tells what goes on, the badge what was counted; both fit, and Esc closes."""
    page = notebook.page
    room, _ = stage.first_chart(notebook)
    drawer = room.output.locator(".clickstream-drawer")
    badge = room.output.locator("[data-badge]")
    good = room.output.locator("[data-badge='good']")
    room.choose("⋯", "Break it")
    room.button("Send poison").click()
    expect(drawer).to_contain_text("nobody is on the site; press Start first")
    expect(badge).to_have_count(0)
    room.button("Start").click()
    room.until(lambda: "were sent first" in room.status(), 60)

    room.button("Send poison").dblclick()
    expect(drawer).to_contain_text("8 invalid messages sent at ")
    expect(drawer).not_to_contain_text("press Start first")
    expect(good).to_contain_text("0 lost · 0 doubled", timeout=90_000)
    expect(drawer).to_contain_text(" 8 dead letters, 0 lost, 0 doubled")

    room.button("Add a consumer").click()
    expect(drawer).to_contain_text(" reads partition", timeout=60_000)
    room.button("Stop OpenSearch").dblclick()
    expect(drawer).to_contain_text("OpenSearch is down, Kafka keeps the messages, ")
    room.until(lambda: "To start it: ⋯, Break it." in room.status())
    assert faults_of_text(page, drawer) == []
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "06-break-it-outage.png")
    room.button("Kill it").dblclick()
    expect(drawer).to_contain_text(" for a new owner, ")
    expect(room.button("Kill it")).to_be_disabled()
    room.button("Start it").dblclick()
    expect(drawer).to_contain_text("OpenSearch is back after ", timeout=90_000)
    expect(drawer).to_contain_text(": a new owner after ", timeout=60_000)
    expect(drawer).to_contain_text(" 0 lost, 0 doubled", timeout=60_000)
    expect(good).to_contain_text("0 lost · 0 doubled")
    page.screenshot(path=SCREENSHOTS / "06-break-it-counted.png")
    for part in (drawer, room.output.locator(".clickstream-status")):
        assert faults_of_text(page, part) == []

    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(good).to_be_visible()
    room.choose("⋯", "Break it")
    room.button("Add a consumer").click()
    expect(drawer).to_contain_text(" reads partition", timeout=60_000)
    assert notebook.errors == []  # and the end of JupyterLab ends the consumer
