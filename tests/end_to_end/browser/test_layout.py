"""No text is cut or covered, in any size of the window that presenters use, light and dark."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import plotly.graph_objects as go
import pytest
from playwright.sync_api import Locator, Page, expect

from benchmarks import screen, stage
from clickstream.charts import timeseries
from clickstream.charts.page import page as written
from clickstream.demo import reader_figures, rehearsal
from clickstream.events import parse_timestamp
from clickstream.simulation.scenarios import SCENARIOS
from clickstream.simulation.simulator import Simulator
from tests.charts.test_charts import answer, busy
from tests.support.layout import faults_of_text

pytestmark = pytest.mark.slow

WINDOWS = ((1280, 720), (1600, 1000), (1920, 1080))
NARROW = (810, 600)
"""A chart in JupyterLab at 1280 pixels, beside an open file browser."""
MONDAY_MS = parse_timestamp("2026-01-05T00:00:00.000Z")
SCREENSHOTS = Path(__file__).parent.parent.parent.parent / "build" / "screenshots"

_BRIGHTNESS = """async (png) => {
  const image = new Image();
  image.src = `data:image/png;base64,${png}`;
  await image.decode();
  const context = new OffscreenCanvas(image.width, image.height).getContext('2d');
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  const grey = [];
  for (let at = 0; at < data.length; at += 4) grey.push(data[at] + data[at + 1] + data[at + 2]);
  grey.sort((a, b) => a - b);
  return [0.001, 0.25, 0.75, 0.999].map((share) => grey[Math.floor(share * grey.length)] / 3);
}"""


def brightness(page: Page, element: Locator) -> tuple[float, float, float, float]:
    """The darkest, the quartiles and the brightest of an element's pixels, 0 to 255."""
    element.evaluate("element => element.scrollIntoView({ block: 'center' })")
    box = element.bounding_box()
    assert box is not None
    # Of the page: a screenshot of the element itself waits until nothing in it changes.
    png = base64.b64encode(page.screenshot(clip=box)).decode()
    darkest, lower, upper, brightest = page.evaluate(_BRIGHTNESS, png)
    return darkest, lower, upper, brightest


def assert_follows_theme(page: Page, element: Locator, *, is_dark: bool) -> None:
    """Check that an element is light on dark, or dark on light."""
    darkest, lower, upper, brightest = brightness(page, element)
    assert lower < 40 if is_dark else upper > 230, "its background"
    assert brightest - darkest > 150


def lag_chart() -> go.Figure:
    """The lag of three minutes in which much was done."""
    timeline, now = timeseries.Timeline(), datetime.now(UTC)
    timeline._samples.extend((now - timedelta(seconds=170 - at), 10 * at) for at in range(170))
    for ago_s, what in (
        *((150, "OpenSearch is stopped"), (120, "OpenSearch is started")),
        *((100, "OpenSearch answers"), (95, "consumer is killed"), (60, "consumer starts")),
        *((58, "8 invalid messages"), (5, "8 messages are sent again")),
    ):
        timeline._marks.add(now - timedelta(seconds=ago_s), what)
    return timeline.figure()


def of_readers() -> list[go.Figure]:
    """The charts of notebook 01."""
    week = Simulator(seed=7, start_ms=MONDAY_MS, readers=300)
    events = rehearsal.tabulate(week.events(until_ms=MONDAY_MS + 7 * 86_400_000))
    visits = events.groupby("session_id")["user_id"].size()
    eleven = MONDAY_MS + 11 * 3_600_000
    played = {
        strength: rehearsal.rehearse(strength, seed=7, start_ms=eleven, readers=1_000)
        for strength in ("", *(rehearsal.strengths(name)[2] for name in SCENARIOS))
    }
    usual = played.pop("")
    return [
        reader_figures.session(events[events["session_id"] == visits[visits <= 14].idxmax()]),
        reader_figures.day(events),
        reader_figures.popularity(events),
        *(reader_figures.preview(text, each, usual) for text, each in played.items()),
    ]


def assert_all_fits(page: Page, file: Path, figures: Sequence[go.Figure]) -> None:
    """Check the page of some charts in every size."""
    file.write_text(written("Charts", figures), encoding="utf-8")
    page.goto(file.as_uri())
    for width, height in (NARROW, *WINDOWS):
        page.set_viewport_size({"width": width, "height": height})
        for plot in page.locator(".js-plotly-plot").all():
            plot.evaluate("plot => Plotly.Plots.resize(plot)")
        expect(page.locator(".js-plotly-plot:has(.main-svg)")).to_have_count(len(figures))
        assert faults_of_text(page, "body") == [], f"{width} x {height}"


def test_no_text_of_a_chart_is_cut(page: Page, tmp_path: Path) -> None:
    """Charts with the longest names, without events and of the lag fit into every window."""
    zone = "America/Argentina/Buenos_Aires"
    full, nothing = (each.figures(tz=zone).values() for each in (busy(), answer(empty=True)))
    charts = [*full, *nothing, lag_chart(), timeseries.Timeline().figure()]

    assert_all_fits(page, tmp_path / "charts.html", charts)
    first = page.locator(".js-plotly-plot").first.bounding_box()
    assert first is not None
    assert first["width"] > 0.45 * WINDOWS[-1][0], "two charts fill the width of the window"
    page.emulate_media(color_scheme="dark")
    for plot in page.locator(".js-plotly-plot:has(.scatterlayer .trace)").all():
        assert_follows_theme(page, plot, is_dark=True)
    assert brightness(page, page.locator("h1"))[1] < 40


