"""Simulated readers of a news site, streamed through Kafka and OpenSearch into live charts.

A notebook or a program needs only the names below. Each one is loaded on first use, so that
importing the package costs nothing.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names, for type checkers and editors
    from clickstream.consumer import index_topic as index_topic
    from clickstream.demo.demo import Demo as Demo
    from clickstream.errors import ClickstreamError as ClickstreamError
    from clickstream.events import Event as Event
    from clickstream.events import decode as decode
    from clickstream.events import encode as encode
    from clickstream.producer import produce as produce
    from clickstream.producer import send as send
    from clickstream.settings import KafkaSettings as KafkaSettings
    from clickstream.settings import OpenSearchSettings as OpenSearchSettings
    from clickstream.settings import Settings as Settings
    from clickstream.simulation.pacing import Pace as Pace
    from clickstream.simulation.pacing import PacedEvents as PacedEvents
    from clickstream.simulation.pacing import live_now as live_now
    from clickstream.simulation.scenarios import SCENARIOS as SCENARIOS
    from clickstream.simulation.simulator import Simulator as Simulator
    from clickstream.simulation.traffic import Traffic as Traffic
    from clickstream.widgets.chaos import Chaos as Chaos
    from clickstream.widgets.control_room import ControlRoom as ControlRoom

_MODULES = {
    "Chaos": "widgets.chaos",
    "ClickstreamError": "errors",
    "ControlRoom": "widgets.control_room",
    "Demo": "demo.demo",
    "Event": "events",
    "KafkaSettings": "settings",
    "OpenSearchSettings": "settings",
    "Pace": "simulation.pacing",
    "PacedEvents": "simulation.pacing",
    "SCENARIOS": "simulation.scenarios",
    "Settings": "settings",
    "Simulator": "simulation.simulator",
    "Traffic": "simulation.traffic",
    "decode": "events",
    "encode": "events",
    "index_topic": "consumer",
    "live_now": "simulation.pacing",
    "produce": "producer",
    "send": "producer",
}
"""Every public name, and the module that it is loaded from."""

__all__ = list(_MODULES)

logging.getLogger(__name__).addHandler(logging.NullHandler())


if not TYPE_CHECKING:  # a type checker that saw this would let every misspelt name pass

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
