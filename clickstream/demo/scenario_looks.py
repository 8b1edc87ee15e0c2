"""The look of each scenario in charts, derived from the scenario classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from clickstream.charts.chart import ScenarioLook
from clickstream.simulation.scenarios import SCENARIOS

_ADDED = [name for name, scenario in SCENARIOS.items() if scenario.marks == "added"]

SCENARIO_LOOKS: Final[Mapping[str, ScenarioLook]] = {
    name: ScenarioLook(title=name, place=_ADDED.index(name) + 1 if name in _ADDED else None)
    for name, scenario in SCENARIOS.items()
    if scenario.marks != "nothing"
}
"""By name; charts use the same name as `--scenario`."""
