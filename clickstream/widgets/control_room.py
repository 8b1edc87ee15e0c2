"""The control room: readers, Kafka and OpenSearch on one screen, with buttons and sliders.

A widget's callback never waits for a server: it sets a number or queues a command. The worker
`commands` runs queued commands one by one. While anything runs, only the worker `painter` writes to
the widgets.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any, Final, NamedTuple

import ipywidgets as widgets
import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.charts.ab_test import AbTest
from clickstream.charts.device_category import DeviceCategory
from clickstream.charts.event_types import EventTypes
from clickstream.charts.top_readers import TopReaders
from clickstream.charts.volume import Volume
from clickstream.demo.demo import Demo
from clickstream.errors import ClickstreamError, ConfigError, shown
from clickstream.simulation.scenarios import SCENARIOS
from clickstream.widgets import workers
from clickstream.widgets.in_sight import InSight
from clickstream.widgets.live_chart import LiveChart
from clickstream.widgets.live_pipeline import OFFSETS_EVERY_S, LivePipeline, Snapshot

RATES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
MIXES: Final = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
_CONFIRM_S = 10.0
_SHOW_SECONDS_AFTER_S = 3.0
_HEIGHTS: Final = {
    "arriving": "22vh",
    Volume.name: "22vh",
    EventTypes.name: "27vh",
    TopReaders.name: "27vh",
    AbTest.name: "27vh",
    DeviceCategory.name: "27vh",
}
"""The charts, in display order; that of an A/B test takes the place of the top readers."""
_FIRST_ROW: Final = 2
_LEAST_WIDTH: Final = "250px"
"""The smallest width of a chart with readable labels."""

_COMMANDS: Final = "commands"
_PAINTER: Final = "painter"


class _Result(NamedTuple):
    """The result of the latest command."""

    text: str
    scenario: str = ""
    """The scenario that the text describes; the text is valid while it runs."""


_Command = Callable[[], _Result]


class ControlRoom:
    """One screen, shown as the last expression of a cell. When idle it has no thread.

    A new one ends everything an earlier one started, for example when its cell is run again.

    Args:
        demo: provides the topic and the index.
        events_per_second: the initial value of the slider, one of `RATES`.
        paint_every_s: seconds between two updates of the screen.

    Raises:
        ConfigError: no such position of the slider.
        ClickstreamError: a server did not answer.
    """

    def __init__(
        self,
        demo: Demo,
        *,
        events_per_second: int = 20,
        paint_every_s: float = OFFSETS_EVERY_S,
    ) -> None:
        if events_per_second not in RATES:
            rates = ", ".join(map(str, RATES))
            msg = f"a control room with {events_per_second!r} events/s: it must be one of {rates}"
            raise ConfigError(msg)
        workers.end(_COMMANDS, _PAINTER)
        self.pipeline = LivePipeline(demo, events_per_second=events_per_second)
        self._demo = demo
        self._paint_every_s = paint_every_s
        self._lock = threading.Lock()
        self._commands: deque[_Command] = deque()
        self._is_busy = False
        self._result = _Result("Press Start.")
        self._doing = ""
        """Describes a longer command while it runs; otherwise empty."""
        self._command_began_s = 0.0
        self._reset_asked_s = -_CONFIRM_S
        self._status, self._numbers, self._speed = (widgets.HTML() for _ in range(3))
        self._scenarios = {
            name: self._button(kind.title, kind.what, partial(self._toggle, name))
            for name, kind in SCENARIOS.items()
        }
        self._in_sight = InSight()
        self._charts = {name: LiveChart(height=height) for name, height in _HEIGHTS.items()}
        self._painted: dict[str, go.Figure] = {}
        self.widget = self._build(events_per_second)
        self._paint()
        # A reloaded page requests all widgets from the kernel.
        while _shown:
            _dispose(_shown.pop())
        _shown.append(self.widget)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    def _build(self, events_per_second: int) -> widgets.Widget:
        rates = [(f"{each:,} /s", each) for each in RATES]
        rate = _slider("events", rates, value=events_per_second, width="270px")
        rate.observe(partial(self._set, "events_per_second"), "value")
        mixes = [(f"×{each:g}", each) for each in MIXES]
        mix = _slider("reactions", mixes, value=1.0, width="230px")
        mix.observe(partial(self._set, "reactions"), "value")
        actions = [
            self._button("Start", "Start readers and consumer", self._start, "success"),
            self._button("Stop", "Stop readers and consumer", self._stop, "warning"),
            self._button("Reset", "Empty topic, index and charts", self._reset, "danger"),
        ]
        for control in (*actions, *self._scenarios.values(), rate, mix):
            # Handled in parallel with the running cell, as the page requests. ipykernel 7.4 would
            # pass it to the loop that last wrote to the widget: the first click would then wait
            # for that cell.
            control.comm._reply_subshell_for = lambda data, asked: asked
        charts = list(self._charts.values())
        return widgets.VBox(
            [
                widgets.HBox([*actions, rate, self._speed, mix], layout=_ROW),
                widgets.HBox(list(self._scenarios.values()), layout=_ROW),
                self._status,
                self._numbers,
                _side_by_side(charts[:_FIRST_ROW]),
                _side_by_side(charts[_FIRST_ROW:]),
                self._in_sight,
            ]
        )

    def _button(
        self, title: str, tooltip: str, command: _Command, style: str = ""
    ) -> widgets.Button:
        button = widgets.Button(
            description=title,
            tooltip=tooltip,
            button_style=style,
            layout={"width": "auto", "flex": "0 0 auto"},
        )
        button.on_click(lambda _: self._queue(command))
        return button

    def _set(self, what: str, change: Any) -> None:
        setattr(self.pipeline, what, change.new)
        self._queue(lambda: self._result)  # so that the idle room is painted, too

    def _queue(self, command: _Command) -> None:
        """Queue a command behind earlier ones."""
        with self._lock:
            self._commands.append(command)
            if not self._is_busy:
                self._is_busy = True
                workers.start(_COMMANDS, self._run_commands)

    def _run_commands(self, stop: threading.Event) -> None:
        if not workers.is_running(_PAINTER):
            workers.start(_PAINTER, self._keep_painting)
        while not stop.is_set() and (command := self._next()) is not None:
            self._command_began_s = time.monotonic()
            try:
                self._result = command()
            except Exception as error:  # whatever it is, the next button works
                self._result = _Result(self.pipeline.explain(error))
            finally:
                self._doing = ""

    def _next(self) -> _Command | None:
        """Take the next command; without commands and readers, end the workers."""
        with self._lock:
            if self._commands:
                return self._commands.popleft()
            try:
                if self.pipeline.is_at_rest:
                    workers.end(_PAINTER)
                    self._paint()
            finally:
                self._is_busy = False
            return None

    def start(self) -> str:
        """Do the same as the button, wait until it is done, and return the result.

        The room scrolls into sight.
        """
        said = self._queue_and_wait(self._start)
        self._in_sight.scroll()
        return said

    def until(self, *, more: int, most_s: float = 15.0) -> Snapshot:
        """Wait until the index has `more` new documents, and return the current counts.

        Args:
            more: the number of documents, counted from now.
            most_s: the longest wait, because a cell must end.

        Raises:
            Interrupted: the notebook's stop button; background work continues.
        """
        goal, ends_s = self.pipeline.snapshot().indexed + more, time.monotonic() + most_s
        with workers.interruptible("waiting"):
            while (found := self.pipeline.snapshot()).indexed < goal and time.monotonic() < ends_s:
                time.sleep(0.1)
        return found

    @property
    def charts(self) -> dict[str, go.Figure]:
        """The charts of OpenSearch's latest answer, at full size, by name."""
        return self.pipeline.charts

    def stop(self) -> str:
        """Do the same as the button, wait until everything has ended, and return the result."""
        return self._queue_and_wait(self._stop)

    def _queue_and_wait(self, command: _Command) -> str:
        self._queue(command)
        while self._is_busy:
            time.sleep(0.02)
        return self._result.text

    def _start(self) -> _Result:
        self._doing = "starting …"
        self.pipeline.start()
        if others := self.pipeline.other_consumers:
            return _Result(
                f"Running. {others} more in group {self._demo.settings.kafka.group_id} (another "
                "notebook, another terminal) index some of the events."
            )
        return _Result("Running: the readers' events are being indexed.")

    def _stop(self) -> _Result:
        self._doing = "stopping …"
        try:
            self.pipeline.stop()
        except ClickstreamError as error:
            return _Result(f"Stopped. {self.pipeline.explain(error)}")
        return _Result("Stopped. Start continues with the same readers.")

    def _reset(self) -> _Result:
        settings = self._demo.settings
        if settings.is_hosted and time.monotonic() - self._reset_asked_s > _CONFIRM_S:
            self._reset_asked_s = time.monotonic()
            return _Result(
                f"Reset would empty topic {settings.kafka.topic} and index "
                f"{settings.opensearch.index} on {settings.kafka.bootstrap_servers}: press it "
                f"again within {_CONFIRM_S:.0f} s"
            )
        self._doing = "emptying topic and index …"
        self.pipeline.reset()
        return _Result("Topic, dead letters and index are empty. Press Start.")

    def _toggle(self, name: str) -> _Result:
        if not self.pipeline.is_running:
            return _Result("Scenarios need readers: press Start first.")
        if not self.pipeline.toggle(name):
            return _Result(f"{SCENARIOS[name].title} has ended.")
        return _Result(f"{SCENARIOS[name].title}. Watch {SCENARIOS[name].watch}.", scenario=name)

    def _keep_painting(self, stop: threading.Event) -> None:
        for _ in workers.ticks(self._paint_every_s, stop):
            try:
                self._paint()
            except Exception as error:  # whatever it is, the screen goes on
                text = f"{type(error).__name__}: {shown(error)}"
                self._status.value = _line(text, is_trouble=True)

    def _paint(self) -> None:
        # Read the status first: it may be older than the numbers beside it, but never newer, or
        # it could say "empty" above old numbers.
        doing, result = self._progress(), self._current_result()
        snapshot = self.pipeline.snapshot()
        self._numbers.value = _numbers(snapshot)
        is_trouble = bool(snapshot.trouble) and not doing
        self._status.value = _line(doing or snapshot.trouble or result, is_trouble=is_trouble)
        speed = self.pipeline.speed
        rounded = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
        self._speed.value = f"<b style='{_SPEED}'>×{rounded}</b>"
        playing = self.pipeline.playing
        for name, button in self._scenarios.items():
            button.button_style = "info" if name in playing else ""
        figures = {"arriving": self.pipeline.arrivals.figure(), **self.pipeline.charts}
        for name, figure in figures.items():
            if name in self._charts and figure is not self._painted.get(name):
                self._painted[name] = figure
                self._charts[name].show(theme.compact(figure))
        for name, is_shown in (
            (AbTest.name, AbTest.name in figures),
            (TopReaders.name, AbTest.name not in figures),
        ):
            self._charts[name].layout.display = None if is_shown else "none"

    def _progress(self) -> str:
        doing = self._doing
        waited_s = time.monotonic() - self._command_began_s
        return f"{doing} {waited_s:.0f} s" if doing and waited_s > _SHOW_SECONDS_AFTER_S else doing

    def _current_result(self) -> str:
        """Return the latest result, or say that its scenario has ended by itself."""
        text, scenario = self._result
        if scenario and self.pipeline.is_running and scenario not in self.pipeline.playing:
            return f"{SCENARIOS[scenario].title} has ended."
        return text

    def close(self) -> None:
        """End everything at once; the screen no longer updates."""
        workers.end(_COMMANDS, _PAINTER)
        self.pipeline.close()


