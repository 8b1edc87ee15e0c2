"""Rehearse a scenario on a separate crowd, as a table; nothing is sent or stored."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Final

import pandas as pd

from clickstream.events import Event, id_ms
from clickstream.simulation import scenarios
from clickstream.simulation.articles import MINUTE_MS
from clickstream.simulation.simulator import Simulator, crowd_for
from clickstream.simulation.traffic import Traffic

WARM_UP_MS: Final = 30 * MINUTE_MS
"""A simulator starts with an empty site; after this time arrivals and departures balance."""
LEAD_MS: Final = 2 * MINUTE_MS
"""A rehearsal shows the crowd for this long before the scenario begins."""


def strengths(name: str) -> list[str]:
    """Return a scenario in five strengths, weak to strong, as text for `scenarios.make`.

    Raises:
        ConfigError: no such scenario; the message lists those that exist.
    """
    return [f"{name}:{values}" for values in scenarios.make(name).strengths]


def tabulate(events: Iterable[Event]) -> pd.DataFrame:
    """Put events into a table: one row per event, in order, one column per field, and `at_ms`.

    `at_ms` is the event time (ms since 1970) from the id, which even a broken copy has. A table
    without events has the same columns.
    """
    fields = list(Event.__struct_fields__)
    table = pd.DataFrame(list(map(attrgetter(*fields), events)), columns=fields, dtype=object)
    return table.assign(at_ms=[id_ms(event_id) for event_id in table["event_id"]])


def rehearse(text: str, *, seed: int, start_ms: int, readers: int | None = None) -> pd.DataFrame:
    """Run a scenario on a separate crowd; it begins `LEAD_MS` after the start.

    The same arguments give the same events. Ten minutes of the default crowd take one second.

    Args:
        text: the scenario, as text for `scenarios.make`; "" is the crowd without one.
        seed: the seed of the readers.
        start_ms: the start of the ten minutes (ms since 1970). `ab-test` runs for 30 minutes,
            because a small difference takes that long to stand out from chance.
        readers: size of the crowd; by default as many as make 10 events per second on average.

    Returns:
        The table of `tabulate`, in stream order.

    Raises:
        ConfigError: no such scenario, key or value; a start before 1970; a crowd without readers.
    """
    scenario = scenarios.make(text) if text else None
    num_readers = crowd_for(10) if readers is None else readers
    traffic = Traffic(Simulator(seed=seed, start_ms=start_ms - WARM_UP_MS, readers=num_readers))
    for _ in traffic.events(until_ms=start_ms):
        pass
    played = list(traffic.events(until_ms=start_ms + LEAD_MS))
    if scenario is not None:
        traffic.start(scenario)
    minutes = 30 if text.startswith("ab-test") else 10
    played += traffic.events(until_ms=start_ms + minutes * MINUTE_MS)
    return tabulate([*played, *traffic.close()])
