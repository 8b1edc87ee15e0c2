"""The look of the charts: one template, its colours, and readable text on each of them.

Charts must be readable from the back of a room: text of at least 18 pixels, dark on light, and 560
pixels for the whole chart. A page with a dark theme inverts a chart's brightness, not its hues. The
colours have a contrast of 3 on white and on the dark page, and people with colour blindness can
distinguish those of one list in both. Patterns and labels support every colour.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape
from textwrap import wrap
from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

INK: Final = "#1b1f24"
PAPER: Final = "#ffffff"
BLACK: Final = "#000000"
GRID: Final = "#d5dae0"
COLOURS: Final = (
    "#0072b2", "#a39200", "#008c58", "#c276d8", "#6472ff", "#b55703", "#79999f", "#a9478d",
)  # fmt: skip
"""The first is that of all traffic; event types have the others."""
SCENARIO_COLOURS: Final = ("#b32537", "#2723d6", "#3c5b02", "#766372", "#5d2500", "#020070")
"""Darker than all of `COLOURS`."""
ARM_COLOURS: Final = ("#3c5b02", "#8c8c8c")
"""For the arms of an A/B test."""
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
_TITLE_PX: Final = 22
_TITLE_CHARS: Final = 56
"""Characters of a title that fit into a chart of 760 pixels, as beside an open file browser."""
_SUBTITLE_CHARS: Final = 76
_VALUE_CHARS: Final = 24
"""A longer value is cut, so that it leaves room for the chart beside it."""
_LINE_PX: Final = 30
_BARS: Final = 5
"""Horizontal bars of a small chart."""
_MARK_PX: Final = 13
_MARKS_LOWER: Final = 0.7
"""Of a small chart: the height of its rows of names, as a share of that of a large one."""

_AXIS: Final = {
    "automargin": True,
    "gridcolor": GRID,
    "title": {"standoff": 14, "font": {"size": TEXT_PX}},
}
TEMPLATE: Final = go.layout.Template(
    layout={
        "font": {"family": "Helvetica, Arial, sans-serif", "size": TEXT_PX, "color": INK},
        "title": {
            "font": {"size": _TITLE_PX},
            **{"x": 0, "xref": "container", "y": 1, "yref": "container", "yanchor": "top"},
            "pad": {"l": 16, "t": 22},
        },
        "paper_bgcolor": PAPER,
        "plot_bgcolor": "rgba(0, 0, 0, 0)",
        "height": HEIGHT_PX,
        "margin": {"l": 24, "r": 24, "t": 96, "b": 24},
        "colorway": COLOURS,
        "showlegend": False,
        "legend": {"bgcolor": "rgba(0, 0, 0, 0)"},
        "hoverlabel": {"font": {"size": TEXT_PX}},
        "xaxis": _AXIS | {"linecolor": INK, "ticks": "outside"},
        "yaxis": _AXIS | {"zeroline": False, "tickformat": ",d", "ticklabelstandoff": 8},
    }
)

OUTSIDE: Final = {"textposition": "outside", "constraintext": "none", "cliponaxis": False}
"""For numbers beside bars: otherwise plotly shrinks them to the bar width or cuts them."""


def colour(place: int, colours: tuple[str, ...] = COLOURS) -> str:
    """Return the colour of a place; colours repeat after the last one, with another `pattern`."""
    return colours[place % len(colours)]


def pattern(place: int, colours: tuple[str, ...] = COLOURS) -> str:
    """Return the pattern of a place, as a second cue besides the colour."""
    return PATTERNS[(place + place // len(colours)) % len(PATTERNS)]


def marker(place: int, colours: tuple[str, ...] = COLOURS) -> dict[str, Any]:
    """Return plotly's settings for bars with the colour and the pattern of a place."""
    return {"color": colour(place, colours), "pattern": overlay(pattern(place, colours))}


def scenario_marker(place: int) -> dict[str, Any]:
    """Return the same for a scenario: a colour of its own, and never without a pattern."""
    again = place // len(SCENARIO_COLOURS)
    shape = PATTERNS[1 + (place + again) % (len(PATTERNS) - 1)]
    return {"color": colour(place, SCENARIO_COLOURS), "pattern": overlay(shape)}


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
    """Start a chart: the title states the result, the subtitle names the data.

    Both are wrapped to fit a narrow chart; the chart's top margin has room for the lines.
    """
    titles, subtitles = wrap(title, _TITLE_CHARS), wrap(subtitle, _SUBTITLE_CHARS)
    text = f"<b>{'<br>'.join(titles)}</b>"
    if subtitles:
        text += f'<br><span style="font-size:{TEXT_PX}px">{"<br>".join(subtitles)}</span>'
    # JupyterLab ignores the height of a template.
    drawn = go.Figure(layout={"template": TEMPLATE, "title": {"text": text}, "height": HEIGHT_PX})
    if more_px := _LINE_PX * (len(titles) - 1 + max(0, len(subtitles) - 1)):
        drawn.update_layout(margin_t=top_px(drawn) + more_px)
    return drawn


