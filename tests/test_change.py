"""What CONTRIBUTING promises of a change: one or two files, and everything else follows.

Each test edits a copy of the library like a contributor, and checks the result from outside.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from clickstream import Settings, Simulator, index_topic
from tests.support.by_id import MONDAY_MS, send

ROOT = Path(__file__).parent.parent
Copy = Callable[..., Path]

LOOK = """
import json
from collections import Counter
from itertools import islice

from benchmarks.realism import sample, transitions
from clickstream import events
from clickstream.simulation import personas as habits
from clickstream.opensearch.mapping import EVENT_MAPPING
from clickstream.charts.registry import CHARTS
from clickstream.simulation.articles import DAY_MS
from clickstream.simulation.simulator import Simulator

MONDAY_MS = events.parse_timestamp("2026-01-05T00:00:00.000Z")
crowd = Simulator(seed=1, start_ms=MONDAY_MS, readers=3_000)
made = list(islice(crowd.events(), 40_000))
for event in made:
    assert events.decode(events.encode(event)) == event
shown = {chart.name: chart for chart in CHARTS}
personas = Counter(habits.persona_of(1, number) for number in range(3_000))
drawn = sample.draw(1, start_ms=MONDAY_MS, events=20_000)
table = transitions.count(drawn)
print(json.dumps({
    "types": Counter(event.event_type for event in made),
    "categories": Counter(event.article_category for event in made if event.article_category),
    "titles": [e.article_title for e in made if e.article_category == "travel"][:3],
    "personas": personas,
    "pie": shown["event-types"].order(0),
    "heatmap": shown["device-category"].order(1),
    "states": sorted(set(table["state"])),
    "expected": sorted(set(table.loc[table["expected"] > 0, "following"])),
    "worst": min(transitions.p_values(table).values()),
    "mapping": sorted(EVENT_MAPPING["properties"]),
}))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Copies the library and the reader statistics, with one text of a module replaced."""

    def edit(module: str, before: str, after: str, again: Path | None = None) -> Path:
        for name in () if again else ("clickstream", "benchmarks/realism"):
            shutil.copytree(
                ROOT / name,
                tmp_path / name,
                ignore=shutil.ignore_patterns("__pycache__"),
                dirs_exist_ok=True,
            )
        path = tmp_path / "clickstream" / f"{module}.py"
        text = path.read_text()
        assert text.count(before) == 1, before
        path.write_text(text.replace(before, after))
        return tmp_path

    return edit


def run(folder: Path, code: str = LOOK) -> "subprocess.CompletedProcess[str]":
    """Run code on the copy."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def look(folder: Path) -> dict[str, Any]:
    """The results of the copy."""
    done = run(folder)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def blocks(heading: str) -> list[str]:
    """The Python blocks of a section of docs/readers.md."""
    section = (
        (ROOT / "docs" / "readers.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    )
    return re.findall(r"```py\n(.*?)```", section, re.DOTALL)


HEADING = "Change the readers"


def test_a_category_is_a_word_and_its_headlines(copy: Copy) -> None:
    """The page's own: published, read, typed and charted; nothing else is edited."""
    entry = next(block for block in blocks(HEADING) if "Section(" in block)
    before = '}  # fmt: skip\n"""By category'
    folder = copy("simulation/sections", before, entry + before)
    found = look(copy("events", '"entertainment"]', '"entertainment", "travel"]', folder))

    assert found["categories"]["travel"] > 0.05 * sum(found["categories"].values())
    assert found["heatmap"][-1] == "travel"
    assert all(title for title in found["titles"])


def test_a_persona_is_one_entry(copy: Copy) -> None:
    """The page's own: a share of the crowd, walking by its own rows."""
    entry = next(block for block in blocks(HEADING) if "Persona(" in block)
    before = "}\n\nVISITS_SIGMA"
    found = look(copy("simulation/personas", before, entry + before))

    assert found["personas"]["insomniac"] == pytest.approx(3_000 * 0.2 / 1.2, rel=0.2)
    assert found["worst"] > 1e-6


def test_an_event_type_is_a_word_and_its_row(copy: Copy) -> None:
    """The page's own: typed check, mapping, charts and report follow."""
    word = '"like", "comment", "share", "logout"]'
    folder = copy("events", word, word.replace('"share"', '"share", "save"'))
    copy("events", '"comment", "share")', '"comment", "share", "save")', folder)
    path = folder / "clickstream" / "simulation" / "personas.py"
    path.write_text(path.read_text().replace("share=0.02)", "share=0.02, save=0.05)"))
    found = look(folder)

    assert found["types"]["save"] > 100
    assert "save" in found["pie"]
    assert "save" in found["states"]
    assert "save" in found["expected"]
    assert found["worst"] > 1e-6
    shown = (ROOT / "docs" / "readers.md").read_text()
    assert '"share", "save"' in shown
    assert "save=0.05" in shown


CHART = '''"""How readers arrive: page views by referrer."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from clickstream.charts import theme
from clickstream.charts.chart import ROOM, Chart, Question, View, counts, terms


class Referrers(Chart):
    """Columns `referrer_type` and `count`."""

    name = "referrers"
    kind = "bar"
    title = "How readers arrive"
    fields = ("referrer_type",)

    def aggregation(self, question: Question) -> dict[str, Any]:
        """Count by referrer."""
        return terms("referrer_type", ROOM)

    def frame(self, answer: dict[str, Any], question: Question) -> pd.DataFrame:
        """Make a row of each referrer."""
        found = {bucket["key"]: bucket["doc_count"] for bucket in answer["buckets"]}
        return counts(referrer_type=list(found), count=list(found.values()))

    def figure(self, frame: pd.DataFrame, view: View) -> go.Figure:
        """Draw a bar for each."""
        figure = theme.figure(self.title, view.window)
        return figure.add_bar(x=frame["referrer_type"], y=frame["count"])
'''

ASK = """
import json
from clickstream import Demo, KafkaSettings, OpenSearchSettings, Settings
kafka = KafkaSettings({bootstrap!r}, {topic!r}, {group!r})
answer = Demo(Settings(kafka, OpenSearchSettings({url!r}, {index!r}))).ask()
print(json.dumps({{
    "rows": int(answer.frames["referrers"]["count"].sum()),
    "drawn": int(sum(answer.figures()["referrers"].data[0].y)),
}}))
"""


def test_a_chart_is_one_file_and_one_line(copy: Copy, made: Settings) -> None:
    """Asked in the same search of the real index, with a table and a figure under its own key."""
    crowd = Simulator(seed=3, start_ms=MONDAY_MS)
    views = sum(event.event_type == "page_view" for event in islice(crowd.events(), 300))
    send(made, 300, seed=3)
    index_topic(made, until_caught_up=True)
    line = "    AbTest(),\n"
    folder = copy("charts/registry", line, line + "    Referrers(),\n")
    head = "from clickstream.charts.top_readers"
    import_line = "from clickstream.charts.referrers import Referrers\n"
    copy("charts/registry", head, import_line + head, folder)
    (folder / "clickstream" / "charts" / "referrers.py").write_text(CHART)
    kafka = made.kafka
    code = ASK.format(
        bootstrap=kafka.bootstrap_servers,
        topic=kafka.topic,
        group=kafka.group_id,
        url=made.opensearch.url,
        index=made.opensearch.index,
    )
    done = run(folder, code)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"rows": views, "drawn": views}
    assert views > 100


def test_a_rule_for_retries_is_one_line(copy: Copy) -> None:
    """For a whole request and for one document alike."""
    folder = copy("opensearch/bulk", "frozenset({429, 500,", "frozenset({408, 429, 500,")
    code = """
from opensearchpy import TransportError
from clickstream.opensearch import bulk
print(bulk._item_answer("news", {"status": 408}).outcome.name)
if isinstance(bulk._refused("news", TransportError(408, "timeout", {})), bulk.Unavailable):
    print("sent again")
"""
    assert run(folder, code).stdout.split("\n")[:2] == ["RETRIABLE", "sent again"]
    assert "sent again" not in run(ROOT, code).stdout


def test_a_scenario_is_one_class(copy: Copy) -> None:
    """Listed, played, and shown on a chart and on a button, from what it says of itself."""
    kinds = "CommentStorm, LogoutWave, DirtyData)"
    scenario = '''
class NightOwl(Bot):
    """A second bot."""

    name, title = "night-owl", "Night owl"


SCENARIOS: Final'''
    folder = copy("simulation/scenarios", kinds, kinds[:-1] + ", NightOwl)")
    copy("simulation/scenarios", "\nSCENARIOS: Final", scenario, folder)
    code = """
from clickstream import SCENARIOS, Simulator, Traffic
from clickstream.simulation.scenarios import ADDS_EVENTS, make
traffic = Traffic(Simulator(seed=1, start_ms=1_767_571_200_000))
traffic.start(make("night-owl:per_minute=600"))
made = [event for _ in range(500) for event in traffic.step()]
print(SCENARIOS["night-owl"].title, "/", ADDS_EVENTS["night-owl"], "/",
      sum(event.scenario == "night-owl" for event in made) > 10)
"""
    assert run(folder, code).stdout == "Night owl / True / True\n"


@pytest.mark.parametrize(
    ("module", "before", "after", "said"),
    [
        (
            "simulation/personas",
            'office": Persona(\n        weight=0.27',
            'office": Persona(\n        weight=-1',
            "persona 'office', weight: -1; it must be a number above 0",
        ),
        (
            "simulation/personas",
            "on=0.70, logout=0.10",
            "on=0.95, logout=0.10",
            "persona 'office', row 'page_view': its probabilities add up to 1.1",
        ),
        (
            "simulation/personas",
            "on=0.70, logout=0.10",
            "on=0.70, logout=0.10, bookmark=0.1",
            "persona 'office', row 'page_view': unknown 'bookmark'",
        ),
        (
            "simulation/sections",
            "Section]] = {",
            'Section]] = {"Tech!": Section(1, "{subject}", ("Firm",), ("wins",)),',
            "section 'Tech!': the name is part of ids",
        ),
        (
            "simulation/sections",
            "Section]] = {",
            'Section]] = {"weather": Section(1, "{wind}", ("Rain",), ("falls",)),',
            "section 'weather': pattern '{wind}'",
        ),
        (
            "events",
            '"entertainment"]',
            '"entertainment", "travel"]',
            "category 'travel' is in only one of",
        ),
        ("simulation/sections", "weight=0.16", "weight=0", "section 'tech': a weight of 0"),
        ("simulation/personas", '"tech": 2.1', '"technology": 2.1', "unknown 'technology'"),
    ],
)
def test_a_wrong_entry_is_an_error_on_load_that_names_it(
    copy: Copy, module: str, before: str, after: str, said: str
) -> None:
    """The error of a wrong entry names the entry and the valid values."""
    done = run(copy(module, before, after), "import clickstream.simulation.simulator")

    assert done.returncode != 0
    # A traceback has what to do in lines of their own below the error.
    _, told = done.stderr.split("\nclickstream.errors.ConfigError: ")
    assert said in "; ".join(told.splitlines())


def test_a_wrong_entry_is_one_line_in_a_terminal(copy: Copy) -> None:
    """A wrong entry is a one-line error of every command that needs the table."""
    folder = copy("simulation/sections", "weight=0.16", "weight=0")
    done = subprocess.run(
        [sys.executable, "-m", "clickstream", "produce"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert (
        done.stderr == "clickstream: section 'tech': a weight of 0; it must be a number above 0\n"
    )
