"""What each scenario is called on the charts, and the place that gives it colour and pattern."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from clickstream.charts.chart import ScenarioLook

SCENARIO_LOOKS: Final[Mapping[str, ScenarioLook]] = {
    name: ScenarioLook(title=name, place=place)
    for name, place in (
        ("breaking-news", 1),
        ("bot", 2),
        ("comment-storm", 3),
        ("logout-wave", 4),
        ("ab-test", None),
        ("dirty-data", None),
    )
}
