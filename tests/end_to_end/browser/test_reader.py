"""A person as a reader of the site, in a real JupyterLab: in the room, and on a page of its own."""

import pytest
from playwright.sync_api import Locator, expect

from benchmarks import screen, stage

pytestmark = pytest.mark.slow


@pytest.fixture
def last_cell() -> str:
    """The page of notebook 02."""
    return "from clickstream.widgets.reader_page import ReaderPage\n\nReaderPage(demo)"


def log_in(reader: Locator, name: str) -> None:
    """Type a name, and press Enter."""
    reader.get_by_label("name").fill(name)
    reader.get_by_label("name").press("Enter")


@pytest.mark.timeout(240)
def test_a_person_reads_the_news_and_sees_where_the_clicks_are(notebook: screen.Notebook) -> None:
    """Log in, open, like and log out; each event is read back from Kafka, then searchable."""
    page = notebook.page
    room, _ = stage.first_chart(notebook)
    drawer = room.output.locator(".clickstream-drawer")
    reader = drawer.locator(".clickstream-reader")
    headlines, own = reader.locator(".headlines button:has(.about)"), reader.locator("li")
    room.button("Be a reader").click()
    log_in(reader, "ada")
    expect(reader.locator(".message")).to_contain_text("press Start first")
    room.button("Start").click()
    room.until_past_is_indexed()
    room.button("Be a reader").click()
    expect(headlines).to_have_count(8)
    assert headlines.first.is_disabled()

    log_in(reader, "ada")
    expect(reader.locator("h4")).to_have_text("You are reader-ada")
    expect(own).to_have_count(2)
    expect(own.first).to_contain_text("searchable")
    expect(own.first).to_be_in_viewport()
    title = headlines.nth(2).inner_text().splitlines()[0]
    headlines.nth(2).click()
    expect(own).to_have_count(3)
    expect(own.first).to_contain_text("searchable")
    expect(own.first).to_contain_text(f"reads {title}")
    expect(own.first).to_contain_text("partition ")
    expect(own.first).to_contain_text(", offset ")
    expect(reader.locator(".title")).to_have_text(title)
    reader.get_by_role("button", name="Like").click()
    expect(reader.get_by_role("button", name="Like")).to_be_disabled()
    expect(own).to_have_count(4)
    expect(reader.locator(".standing")).to_contain_text("reader-ada · 4 events · place ")
    assert reader.evaluate("reader => reader.scrollWidth <= reader.clientWidth")

    notebook.run_cell(stage.LAST)
    other = notebook.panel.locator(".jp-CodeCell").last.locator(".clickstream-reader")
    log_in(other, "ada")
    expect(other.locator(".message")).to_contain_text("reader-ada is logged in on another page")
    log_in(other, "grace")
    other.locator(".headlines button:has(.about)").first.click()
    expect(other.locator("li")).to_have_count(3)
    expect(other.locator("li").first).to_contain_text(", offset ")
    other.get_by_role("button", name="Log out").click()
    expect(other.locator(".message")).to_have_text("reader-grace is logged out.")

    room.output.scroll_into_view_if_needed()
    reader.get_by_role("button", name="Log out").click()
    expect(own.first).to_contain_text("logs out")
    expect(own.first).to_contain_text("searchable")
    expect(reader.locator("h4")).to_have_text("Be a reader")
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    room.button("Stop").click()
    room.until(lambda: room.status().startswith("Stopped"))
    assert notebook.errors == []
