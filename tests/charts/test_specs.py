"""Visualizations as data: they speak of fields that events have."""

from itertools import islice

import pytest

from clickstream import events
from clickstream.charts.specs import AB_TEST, EVENT_TYPE, LABELS, ON_TOP, SPECS, VOLUME
from clickstream.simulation import scenarios
from clickstream.simulation.simulator import Simulator
from clickstream.simulation.traffic import Traffic


def test_every_visualization_asks_about_fields_of_an_event() -> None:
    """A renamed field cannot leave a chart behind."""
    properties = events.mapping()["properties"]
    assert {field for spec in SPECS for field in spec.fields} <= set(properties)
    assert {spec.only[0] for spec in SPECS if spec.only} <= set(properties)


def test_fixed_orders_hold_every_value_of_their_field() -> None:
    """A new category or event type appears in the charts by itself."""
    known = {
        "event_type": events.EVENT_TYPES,
        "device_type": events.DEVICE_TYPES,
        "article_category": events.CATEGORIES,
        "scenario": ON_TOP,
    }
    for spec in SPECS:
        for field, values in zip(spec.fields, spec.values, strict=False):
            assert values == known.get(field, ())
            assert spec.size >= len(values)


def test_values_that_the_model_does_not_have_come_after_those_it_has() -> None:
    """By name; and nothing is fixed where nothing is known."""
    assert EVENT_TYPE.order(0, ["vote", "login", "clap"]) == [*events.EVENT_TYPES, "clap", "vote"]
    assert AB_TEST.order(0, {"B", "A"}) == ["A", "B"]
    assert VOLUME.order(0) == []


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_the_charts_know_of_every_scenario_whose_events_those_are(name: str) -> None:
    """A new one that only labels is not taken for one that adds, nor the other way round."""
    crowd, stage = (Traffic(Simulator(seed=3, start_ms=1_767_618_000_000)) for _ in range(2))
    own = {event.event_id for event in islice(crowd.events(), 4_000)}
    played = list(islice(stage.events(), 1_000))
    stage.start(scenarios.make(name))
    played += islice(stage.events(), 2_000)
    labelled = [event for event in played if event.scenario]
    of_the_crowd = sum(event.event_id in own for event in labelled)

    assert {event.scenario for event in labelled} <= {name}
    if name in ON_TOP:
        assert 0 == of_the_crowd < len(labelled)
    else:
        assert (name in LABELS) == (of_the_crowd > 0.5 * len(labelled))
    assert len(ON_TOP) <= VOLUME.size


def test_names_are_fit_for_files_and_told_apart() -> None:
    """Each is the key of its figure and the name of its file."""
    names = [spec.name for spec in SPECS]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalpha() and name.islower() for name in names)
