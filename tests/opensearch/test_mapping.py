"""The mapping: every field of the event model, by its type."""

from typing import Annotated, Any, Literal

import msgspec
import pytest

from clickstream.errors import ConfigError
from clickstream.events import Event
from clickstream.opensearch.mapping import EVENT_MAPPING, derive


def test_every_field_is_in_the_strict_mapping() -> None:
    """The strict mapping has every field of the model."""
    assert EVENT_MAPPING["dynamic"] == "strict"
    assert list(EVENT_MAPPING["properties"]) == list(Event.__struct_fields__)
    assert EVENT_MAPPING["properties"]["session_seq"] == {"type": "integer"}
    assert EVENT_MAPPING["properties"]["timestamp"]["type"] == "date"
    assert EVENT_MAPPING["properties"]["article_published_at"]["type"] == "date"
    assert EVENT_MAPPING["properties"]["event_id"] == {
        "type": "keyword",
        "index": False,
        "doc_values": False,
    }
    assert EVENT_MAPPING["properties"]["user_id"] == {"type": "keyword"}


def test_a_new_field_is_mapped_by_its_type() -> None:
    """Strings, numbers and booleans get their types, optional or not, unless one is given."""

    class Model(msgspec.Struct):
        text: str
        choice: Literal["a", "b"] | None
        whole: Annotated[int, msgspec.Meta(ge=0)]
        share: float | None
        truth: bool
        named: Annotated[str, msgspec.Meta(extra={"mapping": {"type": "ip"}})] | None = None

    found = {name: each["type"] for name, each in derive(Model)["properties"].items()}

    assert found == {
        "text": "keyword",
        "choice": "keyword",
        "whole": "integer",
        "share": "double",
        "truth": "boolean",
        "named": "ip",
    }


@pytest.mark.parametrize("kind", [list[str], int | str, bytes])
def test_a_field_without_a_mapping_is_named(kind: Any) -> None:
    """A field without a mapping raises an error that names it."""
    model = msgspec.defstruct("Model", [("user_id", str), ("scores", kind)])
    with pytest.raises(ConfigError, match=r"field 'scores' of an event: .* has no mapping"):
        derive(model)
