"""The charts of the registry use the fields of an event."""

from itertools import islice

import pytest

from clickstream import events
from clickstream.charts.ab_test import AbTest
from clickstream.charts.chart import ROOM
from clickstream.charts.event_types import EventTypes
from clickstream.charts.registry import CHARTS
from clickstream.charts.top_readers import TopReaders
from clickstream.charts.volume import MOST_SCENARIOS
from clickstream.opensearch.mapping import EVENT_MAPPING
from clickstream.simulation import scenarios
from clickstream.simulation.scenarios import ADDS_EVENTS
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic


def test_every_visualization_asks_about_fields_of_an_event() -> None:
    """Every chart aggregates existing fields of an event."""
    properties = EVENT_MAPPING["properties"]
    assert {field for chart in CHARTS for field in chart.fields} <= set(properties)
    assert {chart.only[0] for chart in CHARTS if chart.only} <= set(properties)


def test_fixed_orders_hold_every_value_of_their_field() -> None:
    """Fixed orders contain every value of their field, so new values appear by themselves."""
    known = {
        "event_type": events.EVENT_TYPES,
        "device_type": events.DEVICE_TYPES,
        "article_category": events.CATEGORIES,
    }
    for chart in CHARTS:
        for field, values in zip(chart.fields, chart.values, strict=False):
            assert values == known.get(field, ())
            assert len(values) <= ROOM
    assert {field for chart in CHARTS if chart.values for field in chart.fields} >= set(known)


def test_values_that_the_model_does_not_have_come_after_those_it_has() -> None:
    """Unknown values follow known ones, sorted by name."""
    assert EventTypes().order(0, ["vote", "login", "clap"]) == [*events.EVENT_TYPES, "clap", "vote"]
    assert AbTest().order(0, {"B", "A"}) == ["A", "B"]
    assert TopReaders().order(0) == []


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_the_charts_know_of_every_scenario_whose_events_those_are(name: str) -> None:
    """The charts know of every scenario whether it adds events or only labels them."""
    crowd, stage = (Traffic(Simulator(seed=3, start_ms=1_767_618_000_000)) for _ in range(2))
    own = {event.event_id for event in islice(crowd.events(), 4_000)}
    played = list(islice(stage.events(), 1_000))
    stage.start(scenarios.make(name))
    played += islice(stage.events(), 2_000)
    labelled = [event for event in played if event.scenario]
    of_the_crowd = sum(event.event_id in own for event in labelled)

    assert {event.scenario for event in labelled} <= {name}
    if ADDS_EVENTS.get(name):
        assert 0 == of_the_crowd < len(labelled)
    else:
        assert (name in ADDS_EVENTS) == (of_the_crowd > 0.5 * len(labelled))
    assert sum(ADDS_EVENTS.values()) <= MOST_SCENARIOS


def test_names_are_fit_for_files_and_told_apart() -> None:
    """Chart names are unique and valid file names."""
    names = [chart.name for chart in CHARTS]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalpha() and name.islower() for name in names)
