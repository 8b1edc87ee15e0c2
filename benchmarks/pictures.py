"""`make pictures`: the README's pictures, taken from the running kit in a real Chromium.

Every notebook runs top to bottom; its key chart is what is taken. Of the control room it is
the whole room, under traffic, with a scenario playing.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Page

from benchmarks import screen, stage
from clickstream.errors import ClickstreamError, shown
from clickstream.servers import local

PICTURES: Final = Path(__file__).parent.parent / "pictures"
CHARTS: Final = {
    "01-meet-the-readers.ipynb": 8,
    "04-index-documents.ipynb": 4,
    "05-ask-questions.ipynb": 4,
    "07-when-things-break.ipynb": 23,
}
"""The key chart of a notebook: the place of its code cell."""
_RUN_ALL_S: Final = 300.0
_LIVE_MS: Final = 45_000
_SETTLED_MS: Final = 2_000


def chart(page: Page, address: str, name: str, place: int) -> None:
    """Run a notebook, and take what one of its cells shows."""
    notebook = screen.Notebook(page, address.replace(stage.NOTEBOOK, name))
    notebook.run_all(_RUN_ALL_S)
    shown = notebook.panel.locator(".jp-CodeCell").nth(place).locator(".js-plotly-plot").first
    shown.scroll_into_view_if_needed()
    page.wait_for_timeout(_SETTLED_MS)
    shown.screenshot(path=PICTURES / f"{Path(name).stem}.png")


def room(page: Page, address: str) -> None:
    """Let the room run for a while at two speeds, and take it."""
    seen, _ = stage.first_chart(screen.Notebook(page, address))
    seen.button("Start").click()
    seen.choose_rate("100 /s")
    page.wait_for_timeout(_LIVE_MS)
    seen.choose_rate("200 /s")
    seen.scenario("Breaking news")
    page.wait_for_timeout(_LIVE_MS)
    seen.output.locator(".jp-OutputArea-output").first.screenshot(
        path=PICTURES / f"{Path(stage.NOTEBOOK).stem}.png"
    )
    seen.button("Stop").click()
    seen.until(lambda: seen.status().startswith("Stopped"))


def main() -> None:
    """Take them all, and name their files."""
    executable = screen.chromium()
    if executable is None:
        sys.exit("pictures: there is no Chromium here; on Debian and Ubuntu: apt install chromium")
    PICTURES.mkdir(exist_ok=True)
    local.up()
    with (
        tempfile.TemporaryDirectory() as folder,
        screen.lab(Path(folder) / "work", stage.NOTEBOOK) as address,
        screen.window(executable, width=1440, height=900) as page,
    ):
        room(page, address)
        for name, place in CHARTS.items():
            chart(page, address, name, place)
    for path in sorted(PICTURES.glob("*.png")):
        print(f"{path.relative_to(PICTURES.parent)}  {path.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    try:
        main()
    except ClickstreamError as error:
        sys.exit(f"pictures: {shown(error)}")
