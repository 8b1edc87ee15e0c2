"""The control room: readers, Kafka and OpenSearch on one screen, and the hands on them.

Callbacks only set a number or order a command; a thread of the name `hands` carries out what
was ordered, one after the other, and `pump` alone writes to what is seen.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any, Final

import ipywidgets as widgets
import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.charts.device_category import DeviceCategory
from clickstream.charts.event_types import EventTypes
from clickstream.charts.top_readers import TopReaders
from clickstream.charts.volume import Volume
from clickstream.demo.verbs import Demo
from clickstream.errors import ClickstreamError, Interrupted
from clickstream.simulation.scenarios import SCENARIOS
from clickstream.widgets import workers
from clickstream.widgets.live_chart import LiveChart
from clickstream.widgets.live_pipeline import GAUGE_S, Flow
from clickstream.widgets.reading import Reading

RATES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
MIXES: Final = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
_CONFIRM_S = 10.0
_TELL_AFTER_S = 3.0
_HEIGHTS: Final = {
    "arriving": "22vh",
    Volume.name: "22vh",
    EventTypes.name: "27vh",
    TopReaders.name: "27vh",
    DeviceCategory.name: "27vh",
}
"""The charts, in their order."""
_LEAST_WIDTH: Final = "250px"
"""Of a chart whose labels can still be read."""


class ControlRoom:
    """One screen: what the last expression of a cell shows. At rest it has no thread.

    Made once more, as by a cell that is run again, it replaces all that an earlier one started.

    Args:
        demo: whose topic and index.
        events_per_second: where the slider stands at first, one of `RATES`.

    Raises:
        ClickstreamError: a server did not answer.
    """

    def __init__(self, demo: Demo, *, events_per_second: int = 20) -> None:
        workers.end("hands", "pump")
        self.flow = Flow(demo, events_per_second=events_per_second)
        self._demo = demo
        self._lock = threading.Lock()
        self._commands: deque[Callable[[], str]] = deque()
        self._is_busy = False
        self._doing, self._said = "", "Press Start."
        self._since_s = 0.0
        self._watched = ""
        self._asked_s = -_CONFIRM_S
        self._strip, self._numbers, self._speed = (widgets.HTML() for _ in range(3))
        self._scenarios = {
            name: self._button(name, kind.what, partial(self._toggle, name))
            for name, kind in SCENARIOS.items()
        }
        self._charts = {name: LiveChart(height=height) for name, height in _HEIGHTS.items()}
        self._painted: dict[str, go.Figure] = {}
        self.widget = self._built(events_per_second)
        self._paint()
        # A page that is loaded anew asks the kernel for all widgets that it has.
        while _shown:
            _dispose(_shown.pop())
        _shown.append(self.widget)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    def _built(self, events_per_second: int) -> widgets.Widget:
        rate = widgets.SelectionSlider(
            options=[(f"{each:,} /s", each) for each in RATES],
            value=events_per_second,
            description="events",
            layout={"width": "270px", "margin": "0 0 0 16px"},
            style={"description_width": "initial"},
        )
        rate.observe(partial(self._turn, "events_per_second"), "value")
        mix = widgets.SelectionSlider(
            options=[(f"×{each:g}", each) for each in MIXES],
            value=1.0,
            description="reactions",
            layout={"width": "230px", "margin": "0 0 0 16px"},
            style={"description_width": "initial"},
        )
        mix.observe(partial(self._turn, "reactions"), "value")
        actions = [
            self._button("start", "Let readers act", self._start, "success"),
            self._button("stop", "End readers and consumer", self._stop, "warning"),
            self._button("reset", "Empty topic, index and charts", self._reset, "danger"),
        ]
        for control in (*actions, *self._scenarios.values(), rate, mix):
            # Beside the cell that runs, as the page asks. ipykernel 7.4 would hand a message to
            # the loop that last wrote to its widget: the first touch would wait for that cell.
            control.comm._reply_subshell_for = lambda data, asked: asked
        charts = list(self._charts.values())
        return widgets.VBox(
            [
                widgets.HBox([*actions, rate, self._speed, mix], layout=_ROW),
                widgets.HBox(list(self._scenarios.values()), layout=_ROW),
                self._strip,
                self._numbers,
                _side_by_side(charts[:2]),
                _side_by_side(charts[2:]),
            ]
        )

    def _button(
        self, name: str, tooltip: str, command: Callable[[], str], style: str = ""
    ) -> widgets.Button:
        button = widgets.Button(
            description=_title(name),
            tooltip=tooltip,
            button_style=style,
            layout={"width": "auto", "flex": "0 0 auto"},
        )
        button.on_click(lambda _: self._order(command))
        return button

    def _turn(self, what: str, change: Any) -> None:
        setattr(self.flow, what, change.new)
        self._order(lambda: self._said)  # so that it is seen at rest, too

    def _order(self, command: Callable[[], str]) -> None:
        """Have it carried out, after what was ordered before."""
        with self._lock:
            self._commands.append(command)
            if not self._is_busy:
                self._is_busy = True
                workers.start("hands", self._carry_out)

    def _carry_out(self, stop: threading.Event) -> None:
        if not workers.is_running("pump"):
            workers.start("pump", self._pump)
        while not stop.is_set() and (command := self._next()) is not None:
            self._since_s = time.monotonic()
            try:
                self._said = command()
            except Exception as error:  # whatever it is, the next button works
                self._said = str(error)
            finally:
                self._doing = ""

    def _next(self) -> Callable[[], str] | None:
        """Take the next command; without one, and without readers, come to rest."""
        with self._lock:
            if self._commands:
                return self._commands.popleft()
            try:
                if self.flow.is_at_rest:
                    workers.end("pump")
                    self._paint()
            finally:
                self._is_busy = False
            return None

    def start(self) -> str:
        """Do as the button does, and wait until it is done; say what came of it."""
        self._order(self._start)
        return self._done()

    def until(self, *, more: int, most_s: float = 15.0) -> Reading:
        """Wait until so many documents have come into the index, and say how much is where.

        Args:
            more: how many, counted from now.
            most_s: a cell must end; then it is said as it is.

        Raises:
            Interrupted: by the notebook's stop button; what runs goes on.
        """
        goal, ends_s = self.flow.read().indexed + more, time.monotonic() + most_s
        try:
            while (found := self.flow.read()).indexed < goal and time.monotonic() < ends_s:
                time.sleep(0.1)
        except KeyboardInterrupt as error:
            msg = "stopped waiting; what runs in the background goes on; run the cell again"
            raise Interrupted(msg) from error
        return found

    @property
    def charts(self) -> dict[str, go.Figure]:
        """The charts as OpenSearch answered last, at full size, by name."""
        return self.flow.charts

    def stop(self) -> str:
        """Do as the button does, and wait until all has ended; say what came of it."""
        self._order(self._stop)
        return self._done()

    def _done(self) -> str:
        while self._is_busy:
            time.sleep(0.02)
        return self._said

    def _start(self) -> str:
        self._doing = "starting …"
        self.flow.start()
        if self.flow.others:
            return (
                f"Readers act; {self.flow.others} more at work in group "
                f"{self._demo.settings.kafka.group_id} (another notebook, another terminal) "
                "index a part of it."
            )
        return "Readers act, and what they do is indexed."

    def _stop(self) -> str:
        self._doing = "stopping …"
        try:
            self.flow.stop()
        except ClickstreamError as error:
            return f"Stopped. The numbers are of before: {error}"
        return "Stopped. Start lets the same readers go on."

    def _reset(self) -> str:
        settings = self._demo.settings
        if settings.target != "local" and time.monotonic() - self._asked_s > _CONFIRM_S:
            self._asked_s = time.monotonic()
            return (
                f"Reset would empty topic {settings.kafka.topic} and index "
                f"{settings.opensearch.index} on {settings.kafka.bootstrap_servers}: press it "
                f"again within {_CONFIRM_S:.0f} s"
            )
        self._doing = "emptying topic and index …"
        self.flow.reset()
        return "Topic, dead letters and index are empty. Press Start."

    def _toggle(self, name: str) -> str:
        if not self.flow.is_running:
            return "Scenarios need readers: press Start first."
        if not self.flow.toggle(name):
            return f"{_title(name)} has ended."
        self._watched = name
        return f"{_title(name)}. Watch {SCENARIOS[name].watch}."

    def _pump(self, stop: threading.Event) -> None:
        for _ in workers.ticks(GAUGE_S, stop):
            try:
                self._paint()
            except Exception as error:  # whatever it is, the screen goes on
                self._strip.value = _line(f"{type(error).__name__}: {error}", is_trouble=True)

    def _paint(self) -> None:
        self._mind_what_ended()
        # What is said may be older than the numbers beside it, never newer: not "empty" over
        # what was there before.
        doing, said = self._doing, self._said
        waited_s = time.monotonic() - self._since_s
        doing += f" {waited_s:.0f} s" if doing and waited_s > _TELL_AFTER_S else ""
        reading = self.flow.read()
        self._numbers.value = _numbers(reading)
        self._strip.value = _line(
            doing or reading.trouble or said, is_trouble=bool(reading.trouble) and not doing
        )
        speed = self.flow.speed
        shown = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
        self._speed.value = f"<b style='{_SPEED}'>×{shown}</b>"
        for name, button in self._scenarios.items():
            button.button_style = "info" if name in self.flow.playing else ""
        for name, figure in {"arriving": self.flow.arrivals.figure(), **self.flow.charts}.items():
            if name in self._charts and figure is not self._painted.get(name):
                self._painted[name] = figure
                self._charts[name].show(theme.compact(figure))

    def _mind_what_ended(self) -> None:
        """Take back what a scenario was to be watched for, once it has ended by itself."""
        if self._watched and self.flow.is_running and self._watched not in self.flow.playing:
            if self._said.startswith(f"{_title(self._watched)}. "):
                self._said = f"{_title(self._watched)} has ended."
            self._watched = ""

    def close(self) -> None:
        """End all that runs, at once; what is shown stands still."""
        workers.end("hands", "pump")
        self.flow.close()


_shown: list[widgets.Widget] = []


def _title(name: str) -> str:
    return name.replace("-", " ").capitalize().replace("Ab test", "A/B test")


def _dispose(widget: widgets.Widget) -> None:
    for part in (*getattr(widget, "children", ()), getattr(widget, "style", None), widget.layout):
        if isinstance(part, widgets.DOMWidget):
            _dispose(part)
        elif part is not None:
            part.close()
    widget.close()


_IN_SECONDS_MS: Final = 10_000
_SHORT: Final = 90
"""Characters of a line beside a projector's 1280 pixels; a longer one is set smaller."""
_ROOMY: Final = 120.0
"""Hundredths of the row that the characters of all numbers share, each as high as its share."""
_SPEED: Final = "display:inline-block;min-width:44px;font-size:18px"
"""As wide for one digit as for three, so that what stands right of it does not move."""
_ROW: Final = {"align_items": "center", "flex_flow": "row wrap"}


