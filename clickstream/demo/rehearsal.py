"""A scenario played on a crowd of its own, as a table: nothing is sent or stored."""

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
"""A simulator starts with nobody on the site; from then on about as many come as go."""
LEAD_MS: Final = 2 * MINUTE_MS
"""So long a rehearsal shows the crowd as it is before the scenario begins."""


def strengths(name: str) -> list[str]:
    """Write a scenario in five strengths, weak to strong, as `scenarios.make` reads it.

    Raises:
        ConfigError: no such scenario; the message says what is.
    """
    return [f"{name}:{values}" for values in scenarios.make(name).strengths]


def tabulate(events: Iterable[Event]) -> pd.DataFrame:
    """Put events into a table: one a row, in their order, a column a field, and `at_ms`.

    That is the event time (ms since 1970), read off the id: a broken copy has that, too.
    No events give the columns without a row.
    """
    fields = list(Event.__struct_fields__)
    table = pd.DataFrame(list(map(attrgetter(*fields), events)), columns=fields, dtype=object)
    return table.assign(at_ms=[id_ms(event_id) for event_id in table["event_id"]])


def rehearse(text: str, *, seed: int, start_ms: int, readers: int | None = None) -> pd.DataFrame:
    """Play a scenario on a crowd of its own; it begins `LEAD_MS` after the start.

    The same arguments give the same events. Ten minutes of the default crowd take a second.

    Args:
        text: of the scenario, as `scenarios.make` reads it; "" is the crowd without one.
        seed: of the readers.
        start_ms: where the ten minutes begin (ms since 1970); they are 30 for `ab-test`, for
            a difference of some reactions takes that long to stand out from chance.
        readers: in the crowd; by default as many as make 10 events a second on average.

    Returns:
        As `tabulate` does, in the order of the stream.

    Raises:
        ConfigError: no such scenario, key or value; a start before 1970; a crowd of nobody.
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
