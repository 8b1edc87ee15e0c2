"""A plotly figure that moves, and may be shown again, made anew or reloaded without harm.

`plotly`'s own `FigureWidget` freezes when its cell is run again, and every new one brings
5 MB of JavaScript with it. Here the plotly.js of the installed package is the state of one
widget that all charts of a kernel share: it reaches a page once, as widgets do, and a change
is one JSON string, drawn by `Plotly.react`.
"""

from __future__ import annotations

from pathlib import Path

import anywidget
import plotly.graph_objects as go
import traitlets
from ipywidgets import widget_serialization
from plotly.offline import get_plotlyjs, get_plotlyjs_version


class _Library(anywidget.AnyWidget):
    """Holds plotly.js, and shows nothing."""

    _esm = "export default { render() {} }"
    source = traitlets.Bytes().tag(sync=True)


_libraries: list[_Library] = []


def _library() -> _Library:
    """Give this kernel's, or a new one if all widgets were closed."""
    if not _libraries or _libraries[-1].comm is None:
        _libraries.append(_Library(source=get_plotlyjs().encode()))
    return _libraries[-1]


class LiveChart(anywidget.AnyWidget):
    """A figure in a cell, its title as a line of text above; `show` changes it in every view.

    Zoom, and what was switched off in the legend, stay while the data move. Any thread may
    call `show`. Works without a network.

    Args:
        figure: what is seen first; by default an empty chart.
        height: as CSS takes it: `300px`, `30vh`; as wide as the cell.
    """

    _esm = Path(__file__).with_suffix(".js")
    _version = traitlets.Unicode(get_plotlyjs_version()).tag(sync=True)
    _figure = traitlets.Unicode("{}").tag(sync=True)
    _library = traitlets.Instance(_Library).tag(sync=True, **widget_serialization)
    height = traitlets.Unicode("300px").tag(sync=True)

    def __init__(self, figure: go.Figure | None = None, *, height: str = "300px") -> None:
        super().__init__(height=height, _library=_library())
        if figure is not None:
            self.show(figure)

    def show(self, figure: go.Figure) -> bool:
        """Draw this figure from now on; return whether it differs from the one before."""
        before = self._figure
        self._figure = figure.to_json()
        return bool(self._figure != before)
