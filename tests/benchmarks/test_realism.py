"""The statistics of the readers hold for arbitrary seeds, and each one can fail."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.realism import properties, sample, transitions
from benchmarks.realism.sample import Sample
from clickstream import events
from clickstream.errors import ConfigError
from clickstream.simulation import articles, personas

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "readers.md"
MONDAY_MS = events.parse_timestamp("2026-01-05T00:00:00.000Z")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_property_holds() -> None:
    """Every property holds for two weeks of a million events, as the page shows."""
    report = properties.measure(1, start_ms=MONDAY_MS)

    assert [found for found in report.properties if not found.holds] == []
    assert report.holds
    assert 900_000 < report.events < 1_100_000
    names = [found.name for found in report.properties]
    assert len(names) == len(set(names)) > 30
    assert f"```\n{report}\n```" in PAGE.read_text()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_report_is_a_line_a_property() -> None:
    """For another seed and start: one line per property, and exit code 0 if all hold."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.realism"),
            *("--seed", "846211", "--start", "2031-07-16T09:30:00.000Z"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    *lines, _, summary = done.stdout.splitlines()
    assert lines[0].split() == ["property", "target", "measured", "source", "of", "the", "target"]
    assert len(lines) > 30
    assert all(" holds " in line for line in lines[1:])
    assert summary.startswith("seed 846211: ")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_follows_what_is_what_the_rows_say_on_20_seeds() -> None:
    """Transitions match the rows on 20 seeds (chi-square with Holm's correction)."""
    tables = [
        transitions.count(sample.draw(seed, start_ms=MONDAY_MS, events=20_000))
        for seed in range(100, 120)
    ]
    found = sorted(
        (p, seed, state)
        for seed, table in zip(range(100, 120), tables, strict=True)
        for state, p in transitions.p_values(table).items()
    )
    assert len(found) == 20 * 5
    least, seed, state = found[0]
    assert least * len(found) > properties.ERROR, (seed, state, least)
    every = pd.concat(tables)
    for state, of_state in every.groupby("state"):
        assert transitions.distance(of_state) < 0.01, state


@pytest.fixture(scope="module")
def two_weeks() -> Sample:
    """A small sample for tests that break it."""
    return sample.draw(5, start_ms=MONDAY_MS, events=100_000)


def found(drawn: Sample, name: str) -> properties.Property:
    """One property of a sample."""
    return next(each for each in properties.judge(drawn).properties if each.name == name)


def without(drawn: Sample, lost: pd.Series) -> Sample:
    """The sample without some of its events."""
    return replace(drawn, events=drawn.events[~lost])


def changed(drawn: Sample, column: str, change: Callable[[pd.DataFrame], pd.Series]) -> Sample:
    """The sample with one column of its events, and so of its views, changed."""
    table = drawn.events.assign(**{column: change(drawn.events)})
    return replace(drawn, events=table, views=table[table["event_type"] == "page_view"])


def slower(table: pd.DataFrame) -> pd.Series:
    """Times at which everything in a session takes 1.3 times as long."""
    begin = table.groupby("session_id", observed=True)["at_ms"].transform("first")
    return (begin + 1.3 * (table["at_ms"] - begin)).clip(upper=table["at_ms"].max())


def evenly(table: pd.DataFrame) -> pd.Series:
    """Times without a daily pattern."""
    first, last = table["at_ms"].min(), table["at_ms"].max()
    return first + (last - first) * table.index.to_series() / len(table)


def shuffled(table: pd.DataFrame, column: str) -> pd.Series:
    """A shuffled column, without a relation to the others."""
    return pd.Series(table[column].sample(frac=1, random_state=1).to_numpy(), index=table.index)


BREAKS: dict[str, Callable[[Sample], Sample]] = {
    "sessions open with login, newcomers' with register": lambda s: without(
        s, s.events.index == s.events.index[0]
    ),
    "no gap in a session, nothing after logout": lambda s: without(
        s, (s.events["event_type"] == "page_view") & (s.events["session_seq"] == 2)
    ),
    "one session and one device at a time": lambda s: changed(
        s, "device_type", lambda table: shuffled(table, "device_type")
    ),
    "reactions follow a view": lambda s: changed(
        s,
        "article_id",
        lambda t: t["article_id"].where(
            t["event_type"] != "like", t["article_id"].dropna().iloc[0]
        ),
    ),
    "nobody reads ahead, time never goes back": lambda s: changed(
        s, "published_ms", lambda table: table["published_ms"] + 3_600_000
    ),
    "newcomers register first, and once": lambda s: without(
        s, s.events["event_type"] == "register"
    ),
    "transitions, total variation": lambda s: without(s, s.events["event_type"] == "logout"),
    "reading time p50": lambda s: changed(s, "at_ms", slower),
    "views a session, mean": lambda s: replace(
        s, sessions=s.sessions.assign(views=s.sessions["views"] * 2)
    ),
    "views a session, R² of an exponential": lambda s: replace(
        s, sessions=s.sessions.assign(views=s.sessions["views"] % 7 + 1)
    ),
    "age of an article p50": lambda s: changed(
        s, "published_ms", lambda t: t["at_ms"] - 1.3 * (t["at_ms"] - t["published_ms"])
    ),
    "popularity, slope over ranks 1-100 of a day": lambda s: changed(
        s, "article_id", lambda table: table.index.to_series() % 300
    ),
    "events by the busiest fifth of readers": lambda s: changed(
        s, "user_id", lambda table: table["session_id"]
    ),
    "busiest reader ÷ tenth": lambda s: changed(
        s, "user_id", lambda table: table.index.to_series() % 500
    ),
    "busiest hour begins at": lambda s: changed(
        s, "at_ms", lambda table: table["at_ms"] + 3 * articles.HOUR_MS
    ),
    "quietest hour begins at": lambda s: changed(
        s, "at_ms", lambda table: table["at_ms"] + 3 * articles.HOUR_MS
    ),
    "busiest hour ÷ quietest": lambda s: changed(s, "at_ms", evenly),
    "mobile: busiest hour of 18-22 ÷ quietest of 14-18": lambda s: changed(
        changed(s, "at_ms", evenly), "device_type", lambda table: shuffled(table, "device_type")
    ),
    "mobile ÷ desktop, weekend ÷ weekday": lambda s: changed(
        s, "device_type", lambda table: shuffled(table, "device_type")
    ),
    "views, device tablet": lambda s: changed(
        s, "device_type", lambda t: t["device_type"].replace({"tablet": "mobile"})
    ),
    "views, referrer internal": lambda s: changed(
        s, "referrer_type", lambda t: t["referrer_type"].replace({"direct": "internal"})
    ),
    "device × category, Cramér's V": lambda s: changed(
        s, "article_category", lambda table: shuffled(table, "article_category")
    ),
    "new readers in two weeks": lambda s: replace(s, crowd=s.crowd + 100),
    "of these, came back": lambda s: replace(s, sessions=s.sessions.drop_duplicates("user_id")),
    "events per second ÷ the crowd's natural rate": lambda s: replace(
        s, natural_rate=s.natural_rate * 1.2
    ),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", BREAKS)
def test_a_property_that_is_broken_is_told(name: str, two_weeks: Sample) -> None:
    """Each property fails by name, with its measured value, on a sample that lacks it."""
    broken = found(BREAKS[name](two_weeks), name)

    assert not broken.holds
    assert broken.measured != found(two_weeks, name).measured


def test_a_row_that_is_changed_by_a_twentieth_is_told(
    two_weeks: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chi-square test detects readers that do not follow their persona's row."""
    assert found(two_weeks, "transitions by persona, chi-square").holds
    skimmer = personas.PERSONAS["skimmer"]
    rows = {kind: dict(row) for kind, row in skimmer.rows.items()}
    rows["page_view"]["page_view"] *= 1.05
    other = replace(skimmer, rows=rows)  # type: ignore[arg-type]
    monkeypatch.setitem(personas.PERSONAS, "skimmer", other)
    assert not found(two_weeks, "transitions by persona, chi-square").holds


def test_a_report_shows_every_property_in_text_and_in_a_notebook(two_weeks: Sample) -> None:
    """A report shows name, target, value and source per line, and how many hold."""
    report = properties.judge(two_weeks)
    text = str(report)
    for each in report.properties:
        line = next(line for line in text.splitlines() if line.startswith(each.name))
        assert each.target in line
        assert each.measured in line
        assert ("holds" in line) == each.holds
        assert line.endswith(each.source)
    assert text.splitlines()[-1].startswith("seed 5: ")


def test_a_start_before_1970_is_refused() -> None:
    """A start before 1970 is refused in one line, before the simulation."""
    with pytest.raises(ConfigError, match="before 1970"):
        properties.measure(1, start_ms=-1)


def test_the_day_is_cut_by_utc_wherever_the_machine_stands(
    two_weeks: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events and curves do not depend on the time zone."""
    before = found(two_weeks, "busiest hour begins at")
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        there = sample.draw(5, start_ms=MONDAY_MS, events=100_000)
        assert there.events.equals(two_weeks.events)
        assert found(there, "busiest hour begins at") == before
    finally:
        monkeypatch.undo()
        time.tzset()
