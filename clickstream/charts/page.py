"""One HTML page of all charts, which opens without a network."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 18px/1.5 Helvetica, Arial, sans-serif; background: light-dark(#fff, #111);
       color: light-dark(#1b1f24, #e4e0db); margin: 1rem; }}
h1 {{ font-size: 1.4rem; margin: 0 0 1rem; }}
main {{ display: grid; gap: 1rem;
       grid-template-columns: repeat(auto-fit, minmax(min(100%, 760px), 1fr)); }}
.js-plotly-plot .main-svg {{ background: transparent !important; }}
@media (prefers-color-scheme: dark) {{
  .js-plotly-plot {{ filter: invert(1) hue-rotate(180deg); }}
}}
</style>
<script>{plotly}</script>
</head>
<body>
<h1>{title}</h1>
<main>
{charts}
</main>
</body>
</html>
"""


def page(title: str, figures: Iterable[go.Figure]) -> str:
    """Write the charts side by side or below each other, as wide as the window.

    The page contains plotly.js once and follows the light or dark theme of the browser.
    """
    config = {"responsive": True, "displaylogo": False}
    charts = "\n".join(
        figure.to_html(full_html=False, include_plotlyjs=False, config=config) for figure in figures
    )
    return _PAGE.format(title=escape(title), plotly=get_plotlyjs(), charts=charts)
