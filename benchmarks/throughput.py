"""Documents per second over bulk size and senders: a table, and one chart as a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import fresh, prebuilt
from clickstream import consumer
from clickstream.charts import theme
from clickstream.settings import Settings

NUM_EVENTS = 100_000
SIZES = (500, 1_000, 2_000, 4_000, 8_000)
ROUNDS = 3

Measured = dict[tuple[int, int], float]
"""Documents per second, by bulk size and number of senders."""


def measure(settings: Settings) -> Measured:
    """Send the same documents in bulks of every size by every number of senders."""
    sample = fresh.events(NUM_EVENTS)
    bodies = {size: prebuilt.bodies(sample, size) for size in SIZES}
    del sample
    own = settings.in_namespace(fresh.name())
    rounds: list[Measured] = []
    for _ in range(ROUNDS):
        found = {}
        for size in SIZES:
            for senders in prebuilt.SENDERS:
                with fresh.stream(own, num_documents=NUM_EVENTS) as client:
                    took_s = prebuilt.seconds(client, own.opensearch.index, bodies[size], senders)
                found[size, senders] = NUM_EVENTS / took_s
        rounds.append(found)
    return {way: median(found[way] for found in rounds) for way in rounds[0]}


def table(measured: Measured) -> Iterator[str]:
    """Write it as lines of text."""
    yield "documents/s " + "".join(f"{size:>9,}" for size in SIZES) + "  documents per bulk"
    for senders in prebuilt.SENDERS:
        values = "".join(f"{measured[size, senders]:>9,.0f}" for size in SIZES)
        yield f"{_senders(senders):<12}{values}"


def draw(measured: Measured, path: Path) -> None:
    """Draw it: a line for every number of senders, over the bulk size."""
    (size, senders) = max(measured, key=lambda way: measured[way])
    figure = theme.figure(
        f"{_senders(senders)} of {size:,} documents per bulk index most: "
        f"{measured[size, senders]:,.0f} documents/s",
        f"prebuilt bulks of {NUM_EVENTS:,} events, median of {ROUNDS} rounds; the kit's consumer "
        f"sends {consumer.BULKS_IN_FLIGHT} of {consumer.BULK_DOCUMENTS:,} side by side",
    )
    for place, number in enumerate(prebuilt.SENDERS):
        figure.add_scatter(
            x=[f"{size:,}" for size in SIZES],
            y=[measured[size, number] for size in SIZES],
            name=_senders(number),
            mode="lines+markers",
            line={"color": theme.colour(place), "width": 4},
            marker={"size": 13, "symbol": ("circle", "square", "diamond")[place]},
            cliponaxis=False,
            hovertemplate="%{x} per bulk: %{y:,.0f} documents/s",
        )
    figure.update_xaxes(title="documents per bulk", type="category")
    figure.update_yaxes(title="documents/s", rangemode="tozero")
    figure.update_layout(showlegend=True, hovermode="x unified")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.write_html(path, include_plotlyjs=True)


def _senders(number: int) -> str:
    return f"{number} sender" + "s" * (number > 1)
