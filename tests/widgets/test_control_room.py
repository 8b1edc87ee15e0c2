"""The status line and the drawer of the control room."""

import time

import pytest

from clickstream.demo.demo import Demo
from clickstream.settings import Settings
from clickstream.widgets import control_room
from clickstream.widgets.control_room import ControlRoom


@pytest.mark.parametrize(("text", "size"), [("Press Start.", 18), ("x" * 150, 15)])
def test_a_long_line_is_set_smaller(text: str, size: int) -> None:
    """A long line gets smaller text, so that the content below moves less."""
    assert f"font-size:{size}px" in control_room._line(text, is_trouble=False)


def test_of_many_clicks_on_stations_the_last_one_counts(
    made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one look waits for a server, further clicks do not queue up before the buttons."""
    looks: list[str] = []

    def slow(demo: Demo, station: str, partition: int | None) -> tuple[str, list[str]]:
        time.sleep(0.5)
        looks.append(station)
        return station, []

    monkeypatch.setattr(control_room, "look", slow)
    room = ControlRoom(Demo(made))
    try:
        for station in ("site", *["kafka"] * 20, "index"):
            room._pipeline_view._handle_custom_msg({"station": station, "partition": None}, [])
        room.stop()
    finally:
        room.close()
    assert looks in (["site", "index"], ["index"])


def test_the_effect_of_a_scenario_waits_until_a_result_was_read() -> None:
    """It takes the place of what was said about a scenario, and never that of a question."""
    now_s = time.monotonic()
    begun = control_room._Result("Bot. Watch the top users.", scenario="bot", said_s=now_s)

    assert not begun.gives_way
    assert begun._replace(said_s=now_s - 60).gives_way
    assert not control_room._Result("Press it again", said_s=now_s - 60).gives_way
