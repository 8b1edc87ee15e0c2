"""The look of the charts: one template, its colours, and readable text on each of them.

Charts must be readable from the back of a room: text of at least 18 pixels, dark on light, and 560
pixels for the whole chart. The colours are those of Okabe and Ito without the pale yellow, which
people with colour blindness can distinguish. Labels, patterns and symbols support every colour.

Source of the colours: Okabe and Ito 2008, "Color Universal Design".
"""

from __future__ import annotations

import re
from typing import Any, Final

import plotly.graph_objects as go

INK: Final = "#1b1f24"
PAPER: Final = "#ffffff"
BLACK: Final = "#000000"
GRID: Final = "#d5dae0"
COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c8c8c")
"""For slices and lines; text on or beside them is `INK` or `PAPER`, by contrast."""
PATTERNS: Final = ("", "/", ".", "x", "-", "\\", "|")
SCALE: Final = ("#f2f6fa", "#c6dbec", "#8fbfdc", "#4a93c3", "#0b5a94")
"""Colours of the heatmap, from light to dark."""
UNDER_LINE: Final = "rgba(0, 114, 178, 0.15)"
"""The first of `COLOURS`, transparent, for the area under a line."""
LINE_WITH_AREA: Final = {
    "line": {"color": COLOURS[0], "width": 4}, "fill": "tozeroy", "fillcolor": UNDER_LINE,
}  # fmt: skip
"""For a line of counts over time."""
TEXT_PX: Final = 18
HEIGHT_PX: Final = 560
_SMALL_PX: Final = 14

_AXIS: Final = {"automargin": True, "gridcolor": GRID, "title": {"standoff": 14}}
TEMPLATE: Final = go.layout.Template(
    layout={
        "font": {"family": "Helvetica, Arial, sans-serif", "size": TEXT_PX, "color": INK},
        "title": {"font": {"size": 24}, "x": 0, "xref": "container", "pad": {"l": 16}},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "height": HEIGHT_PX,
        "margin": {"l": 24, "r": 24, "t": 96, "b": 24},
        "colorway": COLOURS,
        "showlegend": False,
        "hoverlabel": {"font": {"size": TEXT_PX}},
        "xaxis": _AXIS | {"linecolor": INK, "ticks": "outside"},
        "yaxis": _AXIS | {"zeroline": False, "tickformat": ",d", "ticklabelstandoff": 8},
    }
)

OUTSIDE: Final = {"textposition": "outside", "constraintext": "none", "cliponaxis": False}
"""For numbers beside bars: otherwise plotly shrinks them to the bar width or cuts them."""


def colour(place: int) -> str:
    """Return the colour of a place; colours repeat after the last one, with another `pattern`."""
    return COLOURS[place % len(COLOURS)]


def pattern(place: int) -> str:
    """Return the pattern of a place, as a second cue besides the colour."""
    return PATTERNS[(place + place // len(COLOURS)) % len(PATTERNS)]


def overlay(shape: str | list[str]) -> dict[str, Any]:
    """Return plotly's pattern settings, light on the colour of a slice, an area or a bar."""
    return {"shape": shape, "fgcolor": PAPER, "fillmode": "overlay"}


def shade(share: float) -> tuple[int, int, int]:
    """Return the heatmap colour for a share of the highest count, as red, green, blue."""
    steps = [_rgb(colour) for colour in SCALE]
    place = share * (len(steps) - 1)
    low = min(int(place), len(steps) - 2)
    part = place - low
    red, green, blue = (
        round(a + (b - a) * part) for a, b in zip(steps[low], steps[low + 1], strict=True)
    )
    return red, green, blue


def ink_on(colour: tuple[int, int, int]) -> str:
    """Choose black or white text by contrast, which is at least 4.58 on any colour."""
    dark, light = (contrast(_rgb(text), colour) for text in (BLACK, PAPER))
    return BLACK if dark >= light else PAPER


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """Compute the contrast of two colours, 1 to 21.

    Source: WCAG 2.2, definitions of contrast ratio and relative luminance.
    """
    lower, higher = sorted((_luminance(one), _luminance(other)))
    return (higher + 0.05) / (lower + 0.05)


def _luminance(colour: tuple[int, int, int]) -> float:
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def figure(title: str, subtitle: str = "") -> go.Figure:
    """Start a chart: the title states the result, the subtitle names the data."""
    text = f"<b>{title}</b>"
    if subtitle:
        text += f'<br><span style="font-size:{TEXT_PX}px">{subtitle}</span>'
    # JupyterLab ignores the height of a template.
    return go.Figure(layout={"template": TEMPLATE, "title": {"text": text}, "height": HEIGHT_PX})


def empty(title: str, subtitle: str = "") -> go.Figure:
    """Start a chart without data: the title says why, and no axis shows."""
    return figure(title, subtitle).update_layout(xaxis_visible=False, yaxis_visible=False)


def legend_above(figure: go.Figure) -> None:
    """Put the legend on a separate line between title and chart."""
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}
    # The title has the same position as in a chart without a legend.
    title = {"y": 1 - TEMPLATE.layout.margin.t / 2 / HEIGHT_PX, "yanchor": "middle"}
    figure.update_layout(showlegend=True, legend=legend, title=title, margin={"t": 140})


def counted(count: int, noun: str = "event") -> str:
    """Format a number with its noun, in the singular or plural."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def clock(*, with_seconds: bool) -> str:
    """Return the format of a time of day."""
    return "%H:%M:%S" if with_seconds else "%H:%M"


def compact(figure: go.Figure) -> go.Figure:
    """Adapt a chart to a screen with other charts: smaller text, any height, no axis titles."""
    small = go.Figure(figure)
    has_legend = bool(small.layout.showlegend) and small.layout.legend.orientation == "h"
    small.update_layout(
        font_size=_SMALL_PX,
        margin={"l": 8, "r": 12, "t": 36 if has_legend else 8, "b": 8},
        legend_font_size=_SMALL_PX,
        height=None,
    )
    if not has_legend:  # a legend beside the chart goes to the edge, to save room
        small.update_layout(legend={"x": 1, "xanchor": "right", "bgcolor": "rgba(0, 0, 0, 0)"})
    small.for_each_trace(_shorten_labels, selector={"type": "pie"})
    small.update_traces(domain={"x": [0.0, 0.38]}, selector={"type": "pie"})
    small.update_traces(textfont_size=_SMALL_PX, selector={"type": "bar"})
    small.for_each_annotation(
        lambda each: each.update(font_size=_SMALL_PX, text=_shorten_number(each.text))
    )
    small.update_xaxes(title=None)
    if "scatter" in {trace.type for trace in small.data}:
        small.update_xaxes(nticks=4)  # a time label takes a quarter of the width
    small.update_yaxes(title=None)
    return small


def _shorten_labels(pie: go.Pie) -> None:
    """Move the counts into the hover text: in the labels they would shrink the pie."""
    pie.customdata = pie.labels
    pie.hovertemplate = "%{customdata}<extra></extra>"
    pie.labels = [re.sub(r"</b> .* · ", "</b> ", label) for label in pie.labels]


def _shorten_number(text: str) -> str:
    """Shorten a number in a narrow cell to thousands; the hover text shows it in full."""
    if not re.fullmatch(r"<b>[\d,]{5,}</b>", text):
        return text
    count = int(re.sub(r"\D", "", text))
    for least, unit, digits in ((999_500, "M", 1), (9_950, "k", 0), (1_000, "k", 1)):
        if count >= least:
            return f"<b>{count / (1e6 if unit == 'M' else 1e3):.{digits}f}{unit}</b>"
    return text
