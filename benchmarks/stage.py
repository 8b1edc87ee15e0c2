"""`make bench-stage`: the control room before an audience, measured in a real Chromium.

Notebook 06 runs in a JupyterLab of its own under 1,000 events a second. Each row is what a
viewer would notice; `tests/end_to_end/browser` asserts the same at twice the bar.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import nbformat
import psutil
from playwright.sync_api import Locator, expect

from benchmarks import screen
from benchmarks.screen import Notebook
from clickstream.demo.demo import Demo
from clickstream.errors import ClickstreamError, shown
from clickstream.servers import local

NOTEBOOK = "06-live-control-room.ipynb"
ATTACH, ROOM, LAST = 0, 1, -1
"""Places of the code cells; the last is put there by `with_a_cell_more`."""
SLEEP = "import time; time.sleep(5)"
RATE = 1_000
CHARTS = ("volume", "event types", "device × category", "top users")
"""In their order on the screen."""
_PRODUCED = "[data-number='produced']"
_AGES_S = """(seconds) => new Promise((resolve) => {
  const { dataset } = document.querySelector('.clickstream-pipeline');
  const ages = [];
  const timer = setInterval(() => ages.push((Date.now() - dataset.countedMs) / 1000), 50);
  setTimeout(() => { clearInterval(timer); resolve(ages); }, seconds * 1000);
})"""
_FULL = """() => {
  const [line] = document.querySelector('.clickstream-live-chart')._fullData ?? [];
  const counts = [...(line?.y ?? [])];
  return counts.filter(Boolean).length / Math.max(100, counts.length);
}"""
LEAST_HZ = 3.8
MINUTES = 10
_ARROW_S = 0.02
_SENTENCE_MS = 4_000
_COST_S = 10.0


@dataclass(frozen=True)
class Seen:
    """One row."""

    name: str
    value: float
    bar: float
    at_least: bool = False

    def is_met(self, slack: float = 1) -> bool:
        """Whether it holds, at `slack` times the bar."""
        if self.at_least:
            return self.value >= self.bar / slack
        return self.value <= self.bar * slack

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        met = "met" if self.is_met() else "MISSED"
        return f"{self.name:<62} {self.value:>9.2f}  {sign} {self.bar:<6g} {met}"


class Room:
    """The control room on a page."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self.page = notebook.page
        self.output: Locator = notebook.panel.locator(".jp-CodeCell").nth(ROOM)

    def button(self, name: str) -> Locator:
        """Find a button by its label."""
        return self.output.get_by_role("button", name=name, exact=True)

    def choose(self, menu: str, name: str) -> None:
        """Open a menu of the room, and press one of its buttons."""
        self.button(menu).click()
        self.button(name).click()
        expect(self.button(name)).not_to_be_visible()

    def scenario(self, name: str) -> None:
        """Start a scenario, or end it."""
        self.choose("Scenario ▾", name)

    def changes_per_second(self, seconds: float) -> float:
        """Count how often the number of produced events changes."""
        return self.notebook.text_changes_per_second(_PRODUCED, seconds)

    def number(self, name: str) -> float:
        """Read one of the numbers; 0 where there is none yet."""
        text = self.output.locator(f"[data-number='{name}']").inner_text()
        return float(text.removesuffix(" ms").replace(",", "").replace("–", "0"))

    def status(self) -> str:
        """Read the status line."""
        return self.output.locator("[data-status-line]").inner_text()

    def until(self, condition: Callable[[], bool], timeout_s: float = 30) -> float:
        """Wait until the condition holds; return the seconds it took."""
        started_s = time.monotonic()
        while not condition():
            assert time.monotonic() - started_s < timeout_s, self.status()
            self.page.wait_for_timeout(20)
        return time.monotonic() - started_s

    def until_past_is_indexed(self) -> None:
        """Wait until the events that a new crowd sends first are in the index."""
        self.until(lambda: self.number("indexed") > 1_000 and self.number("lag") < 100)

    def choose_rate(self, label: str) -> None:
        """Move the slider, step by step, until it stands there."""
        handle = self.output.locator(".noUi-handle").first
        readout = self.output.locator(".widget-readout").first
        handle.focus()
        for key in ("Home", *["ArrowRight"] * 20):
            if readout.inner_text() == label:
                return
            handle.press(key)
            self.page.wait_for_timeout(1000 * _ARROW_S)
        expect(readout).to_have_text(label)