def _side_by_side(charts: list[LiveChart]) -> widgets.Widget:
    """Divide the width evenly; in a narrow window one goes below the others."""
    columns = f"repeat(auto-fit, minmax(min(100%, {_LEAST_WIDTH}), 1fr))"
    return widgets.GridBox(charts, layout={"grid_template_columns": columns, "width": "100%"})


def _line(text: str, *, is_trouble: bool) -> str:
    colour = "#b3261e" if is_trouble else theme.INK
    size = 18 if len(text) <= _SHORT else 15
    style = f"font-size:{size}px;color:{colour};min-height:26px"
    return f"<div data-status-line style='{style}'>{escape(text)}</div>"


def _span(ms: float) -> str:
    return f"{ms:,.0f} ms" if ms < _IN_SECONDS_MS else f"{ms / 1000:,.0f} s"


def _numbers(reading: Reading) -> str:
    latency = "–" if reading.latency_ms is None else _span(reading.latency_ms)
    cells = [
        ("produced", f"{reading.produced:,}"),
        ("in Kafka", f"{reading.in_kafka:,}"),
        ("lag", f"{reading.lag:,}"),
        ("indexed", f"{reading.indexed:,}"),
        ("dead letters", f"{reading.dead_letters:,}"),
        ("per second", f"{reading.per_second:,.0f}"),
        ("Kafka to index", latency),
    ]
    # In hundredths of the row's own width: a file browser beside it takes a quarter of a window.
    width = min(3.4, _ROOMY / sum(len(value) for _, value in cells))
    number = f"font-size:clamp(12px,{width:.2f}cqw,30px);line-height:1.2;font-weight:700"
    label = "font-size:clamp(11px,1.6cqw,15px);line-height:1.3"
    cell = "border-top:3px solid #0072b2;padding:2px 6px;white-space:nowrap"
    shown = (
        f"<div style='{cell}'><div style='{number}' data-number='{name}'>{value}</div>"
        f"<div style='{label}'>{name}</div></div>"
        for name, value in cells
    )
    row = f"display:grid;grid-template-columns:repeat({len(cells)},auto);gap:0 8px"
    return (
        f"<div style='container-type:inline-size'><div style='{row}'>{''.join(shown)}</div></div>"
    )