def test_no_text_of_notebook_01_is_cut(page: Page, tmp_path: Path) -> None:
    """Charts of readers and of every scenario fit into every window."""
    assert_all_fits(page, tmp_path / "readers.html", of_readers())


def use_theme(page: Page, name: str) -> None:
    """Choose a theme from the menu."""
    page.get_by_role("menuitem", name="Settings", exact=True).click()
    page.get_by_text("Theme", exact=True).hover()
    page.locator(".lm-Menu-itemLabel").get_by_text(f"JupyterLab {name}", exact=True).click()
    is_light = str(name == "Light").lower()
    expect(page.locator(f"body[data-jp-theme-light='{is_light}']")).to_have_count(1)


def show_files(page: Page, *, is_shown: bool) -> None:
    """Open or close the file browser."""
    browser = page.locator("#filebrowser")
    if browser.is_visible() != is_shown:
        page.locator(".jp-SideBar [data-id='filebrowser']").click()
    expect(browser).to_be_visible(visible=is_shown)


_USED = """room => room.getBoundingClientRect().height
  / room.closest('.jp-WindowedPanel-outer').clientHeight"""


def assert_room_fits(room: stage.Room, state: str) -> None:
    """Check the room in every size, with and without the file browser; it uses the height.

    What happens now, in words, has its place in all but the narrowest.
    """
    shown = room.output.locator(".jp-OutputArea-output").first
    for width, height, has_files in ((1280, 720, True), *((*each, False) for each in WINDOWS)):
        room.page.set_viewport_size({"width": width, "height": height})
        show_files(room.page, is_shown=has_files)
        shown.scroll_into_view_if_needed()
        room.page.wait_for_timeout(1_500)  # a search a second: every chart was drawn anew
        name = f"06-{state}-{width}{'-files' if has_files else ''}"
        room.page.screenshot(path=SCREENSHOTS / f"{name}.png")
        assert faults_of_text(room.page, shown) == [], name
        assert 0.95 < room.output.locator(".clickstream-room").evaluate(_USED) <= 1, name
        for latest, lines in ((".clickstream-tail", (5, 8)), (".clickstream-read-now", (5,))):
            expect(room.output.locator(latest)).to_be_visible(visible=not has_files)
            if not has_files and state != "reset":
                assert room.output.locator(f"{latest} li:visible").count() in lines, name


@pytest.fixture
def last_cell() -> str:
    """It shows a chart at full size."""
    return "room.charts['volume']"


@pytest.mark.timeout(400)
def test_no_text_of_the_room_is_cut_and_it_follows_the_theme(notebook: screen.Notebook) -> None:
    """Under traffic and after a Reset all text fits; the running room changes its theme."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = notebook.page
    use_theme(page, "Light")  # it was chosen before, perhaps in another test
    room, _ = stage.first_chart(notebook)
    room.button("Start").click()
    for scenario in ("Breaking news", "Comment storm", "Bot", "Logout wave"):
        room.scenario(scenario)
    room.choose_rate("100 /s")
    for name in ("normal traffic", "breaking-news", "comment-storm", "bot", "logout-wave"):
        expect(room.button(name)).to_be_visible(timeout=60_000)
    room.until(lambda: room.number("produced") > 3_000, 60)
    assert_room_fits(room, "busy")

    notebook.run_cell(stage.LAST)
    whole = notebook.panel.locator(".jp-RenderedPlotly").last
    for name in ("Dark", "Light"):
        use_theme(page, name)
        for element in (
            *room.output.locator(".clickstream-live-chart:visible").all(),
            *room.output.locator(".clickstream-latest").all(),
            *(room.output.locator(".widget-html:has([data-status-line])"), whole),
        ):
            assert_follows_theme(page, element, is_dark=name == "Dark")
    assert faults_of_text(page, whole) == []

    room.scenario("A/B test")
    expect(room.button("arm B")).to_be_visible(timeout=20_000)
    assert_room_fits(room, "ab-test")

    room.button("Stop").click()
    room.until(lambda: room.status().startswith("Stopped"))
    room.choose("⋯", "Reset")
    room.until(lambda: "are empty" in room.status())
    assert_room_fits(room, "reset")
    plots = room.output.locator(".clickstream-live-chart:visible:has(.annotation)").all()
    assert len(plots) == 4
    for plot in plots:
        box, text = plot.bounding_box(), plot.locator(".annotation-text").bounding_box()
        assert box is not None
        assert text is not None
        off_px = (text["x"] + text["width"] / 2) - (box["x"] + box["width"] / 2)
        assert abs(off_px) < 0.05 * box["width"], "not in the middle"
    assert notebook.errors == []