def with_a_cell_more(folder: Path, source: str) -> Path:
    """Copy the notebooks into a folder, notebook 06 with one more cell at its end."""
    shutil.copytree(screen.NOTEBOOKS, folder)
    notebook = nbformat.read(folder / NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(source))
    nbformat.write(notebook, folder / NOTEBOOK)
    return folder


def first_chart(notebook: Notebook) -> tuple[Room, Seen]:
    """Run the room's cell on a kernel that is warm, and wait for all charts."""
    notebook.run_cell(ATTACH)
    started_s = time.monotonic()
    notebook.start_cell(ROOM)
    notebook.until_drawn(len(CHARTS))
    return Room(notebook), Seen("first charts on a warm kernel, s", time.monotonic() - started_s, 3)


def start(room: Room, servers: str, bar_s: float) -> Seen:
    """Press Start on an empty index, and wait until 95 % of the volume chart's buckets are full.

    Before it, the room has the time to draw its crowd that a presenter needs to say a sentence.
    """
    room.page.wait_for_timeout(_SENTENCE_MS)
    room.button("Start").click()
    took_s = room.until(lambda: room.page.evaluate(_FULL) >= 0.95)
    return Seen(f"Start to full charts, {servers} servers, s", took_s, bar_s)


def begin(room: Room) -> None:
    """Start the readers, if they are not, at 1,000 events a second; wait until all of it moves."""
    if room.button("Start").is_visible():
        room.button("Start").click()
    room.choose_rate(f"{RATE:,} /s")
    room.until(lambda: room.number("per second") > 0.7 * RATE and room.number("indexed") > RATE)


def movement(room: Room, minutes: float) -> list[Seen]:
    """Count how often the numbers and the charts show something else."""
    before_mb = room.notebook.heap_mb()
    times = max(1, round(minutes * 5))
    rounds, numbers, ages_s = [], [], []
    for _ in range(times):
        rounds.append(room.notebook.changes_per_second(5.0))
        numbers.append(room.changes_per_second(5.0))
        ages_s += room.page.evaluate(_AGES_S, 2.0)
    grown_mb = room.notebook.heap_mb() - before_mb
    return [
        Seen("numbers, changes a second, median", median(numbers), LEAST_HZ, True),
        Seen("age of the numbers on the screen, s, median", median(ages_s), 0.5),
        *(
            Seen(f"{name}, changes a second, median", median(r[place] for r in rounds), 0.8, True)
            for place, name in enumerate(CHARTS)
        ),
        Seen(f"the tab grew in {minutes:g} minutes, MB", grown_mb, 20),
    ]


def busy(room: Room) -> Seen:
    """Count while a cell sleeps for five seconds."""
    room.notebook.start_cell(LAST)
    room.page.wait_for_timeout(500)
    found = room.changes_per_second(4)
    room.notebook.until_idle()
    return Seen("numbers while a cell runs, changes a second", found, 3, True)


def slider(room: Room, when: str = "") -> Seen:
    """Double the rate with one key, and wait until it is measured; the median of three times."""
    took_s = [_slide_s(room) for _ in range(3)]
    return Seen(f"slider to measured rate{when}, s, median", median(took_s), 1)


def _slide_s(room: Room) -> float:
    handle = room.output.locator(".noUi-handle").first
    room.until(lambda: 0.7 * RATE < room.number("per second") < 1.3 * RATE)
    handle.focus()
    started_s = time.monotonic()
    handle.press("ArrowRight")
    room.until(lambda: room.number("per second") > 1.5 * RATE)
    took_s = time.monotonic() - started_s
    handle.press("ArrowLeft")
    room.until(lambda: room.number("per second") < 1.3 * RATE)
    return took_s


def busy_slider(room: Room) -> Seen:
    """The same while a cell sleeps."""
    room.notebook.start_cell(LAST)
    took_s = _slide_s(room)
    room.notebook.until_idle()
    return Seen("slider to measured rate while a cell runs, s", took_s, 2)


