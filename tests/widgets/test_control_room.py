"""The status line of the control room."""

import pytest

from clickstream.widgets import control_room


@pytest.mark.parametrize(("text", "size"), [("Press Start.", 18), ("x" * 150, 15)])
def test_a_long_line_is_set_smaller(text: str, size: int) -> None:
    """A long line gets smaller text, so that the content below moves less."""
    assert f"font-size:{size}px" in control_room._line(text, is_trouble=False)
