"""Visualizations as data: they speak of fields that events have."""

from clickstream import events
from clickstream.specs import SPECS


def test_every_visualization_asks_about_fields_of_an_event() -> None:
    """A renamed field cannot leave a chart behind."""
    properties = events.mapping()["properties"]
    assert {field for spec in SPECS for field in spec.fields} <= set(properties)


def test_fixed_orders_hold_every_value_of_their_field() -> None:
    """A new category or event type appears in the charts by itself."""
    known = {
        "event_type": events.EVENT_TYPES,
        "device_type": events.DEVICE_TYPES,
        "article_category": events.CATEGORIES,
    }
    for spec in SPECS:
        for field, values in zip(spec.fields, spec.values, strict=False):
            assert values == known[field]
            assert spec.size >= len(values)


def test_names_are_fit_for_files_and_told_apart() -> None:
    """Each is the key of its figure and the name of its file."""
    names = [spec.name for spec in SPECS]
    assert len(set(names)) == len(names)
    assert all(name.replace("-", "").isalpha() and name.islower() for name in names)
