"""The status line of the control room."""

import time

import pytest

from clickstream.widgets import control_room


@pytest.mark.parametrize(("text", "size"), [("Press Start.", 18), ("x" * 150, 15)])
def test_a_long_line_is_set_smaller(text: str, size: int) -> None:
    """A long line gets smaller text, so that the content below moves less."""
    assert f"font-size:{size}px" in control_room._line(text, is_trouble=False)


def test_the_effect_of_a_scenario_waits_until_a_result_was_read() -> None:
    """It takes the place of what was said about a scenario, and never that of a question."""
    now_s = time.monotonic()
    begun = control_room._Result("Bot. Watch the top users.", scenario="bot", said_s=now_s)

    assert not begun.gives_way
    assert begun._replace(said_s=now_s - 60).gives_way
    assert not control_room._Result("Press it again", said_s=now_s - 60).gives_way