_shown: list[widgets.Widget] = []


def _dispose(widget: widgets.Widget) -> None:
    for part in (*getattr(widget, "children", ()), getattr(widget, "style", None), widget.layout):
        if isinstance(part, widgets.DOMWidget):
            _dispose(part)
        elif part is not None:
            part.close()
    widget.close()


_IN_SECONDS_MS: Final = 10_000
_SHORT: Final = 90
"""Characters of a line that fit on a 1280-pixel projector; longer lines get smaller text."""
_ROOMY: Final = 100.0
"""Hundredths of the row width shared by the characters of all numbers; sets their height."""
_SPEED: Final = "display:inline-block;min-width:44px;font-size:18px"
"""The same width for one digit and for three, so that the text on the right does not move."""
_ROW: Final = {"align_items": "center", "flex_flow": "row wrap"}


_OF_THE_INDEX: Final = frozenset({"indexed", "repeats", "Kafka to index"})
_GREY: Final = ";opacity:0.4"


def _slider(
    title: str, options: list[tuple[str, Any]], *, value: float, width: str
) -> widgets.SelectionSlider:
    return widgets.SelectionSlider(
        options=options,
        value=value,
        description=title,
        layout={"width": width, "margin": "0 0 0 16px"},
        style={"description_width": "initial"},
    )


