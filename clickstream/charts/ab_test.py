"""The arms of an A/B test compared: reactions per 100 page views."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.charts.chart import GridChart, View
from clickstream.events import EVENT_TYPES, REACTIONS


class AbTest(GridChart):
    """Columns `variant`, `event_type` and `count` of the events of an A/B test.

    Arms are sorted by name, and each has every event type. Without a test the chart is omitted: the
    advice to produce some events would be wrong.
    """

    name = "ab-test"
    kind = "grouped bars"
    title = "What the arms of the A/B test do"
    fields = ("variant", "event_type")
    values = ((), EVENT_TYPES)
    # Dirty data also has variants, which are not arms.
    only = ("scenario", "ab-test")
    is_optional = True

    def figure(self, frame: pd.DataFrame, view: View) -> go.Figure:
        """Draw the rate of each reaction; an arm without a view has no rate and no bars."""
        grid = self.pivot(frame)
        grid = grid[grid["page_view"] > 0]
        if grid.empty:
            return self.empty(view)
        views, counts = grid["page_view"], grid[list(REACTIONS)]
        shares = counts.mul(100).div(views, axis=0)
        by_arm = ", ".join(f"{arm} {count:,}" for arm, count in views.items())
        figure = theme.figure(_difference(counts, views), f"views: {by_arm}; {view.window}")
        for slot, arm in enumerate(shares.index):
            figure.add_bar(
                x=list(shares.columns),
                y=shares.loc[arm],
                name=f"arm {arm}",
                text=[f"{share:.1f}" for share in shares.loc[arm]],
                textfont={"size": theme.TEXT_PX, "color": theme.INK},
                textangle=0,
                marker=theme.marker(slot, theme.ARM_COLOURS),
                customdata=counts.loc[arm],
                hovertemplate=f"{arm}, %{{x}}: %{{customdata:,}} in "
                f"{theme.counted(views[arm], 'view')}<extra></extra>",
                **theme.OUTSIDE,
            )
        most = max(1.0, shares.to_numpy().max() * 1.12)
        figure.update_yaxes(title="per 100 page views", range=[0, most], nticks=6, tickformat="~g")
        theme.legend_above(figure)
        return figure


def _difference(counts: pd.DataFrame, views: pd.Series) -> str:
    """Name the reaction with the most significant difference; say if it may be chance."""
    seen = []
    for reaction in counts.columns:
        share = (counts[reaction] / views).sort_values(ascending=False, kind="stable")
        high, low = share.index[0], share.index[-1]
        # Assumes independent reactions: the variance of a count is the count.
        error = (share[high] / views[high] + share[low] / views[low]) ** 0.5
        sigmas = (share[high] - share[low]) / error if error else 0.0
        seen.append((sigmas, counts[reaction].sum(), reaction, high, low, share))
    sigmas, _, reaction, high, low, share = max(seen, key=lambda each: each[:2])
    title = f"{high} has {100 * share[high]:.1f} {reaction}s per 100 views"
    if len(views) == 1:
        return title
    title += f", {low} {100 * share[low]:.1f}"
    # The largest of three differences exceeds 2.4 by chance once in twenty cases.
    return title if sigmas > 2.4 else f"{title}: may be chance"
