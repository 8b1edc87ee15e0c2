"""A real Chromium: skipped without one, unless one is required."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, expect

from benchmarks import screen, stage
from clickstream.kafka import topics
from clickstream.opensearch import client, index
from clickstream.settings import Settings

expect.set_options(timeout=30_000)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The installed Chromium."""
    found = screen.chromium()
    if found is None:
        if os.environ.get("CLICKSTREAM_REQUIRE_BROWSER"):
            pytest.fail("CLICKSTREAM_REQUIRE_BROWSER is set and there is no chromium")
        pytest.skip("no chromium on this machine; set CLICKSTREAM_REQUIRE_BROWSER=1 to insist")
    return found


@pytest.fixture
def page(chromium: str) -> Iterator[Page]:
    """A window of 1280 by 720, like a projector."""
    with screen.window(chromium) as page:
        yield page


@pytest.fixture
def last_cell() -> str:
    """The source of the last cell of notebook 06; a module may override it."""
    return stage.SLEEP


@pytest.fixture
def notebook(
    page: Page, chromium: str, settings: Settings, tmp_path: Path, last_cell: str
) -> Iterator[screen.Notebook]:
    """Notebook 06, with one more cell at its end."""
    notebooks = stage.with_a_cell_more(tmp_path / "notebooks", last_cell)
    with screen.lab(tmp_path / "work", stage.NOTEBOOK, notebooks=notebooks) as address:
        yield screen.Notebook(page, address)
    topics.delete_topics(settings.kafka)
    index.delete(client.connect(settings.opensearch), settings.opensearch.index)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the content of the window to the report of a failed browser test."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.when == "call" and report.failed and page is not None:
        try:
            shown = screen.seen(page)
        except Error as error:
            shown = f"cannot be asked: {error}"
        report.sections.append(("the window", shown))
    return report
