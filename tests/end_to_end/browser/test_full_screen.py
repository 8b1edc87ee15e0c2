"""The control room as a full screen, with its marks, in a real JupyterLab."""

import pytest
from playwright.sync_api import expect

from benchmarks import screen, stage
from tests.end_to_end.browser.test_layout import SCREENSHOTS, assert_follows_theme, use_theme
from tests.support.layout import faults_of_text

pytestmark = pytest.mark.slow

HEIGHT_OF_STATUS = "cell => cell.querySelector('[data-status-line]').getBoundingClientRect().height"
IS_FULL = "document.fullscreenElement?.matches('.clickstream-room') ?? false"
WIDTH, HEIGHT = 1920, 1080


def assert_fills_the_screen(room: stage.Room, name: str, *, is_dark: bool) -> None:
    """Check that all of the room is as large as the window, that no text is cut, and its theme."""
    page, full = room.page, room.output.locator(".clickstream-room")
    page.wait_for_timeout(1_500)  # a search a second: every chart was drawn anew
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"06-full-{name}.png")
    box = full.bounding_box()
    assert box is not None
    assert (box["x"], box["y"], box["width"], box["height"]) == (0, 0, WIDTH, HEIGHT)
    assert faults_of_text(page, full) == []
    assert_follows_theme(page, full, is_dark=is_dark)


@pytest.mark.timeout(300)
def test_the_room_fills_the_screen_and_answers_keys(notebook: screen.Notebook) -> None:
    """Menus, hover boxes and marks are inside; keys work there, and only there; Esc leads back."""
    page = notebook.page
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    use_theme(page, "Light")
    room, _ = stage.first_chart(notebook)
    full = room.output.locator(".clickstream-room")
    opener = full.locator(".clickstream-full-screen")
    volume = room.output.locator(".clickstream-live-chart:visible").first
    marks = volume.locator(".annotation-text")
    status = room.output.locator("[data-status-line]")

    def height() -> float:
        # At once: a new line replaces the element.
        return float(room.output.evaluate(HEIGHT_OF_STATUS))

    before = height()
    opener.click()
    page.wait_for_function(IS_FULL)
    room.until(lambda: height() > 1.4 * before)
    page.keyboard.press("Space")
    expect(room.button("Stop")).to_be_visible()
    expect(marks).to_have_text(["Start"])
    page.keyboard.press("1")
    expect(status).to_contain_text("Breaking news. Watch volume")
    page.keyboard.press("7")
    expect(status).to_contain_text("Dirty data. Watch")
    expect(marks).to_have_text(["Breaking news", "Dirty data"])
    expect(status).to_contain_text("Dirty data, before → now: ")

    room.button("Scenario ▾").click()
    expect(room.button("Bot")).to_be_visible()
    assert faults_of_text(page, full.locator("[data-open] .clickstream-panel")) == []
    room.button("Scenario ▾").click()
    volume.hover(position={"x": 300, "y": 100})
    expect(volume.locator(".hoverlayer .hovertext, .hoverlayer .legend").first).to_be_visible()
    full.evaluate("room => room.append(document.createElement('input'))")
    field = full.locator("> input")
    field.focus()
    page.keyboard.press("2")
    page.keyboard.press("Space")
    expect(field).to_have_value("2 ")
    field.evaluate("field => field.remove()")
    assert_fills_the_screen(room, "light", is_dark=False)
    assert status.inner_text().startswith("Dirty data, before")

    page.keyboard.press("r")
    expect(full.locator(".clickstream-reader")).to_be_visible()
    page.keyboard.press("Escape")
    page.wait_for_function(f"!({IS_FULL})")
    expect(full.locator(".clickstream-reader")).to_be_hidden()
    room.until(lambda: height() < 1.2 * before)
    use_theme(page, "Dark")
    opener.click()
    page.wait_for_function(IS_FULL)
    page.keyboard.press("1")
    expect(status).to_contain_text("Breaking news has ended")
    assert_fills_the_screen(room, "dark", is_dark=True)
    page.keyboard.press("Space")
    expect(status).to_contain_text("Stopped.")
    opener.click()
    page.wait_for_function(f"!({IS_FULL})")
    status.click()
    page.keyboard.press("Space")
    page.wait_for_timeout(500)
    expect(status).to_contain_text("Stopped.")
    use_theme(page, "Light")
    assert notebook.errors == []