def empty(title: str, subtitle: str = "") -> go.Figure:
    """Start a chart without data: the title says why, and no axis shows."""
    return figure(title, subtitle).update_layout(xaxis_visible=False, yaxis_visible=False)


def top_px(figure: go.Figure) -> int:
    """Return the height of a chart's top margin."""
    return int(figure.layout.margin.t or TEMPLATE.layout.margin.t)


def legend_above(figure: go.Figure, *, columns: int = 3) -> None:
    """Put the legend of all traces between title and chart.

    Args:
        figure: a chart with its traces.
        columns: the names that fit beside each other in a narrow chart.
    """
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "traceorder": "normal"}
    lines = -(-len(figure.data) // columns)
    margin = {"t": top_px(figure) + 14 + _LINE_PX * lines}
    figure.update_layout(showlegend=True, legend=legend, margin=margin)


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Make every value of a table plain text for plotly, which reads tags in labels.

    Values come from outside: long ones are cut, and control characters replaced.
    """
    texts = [name for name in frame.columns if name not in ("timestamp", "count")]
    return frame.assign(**{name: frame[name].map(value_text) for name in texts})


@lru_cache(1_000)
def value_text(value: str) -> str:
    """Make a value plain text for plotly; a long one is cut."""
    cut = value if len(value) <= _VALUE_CHARS else f"{value[: _VALUE_CHARS - 2]} …"
    shown = (each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in cut)
    return escape("".join(shown), quote=False)


def counted(count: int, noun: str = "event") -> str:
    """Format a number with its noun, in the singular or plural."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def clock(*, with_seconds: bool) -> str:
    """Return the format of a time of day."""
    return "%H:%M:%S" if with_seconds else "%H:%M"


def compact(figure: go.Figure) -> go.Figure:
    """Adapt a chart to a screen with other charts: any size, no axis titles, a short title.

    Its text has no size of its own: `live_chart.js` fits it to the width, and draws the legend
    itself, because plotly's would hide names in a low chart.
    """
    small = go.Figure(figure)
    # The first clause fits above a chart that is 270 pixels wide.
    clause = re.split(r"</b>|; | \(", figure.layout.title.text.replace("<br>", " "))[0]
    if small.layout.yaxis.type == "category":
        _keep_first_bars(small)
    small.update_layout(
        title={"text": f"{clause}</b>"},
        font_size=None,
        margin={
            "l": 8,
            "r": round(0.75 * (figure.layout.margin.r or TEMPLATE.layout.margin.r)),
            "t": 8,
            "b": 8,
        },
        legend_font_size=None,
        height=None,
    )
    small.for_each_trace(_shorten_labels, selector={"type": "pie"})
    small.update_traces(textfont_size=None, selector={"type": "bar"})
    small.for_each_annotation(
        lambda each: each.update(font_size=None, text=_shorten_number(each.text))
    )
    _lower_marks(small)
    small.update_xaxes(title=None)
    if "scatter" in {trace.type for trace in small.data}:
        # A time label takes a quarter of the width, and half of the last one is in the margin.
        small.update_xaxes(nticks=4)
        small.update_yaxes(nticks=4)
        small.update_layout(margin_r=36)
    small.update_yaxes(title=None)
    return small


def _keep_first_bars(ranking: go.Figure) -> None:
    """Keep the first bars, without a legend: there is no room, and the volume beside has one."""
    first = ranking.layout.yaxis.categoryarray[:_BARS]
    for bars in ranking.data:
        kept = [place for place, name in enumerate(bars.y) if name in first]
        bars.update({each: [bars[each][place] for place in kept] for each in ("x", "y", "text")})
    ranking.update_layout(showlegend=False, yaxis_range=[_BARS - 0.5, -0.5])


def _lower_marks(small: go.Figure) -> None:
    """Set the names of marks, the only annotations with a line, smaller and closer."""
    lifts_px = []
    for each in small.layout.annotations:
        if each.showarrow is not False:
            each.update(font_size=_MARK_PX, ax=_MARKS_LOWER * each.ax, ay=_MARKS_LOWER * each.ay)
            lifts_px.append(-each.ay)
    if lifts_px:
        small.update_layout(margin_t=8 + max(lifts_px) + _MARK_PX / 2)


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
