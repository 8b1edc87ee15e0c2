"""README and docs: short enough to read, without dead links, and true to the code."""

import re
from pathlib import Path

from scripts import commands

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ELSEWHERE = [ROOT / "CONTRIBUTING.md", ROOT / "conf" / "README.md", ROOT / "notebooks/PRESENTER.md"]


def test_the_front_page_is_short() -> None:
    """At most 150 lines and 1,400 words."""
    text = (ROOT / "README.md").read_text()

    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1_400


def test_every_link_leads_somewhere() -> None:
    """To a file that is there."""
    dead = [
        f"{page.name}: {link}"
        for page in [*PAGES, *ELSEWHERE]
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
        if not link.startswith("http") and not (page.parent / link).exists()
    ]
    assert dead == []


def test_the_front_page_links_every_page() -> None:
    """And each by its own name."""
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", (ROOT / "README.md").read_text()))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")}


def test_every_file_that_a_page_names_is_there() -> None:
    """Paths in backquotes, of the library, tests and scripts."""
    paths = re.compile(r"`((?:clickstream|tests|scripts|notebooks|benchmarks|conf)/[\w./-]+)`")
    missing = [
        f"{page.name}: {path}"
        for page in [*PAGES, *ELSEWHERE]
        for path in paths.findall(page.read_text())
        if not (ROOT / path).exists() and path not in ("conf/kafka.json", "conf/opensearch.json")
    ]
    assert missing == []


def test_the_commands_page_is_what_help_prints() -> None:
    """`make docs` writes it anew."""
    assert commands.PAGE.read_text() == commands.page()


def test_the_settings_page_names_every_variable() -> None:
    """Those that the library, the scripts or the Makefile read, and no other."""
    files = [*(ROOT / "clickstream").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]
    code = "".join(path.read_text() for path in [*files, ROOT / "Makefile"])
    read = set(re.findall(r"\bCLICKSTREAM_[A-Z]+(?:_[A-Z]+)*\b", code))
    page = (ROOT / "docs" / "settings.md").read_text()
    named = set(re.findall(r"`(CLICKSTREAM_[A-Z]+(?:_[A-Z]+)*)", page))
    one_value = {"CLICKSTREAM_KAFKA", "CLICKSTREAM_OPENSEARCH"}

    assert read - named == {"CLICKSTREAM_OPTIONS"}, "for the command's own child processes"
    assert named - read <= one_value