def _side_by_side(charts: list[LiveChart]) -> widgets.Widget:
    """Divide the width evenly; in a narrow window charts wrap to the next line."""
    columns = f"repeat(auto-fit, minmax(min(100%, {_LEAST_WIDTH}), 1fr))"
    return widgets.GridBox(charts, layout={"grid_template_columns": columns, "width": "100%"})


def _line(text: str, *, is_trouble: bool) -> str:
    colour = "var(--jp-error-color1)" if is_trouble else "inherit"
    size = 18 if len(text) <= _SHORT else 15
    style = f"font-size:{size}px;color:{colour};min-height:26px"
    return f"<div data-status-line style='{style}'>{escape(text)}</div>"


def _duration(ms: float) -> str:
    return f"{ms:,.0f} ms" if ms < _IN_SECONDS_MS else f"{ms / 1000:,.0f} s"


def _numbers(snapshot: Snapshot) -> str:
    latency = "–" if snapshot.latency_ms is None else _duration(snapshot.latency_ms)
    cells = [
        ("produced", f"{snapshot.produced:,}"),
        ("in Kafka", f"{snapshot.in_kafka:,}"),
        ("lag", f"{snapshot.lag:,}"),
        ("indexed", f"{snapshot.indexed:,}"),
        ("repeats", f"{snapshot.repeats:,}"),
        ("dead letters", f"{snapshot.dead_letters:,}"),
        ("per second", f"{snapshot.per_second:,.0f}"),
        ("Kafka to index", latency),
    ]
    # Without Kafka nothing is counted; without OpenSearch, only the index stands still.
    age_s = max(snapshot.kafka_age_s, snapshot.opensearch_age_s)
    stale = {name for name, _ in cells} if snapshot.kafka_age_s else _OF_THE_INDEX if age_s else ()
    age = f" · grey numbers are {age_s:,.0f} s old" if age_s else ""
    # In hundredths of the row's width, because a file browser may take a quarter of the window.
    width = min(3.4, _ROOMY / sum(len(value) for _, value in cells))
    number = f"font-size:clamp(12px,{width:.2f}cqw,30px);line-height:1.2;font-weight:700"
    label = "font-size:clamp(11px,1.6cqw,15px);line-height:1.3"
    cell = "flex:auto;border-top:3px solid #0072b2;padding:2px 6px;white-space:nowrap"
    shown = (
        f"<div style='{cell}{_GREY * (name in stale)}'>"
        f"<div style='{number}' data-number='{name}'>{value}</div>"
        f"<div style='{label}'>{name}</div></div>"
        for name, value in cells
    )
    row = "display:flex;flex-wrap:wrap;gap:0 8px"
    return (
        f"<div style='container-type:inline-size'><div style='{row}'>{''.join(shown)}</div>"
        f"<div style='{label}' data-sources>in Kafka: {snapshot.there_before:,} there before + "
        f"{snapshot.of_these_produced:,} produced here + {snapshot.by_others:,} by others{age}"
        "</div></div>"
    )
