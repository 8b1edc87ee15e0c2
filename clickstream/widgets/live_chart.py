"""A live plotly figure that survives a second display, a new instance and a page reload.

plotly's `FigureWidget` freezes when its cell is run again, and each new one loads 5 MB of
JavaScript. Here one widget holds the plotly.js of the installed package, and all charts of a kernel
share it: a page loads it once. Each change is one JSON string, drawn by `Plotly.react`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import plotly.graph_objects as go
import traitlets
from ipywidgets import widget_serialization
from plotly.offline import get_plotlyjs, get_plotlyjs_version


class _Library(anywidget.AnyWidget):
    """Holds plotly.js and displays nothing."""

    _esm = "export default { render() {} }"
    source = traitlets.Bytes().tag(sync=True)


_libraries: list[_Library] = []


def _library() -> _Library:
    """Return the library of this kernel, or a new one if all widgets were closed."""
    if not _libraries or _libraries[-1].comm is None:
        _libraries.append(_Library(source=get_plotlyjs().encode()))
    return _libraries[-1]


class LiveChart(anywidget.AnyWidget):
    """A figure in a cell, with its title and legend as text above; `show` updates every view.

    Updates keep the zoom and the series that are hidden in the legend. Any thread may call `show`.
    It works without a network.

    Args:
        figure: the first figure; by default an empty chart.
        height: a CSS height of the plot, such as `300px`, or `100%` to fill the surrounding box.
    """

    _esm = Path(__file__).with_suffix(".js")
    _version = traitlets.Unicode(get_plotlyjs_version()).tag(sync=True)
    _figure = traitlets.Unicode("{}").tag(sync=True)
    _library = traitlets.Instance(_Library).tag(sync=True, **widget_serialization)
    height = traitlets.Unicode("300px").tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    """A line of text below the chart; empty for none."""

    def __init__(self, figure: go.Figure | None = None, *, height: str = "300px") -> None:
        super().__init__(height=height, _library=_library())
        if figure is not None:
            self.show(figure)

    def on_point(self, call: Callable[[Any], object]) -> None:
        """Call this when a viewer clicks on a point: with plotly's `x`, `y` and `label` of it."""
        self.on_msg(lambda view, content, buffers: call(content))

    def show(self, figure: go.Figure) -> bool:
        """Show this figure; return whether it differs from the previous one."""
        before = self._figure
        self._figure = figure.to_json()
        return bool(self._figure != before)
