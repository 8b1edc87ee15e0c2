"""All charts in display order; a new chart is one line here."""

from __future__ import annotations

from typing import Final

from clickstream.charts.ab_test import AbTest
from clickstream.charts.chart import Chart
from clickstream.charts.device_category import DeviceCategory, DeviceCategoryTable
from clickstream.charts.event_types import EventTypes
from clickstream.charts.top_readers import TopReaders
from clickstream.charts.volume import Volume

CHARTS: Final[tuple[Chart, ...]] = (
    EventTypes(),
    Volume(),
    TopReaders(),
    DeviceCategory(),
    DeviceCategoryTable(),
    AbTest(),
)
