"""Sections by device: as a heatmap, and as a table."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.charts.chart import GridChart, Point, View
from clickstream.events import CATEGORIES, DEVICE_TYPES


class DeviceCategory(GridChart):
    """Columns `device_type`, `article_category` and `count`."""

    name = "device-category"
    kind = "heatmap"
    title = "Which device reads what"
    fields = ("device_type", "article_category")
    values = (DEVICE_TYPES, CATEGORIES)

    def touched(self, point: Point) -> dict[str, str]:
        """Return device and section of a cell."""
        return dict(zip(self.fields, (point["x"], point["y"]), strict=True))

    def figure(self, frame: pd.DataFrame, view: View) -> go.Figure:
        """Draw one cell per row of the table, with its count: a section is a row.

        The colour is the share of the section's events, so that a section with few readers shows
        its devices, too.
        """
        if int(frame["count"].sum()) == 0:
            return self.empty(view)
        device, section = self.fields
        grid = self.pivot(frame).T
        top = frame.loc[frame["count"].idxmax()]
        seen = f"{top[section]} on {top[device]}; {theme.counted(top['count'])}"
        figure = theme.figure(f"Most reading: {seen}", view.mixed_window)
        shares = grid.div(grid.sum(axis=1).clip(lower=1), axis=0)
        most = float(shares.to_numpy().max())
        figure.add_heatmap(
            z=shares.to_numpy(),
            customdata=grid.to_numpy(),
            x=list(grid.columns),
            y=list(grid.index),
            colorscale=list(theme.SCALE),
            # Set both ends: plotly ignores a single one, and the text colour depends on the shade.
            **{"zmin": 0, "zmax": most, "showscale": False, "xgap": 4, "ygap": 4},
            hovertemplate="%{x}: %{customdata:,}, %{z:.0%} of %{y}<extra></extra>",
        )
        for row in grid.index:
            for column in grid.columns:
                count, share = int(grid.loc[row, column]), shares.loc[row, column] / most
                font = {"size": 22, "color": theme.ink_on(theme.shade(share))}
                text = f"<b>{count:,}</b>"
                figure.add_annotation(x=column, y=row, text=text, showarrow=False, font=font)
        figure.update_xaxes(
            side="bottom", showgrid=False, ticks="", tickangle=0, title=grid.columns.name
        )
        downwards = [len(grid) - 0.5, -0.5]
        figure.update_yaxes(range=downwards, showgrid=False, ticks="", title=grid.index.name)
        return figure


class DeviceCategoryTable(DeviceCategory):
    """The same counts as a table, with totals of rows and columns."""

    name = "device-category-table"
    kind = "table"
    title = "Which device reads what, in numbers"

    @property
    def asked_as(self) -> str:
        """The aggregation of the heatmap: both show the same counts."""
        return DeviceCategory.name

    def figure(self, frame: pd.DataFrame, view: View) -> go.Figure:
        """Draw the grid with its totals."""
        total = int(frame["count"].sum())
        if total == 0:
            return self.empty(view)
        grid = self.pivot(frame).T
        grid["total"] = grid.sum(axis=1)
        grid.loc["total"] = grid.sum(axis=0)
        names = [f"<b>{name}</b>" for name in grid.index]
        # Every text gets a tag, because plotly places tagged and plain texts at different heights.
        columns = [
            [
                f"<b>{count:,}</b>" if "total" in (row, column) else f"<span>{count:,}</span>"
                for row, count in grid[column].items()
            ]
            for column in grid.columns
        ]
        title = f"{theme.counted(total)} about an article, by device and section"
        figure = theme.figure(title, view.mixed_window)
        stripes = [theme.PAPER if row % 2 else theme.SCALE[0] for row in range(len(grid))]
        size, row_px = (20, 46) if len(grid) <= 8 else (theme.TEXT_PX, 37)
        every = {"align": ["left", *["right"] * len(grid.columns)], "height": row_px - 2}
        widest = max(grid.index, key=len)
        figure.add_table(
            columnwidth=[max(8, len(column)) for column in (widest, *grid.columns)],
            header={
                **every,
                "values": ["", *(f"<b>{name}</b>" for name in grid.columns)],
                "fill": {"color": theme.SCALE[4]},
                "font": {"color": theme.PAPER, "size": theme.TEXT_PX},
            },
            cells={
                **every,
                "values": [names, *columns],
                "fill": {"color": [stripes]},
                "font": {"color": theme.INK, "size": size},
            },
        )
        figure.update_layout(height=theme.top_px(figure) + 24 + row_px * (len(grid) + 1))
        return figure
