"""The share of each event type, as a pie chart."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.charts.chart import ROOM, Chart, Point, Question, View, counts, terms
from clickstream.events import EVENT_TYPES


class EventTypes(Chart):
    """Columns `event_type` and `count`, in the model's order, without zeros."""

    name = "event-types"
    kind = "pie"
    title = "What readers do"
    fields = ("event_type",)
    values = (EVENT_TYPES,)

    def aggregation(self, question: Question) -> dict[str, Any]:
        """Count by type."""
        return terms("event_type", ROOM)

    def frame(self, answer: dict[str, Any], question: Question) -> pd.DataFrame:
        """Make one row per type that was found."""
        found = {bucket["key"]: bucket["doc_count"] for bucket in answer["buckets"]}
        names = [name for name in self.order(0, found) if name in found]
        return counts(event_type=names, count=[found[name] for name in names])

    def touched(self, point: Point) -> dict[str, str]:
        """Return the type of a slice, the part of its label in bold."""
        return {"event_type": re.findall("<b>(.*?)</b>", point["label"])[0]}

    def figure(self, frame: pd.DataFrame, view: View) -> go.Figure:
        """Draw one slice per row."""
        total = int(frame["count"].sum())
        if total == 0:
            return self.empty(view)
        top = frame.loc[frame["count"].idxmax()]
        order = self.order(0, frame["event_type"])
        slots = [1 + order.index(value) for value in frame["event_type"]]
        figure = theme.figure(
            f"{top['event_type']} is {top['count'] / total:.0%} of {theme.counted(total)}",
            view.mixed_window,
        )
        figure.add_pie(
            labels=[
                f"<b>{value}</b>   {count:,} · {count / total:.1%}"
                for value, count in zip(frame["event_type"], frame["count"], strict=True)
            ],
            values=frame["count"],
            sort=False,
            direction="clockwise",
            hole=0.35,
            # Labels are in the legend, because they would overlap beside small slices.
            textinfo="none",
            marker={
                "colors": [theme.colour(slot) for slot in slots],
                "pattern": theme.overlay([theme.pattern(slot) for slot in slots]),
                "line": {"color": theme.PAPER, "width": 2},
            },
            domain={"x": [0.0, 0.52]},
            hovertemplate="%{label}<extra></extra>",
        )
        legend = {"x": 0.58, "y": 0.5, "yanchor": "middle", "font": {"size": 20}}
        figure.update_layout(showlegend=True, legend=legend)
        return figure