def reruns(room: Room, times: int) -> list[Seen]:
    """Run the room's cell again and again; the newest room moves, and the tab stays small."""
    before_mb = room.notebook.heap_mb()
    for _ in range(times):
        room.notebook.run_cell(ROOM)
        room.notebook.until_drawn(len(CHARTS))
    grown_mb = room.notebook.heap_mb() - before_mb
    begin(room)
    return [
        Seen(f"the tab grew in {times} re-runs, MB", grown_mb, 10),
        Seen("after them, changes a second", room.changes_per_second(4), LEAST_HZ, True),
    ]


def own_clicks(room: Room, times: int) -> list[Seen]:
    """Log in, open articles and go back; the median time until a click is seen, and is searchable.

    It is seen when it was read back from Kafka.
    """
    room.button("Be a reader").click()
    reader = room.output.locator(".clickstream-reader")
    own = reader.locator("li")
    reader.get_by_label("name").fill("ada")
    reader.get_by_label("name").press("Enter")
    room.until(lambda: own.count() == 2)
    seen_s, searchable_s = [], []
    for number in range(times):
        reader.locator(".headlines button").nth(number).click()
        seen_s.append(room.until(lambda count=number + 3: own.count() == count))
        searchable_s.append(seen_s[-1] + room.until(lambda: "searchable" in own.first.inner_text()))
        reader.get_by_role("button", name="Back").click()
    reader.get_by_role("button", name="Log out").click()
    room.page.keyboard.press("Escape")
    return [
        Seen("own click to read back from Kafka, s, median", median(seen_s), 1),
        Seen("own click to searchable, s, median", median(searchable_s), 2.5),
    ]


def click_cell(room: Room) -> None:
    """Click on the first cell of the heatmap, which has three columns and five rows."""
    click_in(room.output.locator(".hm image"), 1 / 6, 1 / 10)


def click_in(drawn: Locator, across: float, down: float) -> None:
    """Click on a place in a part of a chart, which a new figure may replace at any time."""
    while (box := drawn.bounding_box()) is None:
        drawn.page.wait_for_timeout(20)
    drawn.page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])


def touch(room: Room, times: int) -> Seen:
    """Click on a cell of the heatmap, and wait until the pie has only page views of it."""
    title = room.output.get_by_text(re.compile(r"is \d+% of [\d,]+ events")).first
    chips = room.output.get_by_role("button", name=re.compile("^(section|device) .* ×$"))
    took_s = []
    for _ in range(times):
        room.until(lambda: chips.count() == 0)
        before = _number_in(title)
        click_cell(room)
        took_s.append(room.until(lambda most=before / 2: _number_in(title) < most))
        for _ in range(2):
            chips.first.click()
            room.page.wait_for_timeout(1_000)
    documents = f"at {_documents():,} documents"
    return Seen(f"touch to filtered charts {documents}, s, median", median(took_s), 0.5)


def _number_in(title: Locator) -> int:
    return int(re.sub(r".* of|\D", "", title.inner_text()))


def cost(room: Room) -> Seen:
    """Compare the indexed rate at 5,000 events per second with the page as it is and frozen.

    The median of three times each, in turn.
    """
    page = room.page.context.new_cdp_session(room.page)
    room.choose_rate("5,000 /s")
    room.until(lambda: room.number("per second") > 3_000)
    rates: dict[str, list[float]] = {"active": [], "frozen": []}
    for _ in range(3):
        for state, found in rates.items():
            page.send("Page.setWebLifecycleState", {"state": state})
            before, started_s = _documents(), time.monotonic()
            time.sleep(_COST_S)
            found.append((_documents() - before) / (time.monotonic() - started_s))
    page.send("Page.setWebLifecycleState", {"state": "active"})
    page.detach()
    room.choose_rate(f"{RATE:,} /s")
    moving, still = (median(found) for found in rates.values())
    print(f"  at 5,000 events/s: {moving:,.0f} documents/s, with a frozen page {still:,.0f}")
    return Seen("indexed rate at 5,000 events/s against a frozen page", moving / still, 0.9, True)


def _documents() -> int:
    return Demo(local.find()).documents()


def stop(room: Room) -> Seen:
    """Press Stop, and wait until the status line says so."""
    room.button("Stop").click()
    return Seen("Stop, s", room.until(lambda: room.status().startswith("Stopped")), 2)


def reset(room: Room) -> Seen:
    """Press Reset, and wait until the status line says so."""
    room.choose("⋯", "Reset")
    return Seen("Reset, s", room.until(lambda: "are empty" in room.status()), 10)


