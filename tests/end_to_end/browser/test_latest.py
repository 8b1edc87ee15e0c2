"""The newest events and the most read headlines of the control room, in a real JupyterLab."""

import re

import pytest
from playwright.sync_api import expect

from benchmarks import screen, stage
from clickstream.settings import Settings
from tests.end_to_end.browser.test_layout import show_files
from tests.support.by_id import send_raw

pytestmark = pytest.mark.slow

HOSTILE = b'<img src=x onerror="document.title=1"><b>bold</b>'
EVENT = re.compile(r"reader-[\w-]+ · (mobile|tablet|desktop) · [a-z]+")
HEADLINE = re.compile(r"\w.+?\s*[\d,]+\s+(new|×[\d,]+|±0 %|[+−]\d+ %)")


@pytest.mark.timeout(240)
def test_the_newest_events_move_and_five_headlines_are_compared(
    notebook: screen.Notebook, settings: Settings
) -> None:
    """Both are there after Start; a person's events are pinned; a hostile message is text."""
    page = notebook.page
    show_files(page, is_shown=False)
    room, _ = stage.first_chart(notebook)
    tail = room.output.locator(".clickstream-tail")
    lines, headlines = tail.locator("li:visible"), room.output.locator(".clickstream-read-now li")
    expect(tail).to_contain_text("No events yet.")
    room.button("Start").click()
    expect(headlines).to_have_count(5)
    for text in headlines.all_inner_texts():
        assert HEADLINE.fullmatch(text), text
    expect(lines).to_have_count(5)
    for text in lines.all_inner_texts():
        assert EVENT.match(text), text
    expect(tail.locator("h4")).to_have_text(
        re.compile(r"Newest events: 5 of \d+ a second"), use_inner_text=True
    )
    for _ in range(3):
        before = lines.all_inner_texts()
        room.until(lambda before=before: lines.all_inner_texts() != before)
    page.set_viewport_size({"width": 1920, "height": 1080})
    expect(lines).to_have_count(8)
    expect(tail.locator("h4")).to_contain_text("8 of")

    room.button("Be a reader").click()
    reader = room.output.locator(".clickstream-reader")
    reader.get_by_label("name").fill("ada")
    reader.get_by_label("name").press("Enter")
    expect(lines.first).to_contain_text("reader-ada · desktop · logs in")
    page.keyboard.press("Escape")
    ranked = room.output.get_by_text(re.compile("reader-ada · 2 events · place [0-9]"))
    expect(ranked.filter(visible=True)).to_have_count(1)

    room.choose_rate("1 /s")
    send_raw(settings, *[HOSTILE] * 8)
    expect(lines.filter(has_text='<img src=x onerror="document.title=1">').first).to_be_visible()
    assert tail.locator("img").count() == 0
    room.button("Stop").click()
    room.until(lambda: room.status().startswith("Stopped"))
    expect(lines).to_have_count(8)
    assert notebook.errors == []
