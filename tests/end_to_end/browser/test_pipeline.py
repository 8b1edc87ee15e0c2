"""The moving pipeline of the control room, in a real JupyterLab."""

import pytest
from playwright.sync_api import expect

from benchmarks import screen, stage
from clickstream.settings import Settings
from tests.end_to_end.conftest import Start
from tests.support.by_id import send_raw

pytestmark = pytest.mark.slow

DOTS = "Number(document.querySelector('.clickstream-pipeline canvas').dataset.dots)"
HOSTILE = b'<img src=x onerror="document.title=1"><b>bold</b>'


@pytest.mark.timeout(300)
def test_the_pipeline_shows_what_moves_and_who_reads_it(
    notebook: screen.Notebook, settings: Settings, start: Start
) -> None:
    """Dots move while messages flow; consumers come and go; a click shows what is there."""
    page = notebook.page
    room, _ = stage.first_chart(notebook)
    view = room.output.locator(".clickstream-pipeline")
    lanes, owners = view.locator(".lane"), view.locator(".owner")
    expect(lanes).to_have_count(3)
    assert page.evaluate(DOTS) == 0, "nothing flows"

    room.button("Start").click()
    page.wait_for_function(f"{DOTS} > 5")
    room.choose_rate("1,000 /s")
    room.until(lambda: room.number("per second") > 500)
    room.until(lambda: 20 < page.evaluate(DOTS) <= 60)
    expect(owners).to_have_text(["this notebookpartitions 0, 1, 2"])
    room.until(lambda: room.number("readers") > 100)
    expect(view.locator("[data-text='index']")).to_contain_text(" s, p99 ")

    other = start(settings)
    expect(owners).to_have_count(2)
    expect(owners.filter(has_text=f"process {other.process.pid}")).to_have_count(1)
    other.kill()
    # Its partitions have no reader until its seat is free, six seconds later.
    expect(lanes.and_(page.locator("[data-trouble='lag grows']")).first).to_be_visible()
    expect(owners).to_have_text(["this notebookpartitions 0, 1, 2"])

    page.emulate_media(reduced_motion="reduce")
    room.until(lambda: page.evaluate(DOTS) == 0)
    page.emulate_media(reduced_motion="no-preference")
    room.until(lambda: page.evaluate(DOTS) > 20)

    lanes.nth(1).click()
    drawer = room.output.locator(".clickstream-drawer")
    expect(drawer).to_contain_text("partition 1, offset")
    expect(drawer).to_contain_text('"session_id"')
    view.locator("[data-station='index'] h4").click()
    expect(drawer).to_contain_text("The newest document")
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()

    room.button("Stop").click()
    room.until(lambda: room.status().startswith("Stopped"))
    room.until(lambda: page.evaluate(DOTS) == 0)
    expect(owners).to_have_count(0)
    send_raw(settings, HOSTILE)
    view.locator("[data-station='kafka'] h4").click()
    expect(drawer).to_contain_text(HOSTILE.decode())
    assert page.title() != "1"
    drawer.get_by_role("button", name="×").click()
    expect(drawer).to_be_hidden()
    assert notebook.errors == []


CONTROLS = "button, .noUi-handle"


@pytest.mark.timeout(240)
def test_menus_open_one_at_a_time_and_the_window_of_the_charts_can_be_chosen(
    notebook: screen.Notebook,
) -> None:
    """At rest there are few controls; a menu closes when another opens, and by Esc."""
    page = notebook.page
    room, _ = stage.first_chart(notebook)
    controls = room.output.locator(".clickstream-room-row").locator(CONTROLS)
    # Start, the slider, Scenario, three windows, the reader's page, the whole screen, and the menu.
    at_rest = [each for each in controls.all() if each.is_visible()]
    assert len(at_rest) == 9

    scenario, reset = room.button("Bot"), room.button("Reset")
    room.button("Scenario ▾").click()
    expect(scenario).to_be_visible()
    room.output.locator(".clickstream-panel .noUi-handle").press("ArrowRight")
    expect(scenario).to_be_visible()
    room.button("⋯").click()
    expect(reset).to_be_visible()
    expect(scenario).to_be_hidden()
    page.keyboard.press("Escape")
    expect(reset).to_be_hidden()

    room.choose("⋯", "Start over")
    room.until_past_is_indexed()
    heading = room.output.get_by_text("events, at most").first
    shown = []
    for minutes, seconds in ((15, 5), (5, 2), (1, 1)):
        room.button(f"{minutes} min").click()
        expect(heading).to_contain_text(f"in {seconds} second")
        shown.append(int(heading.inner_text().split()[0].replace(",", "")))
    assert shown[0] > 2 * shown[1] > 4 * shown[2] > 0
    room.button("Stop").click()
    room.until(lambda: room.status().startswith("Stopped"))
    room.button("15 min").click()
    expect(heading).to_contain_text("in 5 seconds")
    assert notebook.errors == []
