"""Which scenarios' events charts show separately, derived from the scenario classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from clickstream.simulation.scenarios import SCENARIOS

if TYPE_CHECKING:
    from clickstream.charts.chart import AddsEvents

ADDS_EVENTS: Final[AddsEvents] = {
    name: scenario.marks == "added"
    for name, scenario in SCENARIOS.items()
    if scenario.marks != "nothing"
}
"""By name; charts use the same name as `--scenario`."""
