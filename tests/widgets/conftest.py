"""What runs behind a control room, for the length of a test."""

import threading
from collections.abc import Iterator

import pytest

from clickstream.demo.verbs import Demo
from clickstream.settings import Settings
from clickstream.widgets.live_pipeline import Flow


def threads() -> list[str]:
    """The kit's own, by name, but for the consumer's senders."""
    names = (each.name for each in threading.enumerate())
    return sorted(
        name.removeprefix("clickstream-")
        for name in names
        if name.startswith("clickstream-") and "-bulk-" not in name
    )


@pytest.fixture
def flow(made: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flow]:
    """At rest, 200 events a second once it is started; nothing of it is left afterwards.

    Its consumer has all the time to catch up: on a slow machine a second may not be enough.
    """
    monkeypatch.setattr("clickstream.widgets.live_pipeline._CATCH_UP_S", 20.0)
    flow = Flow(Demo(made), events_per_second=200)
    yield flow
    flow.close()
    assert threads() == []
