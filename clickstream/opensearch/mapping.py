"""The mapping of the index, derived from the fields of the event model."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import inspect

from clickstream.errors import ConfigError
from clickstream.events import DATE, Event

_TYPES: Final[dict[type[inspect.Type], str]] = {
    inspect.StrType: "keyword",
    inspect.LiteralType: "keyword",
    inspect.IntType: "integer",
    inspect.FloatType: "double",
    inspect.BoolType: "boolean",
}


def derive(model: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the mapping of a model: `dynamic: strict`, one property per field.

    A field uses the mapping in its annotation if there is one. Otherwise `str` becomes
    `keyword`, `int` becomes `integer`, `float` becomes `double`, and `bool` becomes `boolean`.

    Raises:
        ConfigError: a field is of a type that has no mapping; the message names it.
    """
    fields = inspect.type_info(model).fields  # type: ignore[attr-defined]
    properties = {field.name: _property(field.name, field.type) for field in fields}
    return {"dynamic": "strict", "properties": properties}


def _property(name: str, kind: inspect.Type) -> dict[str, Any]:
    match kind:
        case inspect.Metadata(extra={"mapping": found}):
            return dict(found)
        case inspect.Metadata(type=inner) | inspect.UnionType(types=(inner, inspect.NoneType())):
            return _property(name, inner)
    if type(kind) not in _TYPES:
        msg = f"field {name!r} of an event: {kind} has no mapping"
        raise ConfigError(msg, "define one with Meta(extra=…)")
    return {"type": _TYPES[type(kind)]}


EVENT_MAPPING: Final = derive(Event)


def differences(found: dict[str, Any]) -> list[str]:
    """Return the fields whose mapping is not that of `EVENT_MAPPING`, sorted; empty if none.

    Settings of `_routing` and `_source` count as fields: the first makes OpenSearch refuse our
    requests, and the second makes it forget values. If only the setting differs that refuses
    unknown fields, it is `["dynamic"]`.
    """
    ours, theirs = _without_date_format(EVENT_MAPPING), _without_date_format(found)
    theirs |= {name: found[name] for name in ("_routing", "_source") if name in found}
    different = sorted(i for i in ours.keys() | theirs.keys() if ours.get(i) != theirs.get(i))
    if not different and found.get("dynamic") != EVENT_MAPPING["dynamic"]:
        return ["dynamic"]
    return different


def _without_date_format(mapping: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of each field, without the date format.

    The server omits settings that equal its default. An index with the default date format also
    reads our dates, only more slowly.
    """
    return {
        name: {k: v for k, v in field.items() if (k, v) != ("format", DATE["format"])}
        for name, field in mapping.get("properties", {}).items()
    }
