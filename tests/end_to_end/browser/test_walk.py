"""The pages of `make walk`, the fallback if a machine fails."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from scripts import walk

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent.parent
RANGE = "plot => plot._fullLayout.xaxis.range.map(String)"


@pytest.mark.timeout(180)
def test_a_page_opens_from_disk_and_its_charts_zoom(page: Page, tmp_path: Path) -> None:
    """A page opens without a network, draws every chart and zooms, without any request."""
    file = tmp_path / "01.html"
    figures = walk.write(walk.run(ROOT / "notebooks" / "01-meet-the-readers.ipynb"), file)
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.context.set_offline(True)
    page.goto(file.as_uri())

    plots = page.locator(".js-plotly-plot:has(.main-svg)")
    expect(plots).to_have_count(figures)
    plot = page.locator(".js-plotly-plot:has(.nsewdrag)").first
    plot.scroll_into_view_if_needed()
    before = plot.evaluate(RANGE)
    place = plot.locator(".nsewdrag").first.bounding_box()
    assert place is not None
    y = place["y"] + place["height"] / 2
    page.mouse.move(place["x"] + place["width"] * 0.3, y)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] * 0.6, y, steps=5)
    page.mouse.up()
    page.wait_for_function(
        f"({RANGE})(document.querySelector('.js-plotly-plot:has(.nsewdrag)'))"
        f".join() !== {','.join(before)!r}"
    )
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
