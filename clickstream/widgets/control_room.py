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
from dataclasses import replace
from functools import partial
from html import escape
from typing import Any, Final, NamedTuple

import ipywidgets as widgets
import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.charts.ab_test import AbTest
from clickstream.charts.chart import Point
from clickstream.charts.device_category import DeviceCategory
from clickstream.charts.event_types import EventTypes
from clickstream.charts.top_readers import TopReaders
from clickstream.charts.volume import Volume
from clickstream.demo.demo import Demo
from clickstream.errors import ClickstreamError, ConfigError, shown
from clickstream.simulation.scenarios import SCENARIOS
from clickstream.widgets import break_it, room_frame, room_reader, workers
from clickstream.widgets.break_it import BreakIt
from clickstream.widgets.break_it_view import BreakItView
from clickstream.widgets.drawer import Drawer
from clickstream.widgets.filter_buttons import FilterButtons
from clickstream.widgets.latest import ReadNow, Tail
from clickstream.widgets.live_chart import LiveChart
from clickstream.widgets.live_pipeline import (
    BUCKETS_S,
    OFFSETS_EVERY_S,
    WINDOW_MINUTES,
    LivePipeline,
    Snapshot,
)
from clickstream.widgets.pipeline_view import PipelineView
from clickstream.widgets.reader_sessions import sessions
from clickstream.widgets.room_frame import RoomFrame, handle_at_once
from clickstream.widgets.room_reader import RoomReader
from clickstream.widgets.station import html, look

RATES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
MIXES: Final = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0)
_CONFIRM_S = 10.0
_SHOW_SECONDS_AFTER_S = 3.0
_SAY_FIRST_S = 5.0
"""A result is shown for so long before the effect of a scenario may take its place."""
_ROWS: Final = (
    {Volume.name: 8},
    {EventTypes.name: 3, DeviceCategory.name: 3, TopReaders.name: 3, AbTest.name: 3},
)
"""The rows of charts, each with its columns of twelve; what happens now, in words, has the rest.
The chart of an A/B test takes the place of the top readers."""
_FIRST_CHARTS: Final = 4
"""The row of the grid with the first charts."""
_SHORT: Final = 90
"""Characters of a line that fit on a 1280-pixel projector; longer lines get smaller text."""
_SPEED: Final = "display:inline-block;min-width:44px;font-size:18px"
"""The same width for one digit and for three, so that the text on the right does not move."""

_FULL_SCREEN: Final = (
    "Full screen, and back with Esc. There, the space bar is Start and Stop, 1 to 7 are the "
    "scenarios, and r is the reader"
)

_COMMANDS: Final = "commands"
_PAINTER: Final = "painter"
_CROWD: Final = "crowd"
_LOOK_S: Final = 4.0
_PREPARE_AFTER_S: Final = 2.0
"""First the page needs the kernel, to draw the room."""


class _Result(NamedTuple):
    """The result of the latest command."""

    text: str
    scenario: str = ""
    """The scenario that the text describes; the text is valid while it runs."""
    is_start: bool = False
    """Whether the readers began; then the events of their past are told."""
    said_s: float = 0.0
    """When, by the monotonic clock."""

    @property
    def gives_way(self) -> bool:
        """Whether the effect of a scenario may take its place; a question stays."""
        was_shown = time.monotonic() - self.said_s > _SAY_FIRST_S
        return was_shown and (bool(self.scenario) or self.is_start)


_Command = Callable[[], _Result | None]
"""Returns what the status line says from now on; None to leave it."""


