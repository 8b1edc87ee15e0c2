"""A ranking of the most active readers; readers that a scenario added are highlighted."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd
import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.charts.chart import Chart, Question, View, counts, scenario_order, terms

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

    def figure(self, frame: pd.DataFrame, view: View) -> go.Figure:
        """Draw one bar per row, the highest count on top.

        A reader that a scenario added has the scenario's name and colour; all other bars look the
        same. The chart says so if counts may miss events.
        """
        window = view.mixed_window
        if frame.empty:
            return self.empty(window)
        first, last = frame.iloc[0], frame.iloc[-1]
        title = f"{first['user_id']} leads with {theme.counted(first['count'])}"
        title += f"; number {len(frame)} has {last['count']:,}" if len(frame) > 1 else ""
        if view.count_error:
            window = f"a count may miss up to {theme.counted(view.count_error)}; {window}"
        order = ["", *scenario_order(view.scenarios, set(frame["scenario"]) - {""})]
        slots = [order.index(scenario) for scenario in frame["scenario"]]
        figure = theme.figure(title, window)
        figure.add_bar(
            x=frame["count"],
            y=frame["user_id"],
            orientation="h",
            text=[
                f"{count:,}, {scenario}" if scenario else f"{count:,}"
                for count, scenario in zip(frame["count"], frame["scenario"], strict=True)
            ],
            textfont={"size": theme.TEXT_PX, "color": theme.INK},
            marker={
                "color": [theme.colour(slot) for slot in slots],
                "pattern": theme.overlay([theme.pattern(slot) for slot in slots]),
            },
            hovertemplate="%{y}, events: %{x:,}<extra></extra>",
            **theme.OUTSIDE,
        )
        # Room for six bars, so that one or two do not become blocks.
        places = [max(len(frame), 6) - 0.5, -0.5]
        figure.update_yaxes(range=places, type="category", dtick=1)
        # Every bar has its number, so there is no axis; 20 bars fit into the usual height.
        room = 1.36 if any(slots) else 1.12
        figure.update_xaxes(visible=False, range=[0, int(first["count"]) * room])
        figure.update_layout(height=max(theme.HEIGHT_PX, 120 + 22 * len(frame)))
        return figure