def reload(room: Room, times: int) -> Seen:
    """Load the page anew, and wait until the room moves again; the median of `times`.

    A single slow reload could be the machine's fault.
    """
    took_s = [_reload_s(room) for _ in range(times)]
    return Seen("reload to a room that moves, s, median", median(took_s), 6)


def _reload_s(room: Room) -> float:
    room.notebook.save()
    started_s = time.monotonic()
    took_s = []
    room.page.reload()
    room.notebook.until_idle()
    took_s.append(time.monotonic() - started_s)
    room.output.scroll_into_view_if_needed()  # what is far below is drawn when it is seen
    room.notebook.until_drawn(len(CHARTS))
    took_s.append(time.monotonic() - started_s)
    before = room.number("produced")
    room.until(lambda: room.number("produced") > before)
    took_s.append(time.monotonic() - started_s)
    print("  a reload: idle after {:.1f} s, drawn after {:.1f}, moves after {:.1f}".format(*took_s))
    return took_s[-1]


def memory_mb(pids: list[int]) -> Seen:
    """Add up what processes and all their children hold, but for the browser."""
    processes = {psutil.Process(pid) for pid in pids}
    processes |= {child for each in processes for child in each.children(recursive=True)}
    held = sum(map(_held_bytes, processes)) / 1e6
    return Seen("servers, JupyterLab and a kernel for every notebook, MB", held, 3_500)


def _held_bytes(process: psutil.Process) -> int:
    """Give what it holds in memory; what processes share counts once, where Linux says so.

    Nothing where it has just ended, or is the browser's.
    """
    try:
        found = process.memory_full_info()
        return 0 if "chrom" in process.name() else int(getattr(found, "pss", found.rss))
    except psutil.Error:
        return 0


def rows(address: str, executable: str) -> Iterator[Seen]:
    """Measure everything in one sitting."""
    with screen.window(executable, width=1600, height=900) as page:
        notebook = Notebook(page, address)
        room, first = first_chart(notebook)
        yield first
        yield start(room, "cold", 6)
        begin(room)
        yield from movement(room, MINUTES)
        yield busy(room)
        yield slider(room)
        yield busy_slider(room)
        yield from own_clicks(room, 5)
        yield cost(room)
        yield touch(room, 5)
        yield from reruns(room, 10)
        yield reload(room, 5)
        yield stop(room)
        yield reset(room)
        yield start(room, "warm", 3)
        yield stop(room)
        yield reset(room)
        yield Seen("errors in the console", len(notebook.errors), 0)
        yield Seen("requests to anybody else", len(notebook.requests), 0)
        for path in sorted(screen.NOTEBOOKS.glob("*.ipynb")):
            Notebook(page, address.replace(NOTEBOOK, path.name)).run_all(300)
        yield memory_mb([each.pid for each in local.status() if each.pid] + [os.getpid()])


def without_subshells(executable: str, folder: Path) -> Seen:
    """Steer the room in a JupyterLab that handles widgets in the kernel's main thread alone."""
    kernels = {
        "@jupyterlab/apputils-extension:kernels-settings": {"commsOverSubshells": "disabled"}
    }
    with (
        screen.lab(folder, NOTEBOOK, overrides=kernels) as address,
        screen.window(executable, width=1600, height=900) as page,
    ):
        room, _ = first_chart(Notebook(page, address))
        begin(room)
        found = slider(room, ", subshells off")
        stop(room)
        reset(room)
    return found


def main() -> None:
    """Print the rows as they come; the exit code says whether all bars are met."""
    executable = screen.chromium()
    if executable is None:
        sys.exit(
            "bench-stage: there is no Chromium here; on Debian and Ubuntu: apt install chromium"
        )
    missed = 0
    local.up()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        notebooks = with_a_cell_more(folder / "notebooks", SLEEP)
        with screen.lab(folder / "work", NOTEBOOK, notebooks=notebooks) as address:
            for row in rows(address, executable):
                print(row, flush=True)
                missed += not row.is_met()
        row = without_subshells(executable, folder / "other")
        print(row, flush=True)
        missed += not row.is_met()
    sys.exit(f"{missed} bars missed" if missed else 0)


if __name__ == "__main__":
    try:
        main()
    except ClickstreamError as error:
        sys.exit(f"bench-stage: {shown(error)}")