class ControlRoom:
    """One screen, shown as the last expression of a cell.

    When idle it has no thread, but for its first seconds, in which it draws the crowd. A new one
    ends everything an earlier one started, for example when its cell is run again.

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
        workers.end(_COMMANDS, _PAINTER, _CROWD)
        break_it.end_all()
        self.pipeline = LivePipeline(demo, events_per_second=events_per_second)
        self._demo = demo
        self._impatient = _impatient(demo)
        self._paint_every_s = paint_every_s
        self._lock = threading.Lock()
        self._commands: deque[_Command] = deque()
        self._is_busy = False
        self._result = _Result("Press Start.")
        self._doing = ""
        """Describes a longer command while it runs; otherwise empty."""
        self._command_began_s = 0.0
        self._reset_asked_s = -_CONFIRM_S
        self._status, self._speed = widgets.HTML(), widgets.HTML()
        self._status.add_class("clickstream-status")
        self._filters = FilterButtons(self._remove_filter)
        self._pipeline_view = PipelineView()
        self._asked_station: tuple[str, int | None] | None = None
        """The station that was clicked on last, and is not shown yet."""
        self._pipeline_view.on_station(self._ask_to_look)
        handle_at_once(self._pipeline_view)
        self._station = widgets.HTML()
        self._reader = RoomReader(self._impatient, self.pipeline, self._queue)
        handle_at_once(self._reader.view)
        self._broken = BreakIt(self._impatient, self.pipeline, self._paint_once)
        self._break_it_view = BreakItView(self._broken, self._queue)
        self._drawer = Drawer((self._station, self._reader.view, self._break_it_view.drawer))
        self._start_stop = self._make_start_stop()
        self._scenarios = {
            name: self._button(kind.title, kind.what, partial(self._toggle, name))
            for name, kind in SCENARIOS.items()
        }
        self._frame = RoomFrame()
        self._frame.on_escape(self._drawer.close)
        handle_at_once(self._frame)
        self._charts = {
            name: self._make_chart(name, columns) for row in _ROWS for name, columns in row.items()
        }
        self._tail, self._read_now = Tail(), ReadNow()
        self._painted: dict[str, go.Figure] = {}
        self.widget = self._build(events_per_second)
        self._paint()
        # A reloaded page requests all widgets from the kernel.
        while _shown:
            _dispose(_shown.pop())
        _shown.append(self.widget)
        self._prepare(_PREPARE_AFTER_S)

    def _prepare(self, after_s: float) -> None:
        def prepare(stop: threading.Event) -> None:
            if not stop.wait(after_s):
                self.pipeline.prepare()

        workers.start(_CROWD, prepare)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.widget._repr_mimebundle_(**options)

    def _make_start_stop(self) -> widgets.Button:
        made = widgets.Button(description="Start", tooltip="Start or stop readers and consumer")
        # What the button said when it was clicked: a double click must not stop again.
        made.on_click(
            lambda button: self._queue(self._stop if button.description == "Stop" else self._start)
        )
        handle_at_once(made)
        return made.add_class("clickstream-start-stop")

    def _make_chart(self, name: str, columns: int) -> LiveChart:
        made = LiveChart(height="100%")
        made.add_class(f"clickstream-span-{columns}")
        made.on_point(lambda point: self._queue(partial(self._touch, name, point)))
        handle_at_once(made)
        return made

    def _build(self, events_per_second: int) -> widgets.Widget:
        self._tail.widget.add_class("clickstream-span-4")
        self._read_now.widget.add_class("clickstream-span-3")
        rows = [
            widgets.GridBox([*(self._charts[name] for name in row), latest])
            .add_class("clickstream-charts")
            .add_class(f"clickstream-row-{number}")
            for number, (row, latest) in enumerate(
                zip(_ROWS, (self._tail.widget, self._read_now.widget), strict=True), _FIRST_CHARTS
            )
        ]
        line = [self._status, *self._filters.buttons.values(), self._break_it_view.badge]
        grid = [
            *(widgets.HBox(each) for each in (self._build_controls(events_per_second), line)),
            *(self._pipeline_view, *rows, self._drawer.widget),
        ]
        for row in grid[:2]:
            row.add_class("clickstream-room-row")
        inner = widgets.VBox(grid).add_class("clickstream-room-grid")
        return widgets.VBox([inner, self._frame]).add_class(room_frame.ROOM)

    def _build_controls(self, events_per_second: int) -> list[widgets.Widget]:
        rates = [(f"{each:,} /s", each) for each in RATES]
        rate = _slider("events", rates, value=events_per_second, width="270px")
        rate.observe(partial(self._set, "events_per_second"), "value")
        mixes = [(f"×{each:g}", each) for each in MIXES]
        mix = _slider("reactions", mixes, value=1.0, width="240px")
        mix.observe(partial(self._set, "reactions"), "value")
        minutes = widgets.ToggleButtons(
            options=[(f"{each} min", each) for each in BUCKETS_S],
            value=WINDOW_MINUTES,
            tooltips=[f"Charts show the latest {each} min" for each in BUCKETS_S],
            style={"button_width": "auto"},
        )
        minutes.observe(self._set_window, "value")
        reader = self._button("Be a reader", "Log in and read the news", self._be_a_reader)
        reader.add_class("clickstream-be-a-reader")
        actions = [
            self._button("Start over", "Reset, then Start", self._start_over),
            self._button("Reset", "Empty topic, index and charts", self._reset, "danger"),
        ]
        if not self._demo.settings.is_hosted:
            broken = "Stop OpenSearch, kill a consumer, send invalid messages"
            actions.append(self._button("Break it", broken, self._open_break_it))
        for control in (*self._break_it_view.buttons, rate, mix, minutes):
            handle_at_once(control)
        scenarios = list(self._scenarios.values())
        for control in scenarios:
            control.add_class("clickstream-scenario")
        full_screen = widgets.Button(icon="expand", tooltip=_FULL_SCREEN)
        full_screen.add_class("clickstream-full-screen")
        more = _menu("⋯", "More", actions).add_class("clickstream-at-the-right")
        return [
            *(self._start_stop, rate, self._speed),
            _menu("Scenario ▾", "What happens on the site", [*scenarios, mix]),
            *(widgets.HTML().add_class("clickstream-spacer"), minutes, reader, full_screen, more),
        ]

    def _button(
        self, title: str, tooltip: str, command: _Command, style: str = ""
    ) -> widgets.Button:
        button = widgets.Button(description=title, tooltip=tooltip, button_style=style)
        button.on_click(lambda _: self._queue(command))
        handle_at_once(button)
        return button

    def _set(self, what: str, change: Any) -> None:
        setattr(self.pipeline, what, change.new)
        self._paint_once()

    def _paint_once(self) -> None:
        """Paint the idle room, too."""
        self._queue(lambda: None)

    def _set_window(self, change: Any) -> None:
        self.pipeline.window_minutes = change.new
        self._queue(self.pipeline.redraw)

    def _touch(self, name: str, point: Point) -> None:
        """Filter by what was clicked on; a second click takes the filter back."""
        answer, only = self.pipeline.answer, self.pipeline.only
        if answer is None or not (touched := answer.touched(name, point)):
            return
        if touched.items() <= only.items():
            self.pipeline.filter({key: v for key, v in only.items() if key not in touched})
            return
        self.pipeline.filter({**only, **touched})
        if user_id := touched.get("user_id"):
            since, until = answer.since, answer.until
            self._station.value = html(*sessions(self._impatient, user_id, since, until))
            self._drawer.open(self._station)

    def _remove_filter(self, field: str) -> None:
        def remove() -> None:
            self.pipeline.filter({key: v for key, v in self.pipeline.only.items() if key != field})

        self._queue(remove)

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
                if (result := command()) is not None:
                    self._result = result._replace(said_s=time.monotonic())
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
        self._frame.scroll()
        return said

    def until(self, *, more: int, most_s: float = 15.0) -> Snapshot:
        """Wait until the index has `more` new documents, and return the current counts.

        Args:
            more: the number of documents, counted from now, or from the end of the past that a new
                crowd sends first.
            most_s: the longest wait, because a cell must end.

        Raises:
            Interrupted: the notebook's stop button; background work continues.
        """
        ends_s = time.monotonic() + most_s
        with workers.interruptible("waiting"):
            while self.pipeline.is_reading_past and time.monotonic() < ends_s:
                time.sleep(0.1)
            goal = self.pipeline.snapshot().indexed + more
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
        self._broken.watch()
        if others := self.pipeline.other_consumers:
            return _Result(
                f"Running. {others} more in group {self._demo.settings.kafka.group_id} (another "
                "notebook, another terminal) index some of the events.",
                is_start=True,
            )
        return _Result("Running: the readers' events are being indexed.", is_start=True)

    def _stop(self) -> _Result:
        self._doing = "stopping …"
        # Until then the added consumer helps to read the rest.
        also = ", and the added consumer with it" if self._broken.has_consumer else ""
        try:
            self.pipeline.stop()
            if self._broken.end_consumer():
                self.pipeline.refresh()
        except ClickstreamError as error:
            self._broken.end_consumer()
            return _Result(f"Stopped{also}. {self.pipeline.explain(error)}")
        return _Result(f"Stopped{also}. Start continues with the same readers.")

    def _reset(self) -> _Result:
        if question := self._ask_to_confirm():
            return question
        self._empty()
        return _Result("Topic, dead letters and index are empty. Press Start.")

    def _start_over(self) -> _Result:
        if question := self._ask_to_confirm():
            return question
        self._empty()
        return self._start()

    def _ask_to_confirm(self) -> _Result | None:
        """On a hosted target, ask for a second press, shortly after the first one."""
        settings, now_s = self._demo.settings, time.monotonic()
        if not settings.is_hosted or now_s - self._reset_asked_s <= _CONFIRM_S:
            return None
        self._reset_asked_s = now_s
        return _Result(
            f"This would empty topic {settings.kafka.topic} and index "
            f"{settings.opensearch.index} on {settings.kafka.bootstrap_servers}: press it "
            f"again within {_CONFIRM_S:.0f} s"
        )

    def _empty(self) -> None:
        self._doing = "emptying topic and index …"
        self._reader.forget()
        self._broken.forget()
        self.pipeline.reset()
        self._prepare(0)

    def _ask_to_look(self, station: str, partition: int | None) -> None:
        # In place of one that waits: a look may take seconds.
        self._asked_station = station, partition
        self._queue(self._look)

    def _look(self) -> None:
        asked, self._asked_station = self._asked_station, None
        if asked is not None:
            self._station.value = html(*look(self._impatient, *asked))
            self._drawer.open(self._station)

    def _be_a_reader(self) -> None:
        if not self._reader.is_logged_in:
            self._reader.do("back")
        self._drawer.open(self._reader.view)

    def _open_break_it(self) -> None:
        self._drawer.open(self._break_it_view.drawer)

    def _toggle(self, name: str) -> _Result:
        if not self.pipeline.is_running:
            return _Result("Scenarios need readers: press Start first.")
        if not self.pipeline.toggle(name):
            return _Result(f"{SCENARIOS[name].title} has ended.", scenario=name)
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
        doing, result = self._progress() or self._broken.starting, self._current_result()
        snapshot = self.pipeline.snapshot()
        if snapshot.effect and self._result.gives_way:
            result = snapshot.effect
        self._pipeline_view.show(
            snapshot, lags=self.pipeline.lags, rates=self.pipeline.arrivals.rates
        )
        is_complete = self.pipeline.is_complete
        self._start_stop.description = "Stop" if is_complete else "Start"
        self._start_stop.button_style = "warning" if is_complete else "success"
        is_trouble = bool(snapshot.trouble) and not doing
        self._status.value = _line(doing or snapshot.trouble or result, is_trouble=is_trouble)
        self._reader.paint()
        self._filters.show(self.pipeline.only)
        self._break_it_view.paint()
        self._tail.show(
            self.pipeline.newest,
            own=self._reader.own,
            per_second=snapshot.per_second,
            is_stale=bool(snapshot.kafka_age_s),
        )
        self._read_now.show(
            self.pipeline.read_now,
            is_stale=bool(snapshot.opensearch_age_s),
            is_filtered=bool(self.pipeline.only),
        )
        self._charts[TopReaders.name].note = self._reader.standing
        speed = self.pipeline.speed
        rounded = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
        self._speed.value = f"<b style='{_SPEED}'>×{rounded}</b>"
        playing = self.pipeline.playing
        for name, button in self._scenarios.items():
            button.button_style = "info" if name in playing else ""
        figures = self.pipeline.charts
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
        text, scenario, is_start, _ = self._result
        if is_start:
            return f"{text}{self._past()}"
        if scenario and self.pipeline.is_running and scenario not in self.pipeline.playing:
            return f"{SCENARIOS[scenario].title} has ended."
        return text

    def _past(self) -> str:
        found = self.pipeline.snapshot()
        if not found.past_s:
            return ""
        minutes = found.past_s / 60
        return f" {found.num_past:,} events of the last {minutes:.0f} minutes were sent first."

    def close(self) -> None:
        """End everything at once; the screen no longer updates."""
        workers.end(_COMMANDS, _PAINTER, _CROWD, *room_reader.WORKERS)
        self.pipeline.close()
        break_it.end_all()


def _impatient(demo: Demo) -> Demo:
    """Return a demo that gives up soon: the next command waits for the answer to this one."""
    settings = demo.settings
    kafka = replace(settings.kafka, timeout_s=_LOOK_S)
    opensearch = replace(settings.opensearch, timeout_s=_LOOK_S)
    return Demo(replace(settings, kafka=kafka, opensearch=opensearch))


_shown: list[widgets.Widget] = []


def _dispose(widget: widgets.Widget) -> None:
    for part in (*getattr(widget, "children", ()), getattr(widget, "style", None), widget.layout):
        if isinstance(part, widgets.DOMWidget):
            _dispose(part)
        elif part is not None:
            part.close()
    widget.close()


def _line(text: str, *, is_trouble: bool) -> str:
    colour = "var(--jp-error-color1)" if is_trouble else "inherit"
    size = 18 if len(text) <= _SHORT else 15
    style = f"font-size:{size}px;color:{colour};min-height:26px"
    return f"<div data-status-line style='{style}'>{escape(text)}</div>"


def _slider(
    title: str, options: list[tuple[str, Any]], *, value: float, width: str
) -> widgets.SelectionSlider:
    return widgets.SelectionSlider(
        options=options,
        value=value,
        description=title,
        layout={"width": width, "margin": "0 0 0 8px"},
        style={"description_width": "initial"},
    )


def _menu(title: str, tooltip: str, content: list[widgets.Widget]) -> widgets.Box:
    """Make a button that opens a panel below it."""
    opener = widgets.Button(description=title, tooltip=tooltip).add_class(room_frame.OPENER)
    panel = widgets.VBox(content).add_class(room_frame.PANEL)
    return widgets.Box([opener, panel]).add_class("clickstream-menu")
