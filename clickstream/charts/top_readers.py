"""A ranking of the most active readers; readers that a scenario added are highlighted."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.charts.chart import Chart, Point, Question, View, counts, scenario_order, terms

TOP: Final = 10
"""Default number of readers."""


class TopReaders(Chart):
    """Columns `user_id`, `count` and `scenario`, highest count first.

    The scenario is the one that added most of the reader's events, or empty.
    """

    name = "top-users"
    kind = "bar"
    title = "The most active readers"
    fields = ("user_id", "scenario")

    def aggregation(self, question: Question) -> dict[str, Any]:
        """Count by reader, and by scenario within each."""
        # Only the scenario with most of a reader's events is needed.
        return terms("user_id", question.top, question.what_scenarios_added(1))

    def frame(self, answer: dict[str, Any], question: Question) -> pd.DataFrame:
        """Make one row per reader."""
        scenarios = []
        for bucket in answer["buckets"]:
            most = bucket["scenario"]["buckets"]
            is_added = bool(most) and 2 * most[0]["doc_count"] > bucket["doc_count"]
            scenarios.append(most[0]["key"] if is_added else "")
        return counts(
            user_id=[bucket["key"] for bucket in answer["buckets"]],
            count=[bucket["doc_count"] for bucket in answer["buckets"]],
            scenario=scenarios,
        )

    def touched(self, point: Point) -> dict[str, str]:
        """Return the reader of a bar."""
        return {"user_id": point["y"]}

    def figure(self, frame: pd.DataFrame, view: View) -> go.Figure:
        """Draw one bar per row, the highest count on top.

        A reader that a scenario added has the scenario's colour, which a legend names; all other
        bars look the same. The chart says so if counts may miss events.
        """
        window = view.mixed_window
        if frame.empty:
            return self.empty(view)
        first, last = frame.iloc[0], frame.iloc[-1]
        title = f"{first['user_id']} leads with {theme.counted(first['count'])}"
        title += f"; number {len(frame)} has {last['count']:,}" if len(frame) > 1 else ""
        if view.count_error:
            window = f"a count may miss up to {theme.counted(view.count_error)}; {window}"
        order = scenario_order(view.scenarios, set(frame["scenario"]) - {""})
        looks = {"": theme.marker(0)} | {
            name: theme.scenario_marker(place) for place, name in enumerate(order)
        }
        figure = theme.figure(title, window)
        for scenario in [name for name in looks if name in set(frame["scenario"])]:
            bars = frame[frame["scenario"] == scenario]
            figure.add_bar(
                x=bars["count"],
                y=bars["user_id"],
                name=scenario or "normal traffic",
                orientation="h",
                text=[f"{count:,}" for count in bars["count"]],
                textfont={"size": theme.TEXT_PX, "color": theme.INK},
                marker=looks[scenario],
                hovertemplate="%{y}, events: %{x:,}<extra></extra>",
                **theme.OUTSIDE,
            )
        figure.update_layout(barmode="overlay")
        # Room for six bars, so that one or two do not become blocks.
        places = [max(len(frame), 6) - 0.5, -0.5]
        figure.update_yaxes(range=places, type="category", dtick=1, categoryarray=frame["user_id"])
        # Every bar has its number, so there is no axis; 20 bars fit into the usual height.
        figure.update_xaxes(visible=False, range=[0, int(first["count"])])
        # The number of the longest bar is in the margin.
        margin_px = 24 + theme.TEXT_PX * len(f"{first['count']:,}")
        figure.update_layout(height=max(theme.HEIGHT_PX, 120 + 22 * len(frame)), margin_r=margin_px)
        if any(frame["scenario"]):
            theme.legend_above(figure, columns=2)
        return figure
