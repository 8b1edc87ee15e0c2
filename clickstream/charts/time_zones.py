"""The time zone of a chart: one fixed offset, so that no hour repeats."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from clickstream.errors import ConfigError


def fixed_offset(tz: tzinfo | str | None, at: datetime) -> timezone:
    """Return a zone's offset at a given time, named after both; None is this machine's zone.

    Raises:
        ConfigError: no such zone.
    """
    zone = _zone(tz)
    offset = at.astimezone(zone).utcoffset() or timedelta(0)
    name = getattr(zone, "key", "UTC").removeprefix("Etc/")
    return timezone(offset) if name == "UTC" else timezone(offset, f"{name}, {timezone(offset)}")


def _zone(tz: tzinfo | str | None) -> tzinfo | None:
    """Find the zone; None means this machine's zone, if it has an offset but no name."""
    if isinstance(tz, tzinfo):
        return tz
    link = os.path.realpath("/etc/localtime").rpartition("zoneinfo/")[2]
    name = tz or os.environ.get("TZ", "").removeprefix(":") or link
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        if tz is None:
            return None
        msg = f"unknown time zone {tz!r}"
        raise ConfigError(msg, "use a name such as Europe/Berlin, or UTC") from error
