"""The control room in a real JupyterLab, at 1,000 events per second."""

from pathlib import Path

import pytest

from benchmarks import screen, stage
from benchmarks.stage import Seen

pytestmark = [pytest.mark.slow, pytest.mark.timed]

SLACK = 2
"""Test machines are noisy, so every limit is doubled."""
SCREENSHOTS = Path(__file__).parent.parent.parent.parent / "build" / "screenshots"


def assert_met(*rows: Seen) -> None:
    """Check every row against twice its limit, and print the measurements."""
    print(*rows, sep="\n")
    assert [str(row) for row in rows if not row.is_met(SLACK)] == []


@pytest.mark.timeout(400)
def test_the_room_survives_a_presenter(notebook: screen.Notebook) -> None:
    """The room works through start, changes, repeated display, reload, stop and reset."""
    room, first = stage.first_chart(notebook)
    assert_met(first)
    stage.begin(room)
    assert_met(*stage.movement(room, 1))
    assert_met(stage.busy(room), stage.slider(room), stage.busy_slider(room))
    room.output.scroll_into_view_if_needed()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    notebook.page.screenshot(path=SCREENSHOTS / "06-room.png")
    assert_met(*stage.reruns(room, 10))
    assert_met(stage.reload(room, 3))
    assert_met(stage.stop(room))
    # What earlier rooms produced lies in Kafka, too.
    assert room.number("in Kafka") >= room.number("produced") > 0
    assert room.number("in Kafka") - room.number("lag") == room.number("indexed") > 0
    assert room.number("lag") < stage.RATE, "a second is enough to catch up, or nearly"
    assert_met(stage.reset(room))
    assert room.number("in Kafka") == room.number("indexed") == 0
    assert stage.start(room, "warm", 3).is_met(3)
    assert_met(stage.stop(room))
    assert notebook.errors == []
    assert notebook.requests == []
    assert notebook.page.locator(".jp-Dialog").count() == 0
