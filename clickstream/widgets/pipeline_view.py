"""The way of the events as a moving picture with numbers: site, partitions, consumers, index."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import anywidget
import traitlets

from clickstream.kafka.messages import printable
from clickstream.reports import this_consumer
from clickstream.widgets.live_pipeline import Lane, Snapshot

_IN_SECONDS_MS: Final = 10_000
_POINTS: Final = 60
"""Points of a sparkline."""
_MOST_LANES: Final = 4
_MOST_OWNERS: Final = 3
_OWNER_CHARS: Final = 16


class PipelineView(anywidget.AnyWidget):
    """Draws what `show` is given; any thread may call it.

    The browser moves at most 60 dots, 15 times per second, and none in a hidden tab or if the
    viewer's system asks for reduced motion.
    """

    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")
    _state = traitlets.Unicode("{}").tag(sync=True)

    def on_station(self, look: Callable[[str, int | None], None]) -> None:
        """Call this with a station, and perhaps a partition, that a viewer clicked on."""
        self.on_msg(lambda view, content, buffers: look(content["station"], content["partition"]))

    def show(
        self, snapshot: Snapshot, *, lags: Iterable[float] = (), rates: Iterable[float] = ()
    ) -> None:
        """Show these numbers.

        Args:
            snapshot: the numbers.
            lags: the latest values of the lag, drawn as a small line beside it.
            rates: the latest values of `per second`, likewise.
        """
        self._state = json.dumps(state(snapshot) | {"lags": _thin(lags), "rates": _thin(rates)})


def state(snapshot: Snapshot) -> dict[str, Any]:
    """Return what is drawn: numbers as text, and per second what moves.

    Returns:
        `numbers`: by name, the text of each number; `stale`: the names of those that are old, and
        `age`: how old, as text; `sources`: where the messages in Kafka come from; `site` and
        `index`: a line of text each; `lanes`: one per partition, and of many the first, but those
        in trouble before them; `partitions`: the number of all; `owners`: the first consumers with
        their partitions, that of this process before the others, and `consumers`: their heading;
        `counted_ms`: when, in ms since 1970.
    """
    median, most = snapshot.searchable_ms or (None, None)
    # Not those with the most lag: without trouble they would be others at every paint.
    lanes = sorted(
        map(_lane, snapshot.lanes), key=lambda lane: -lane["lag"] if lane["trouble"] else 0
    )[:_MOST_LANES]
    owners: dict[str, list[int]] = {}
    for lane in sorted(snapshot.lanes, key=lambda lane: lane.owner != this_consumer()):
        if lane.owner:
            owners.setdefault(_owner(lane.owner), []).append(lane.partition)
    others = len(owners) - _MOST_OWNERS
    # Without Kafka nothing is counted; without OpenSearch, only the index stands still.
    age_s = max(snapshot.kafka_age_s, snapshot.opensearch_age_s)
    numbers = {
        "produced": f"{snapshot.produced:,}",
        "in Kafka": f"{snapshot.in_kafka:,}",
        "lag": f"{snapshot.lag:,}",
        "indexed": f"{snapshot.indexed:,}",
        "repeats": f"{snapshot.repeats:,}",
        "dead letters": f"{snapshot.dead_letters:,}",
        "per second": f"{snapshot.per_second:,.0f}",
        "readers": f"{snapshot.readers:,}",
        "Kafka to index": _duration(snapshot.latency_ms),
    }
    stale = list(numbers) if snapshot.kafka_age_s else _OF_THE_INDEX if age_s else []
    return {
        "numbers": numbers,
        "stale": stale,
        "age": f"grey numbers are {age_s:,.0f} s old" if age_s else "",
        "sources": f"{snapshot.there_before:,} there before + {snapshot.of_these_produced:,} "
        f"produced here + {snapshot.by_others:,} by others",
        "site": f"{snapshot.views_per_second:,.0f} views/s",
        "index": f"searchable {_seconds(median)}, p99 {_seconds(most)}",
        "lanes": sorted(lanes, key=itemgetter("partition")),
        "partitions": len(snapshot.lanes),
        "owners": dict(islice(owners.items(), _MOST_OWNERS)),
        "consumers": f"consumers · {others} more" if others > 0 else "consumers",
        "counted_ms": snapshot.counted_ms,
    }


_OF_THE_INDEX: Final = ["readers", "indexed", "repeats", "Kafka to index"]


def _lane(lane: Lane) -> dict[str, Any]:
    trouble = ""
    if lane.is_stalled:
        trouble = "not read"
    elif lane.lag and not lane.owner:
        trouble = "no consumer"
    elif lane.is_lag_growing:
        trouble = "lag grows"
    return {
        "partition": lane.partition,
        "end": f"{lane.end_offset:,}",
        "lag": lane.lag,
        "rate": round(lane.per_second, 1),
        "owner": _owner(lane.owner),
        "trouble": trouble,
    }


def _owner(client_id: str) -> str:
    """Shorten a client id; the kit's consumers on this machine are named by their process."""
    here, _, own = this_consumer().rpartition(":")
    machine, _, pid = client_id.rpartition(":")
    if machine == here:
        return "this notebook" if pid == own else f"process {pid}"
    # Its end: other machines of a kind have names with the same beginning.
    return printable(client_id)[-_OWNER_CHARS:]


def _thin(values: Iterable[float]) -> list[float]:
    found = list(values)
    return [round(each, 1) for each in found[:: -max(1, len(found) // _POINTS)][::-1]]


def _duration(ms: float | None) -> str:
    if ms is None:
        return "–"
    return f"{ms:,.0f} ms" if ms < _IN_SECONDS_MS else f"{ms / 1000:,.0f} s"


def _seconds(ms: float | None) -> str:
    return "–" if ms is None else f"{ms / 1000:,.1f} s"
