"""Reader habits: valid tables, and readers that depend only on seed and number."""

from collections import Counter
from dataclasses import replace
from statistics import median

import pytest

from clickstream.errors import ConfigError
from clickstream.simulation import personas
from clickstream.simulation.personas import PERSONAS
from tests.support.errors import raises_shown


def test_personas_have_their_shares() -> None:
    """The shares of personas among 50,000 readers are right within a percentage point."""
    found = Counter(personas.persona_of(4, number) for number in range(50_000))
    whole = sum(persona.weight for persona in PERSONAS.values())
    for name, persona in PERSONAS.items():
        assert found[name] / 50_000 == pytest.approx(persona.weight / whole, abs=0.01)


def test_a_reader_is_the_same_for_the_same_seed() -> None:
    """Persona and visits are a pure function of seed and number."""
    crowds = [
        [(personas.persona_of(s, n), personas.visits_per_day(s, n)) for n in range(500)]
        for s in (1, 1, 2)
    ]
    assert crowds[0] == crowds[1] != crowds[2]


def test_visits_differ_widely_around_the_persona_s_median() -> None:
    """Visits per day vary widely around the persona's median."""
    visits = [
        personas.visits_per_day(1, n)
        for n in range(20_000)
        if personas.persona_of(1, n) == "skimmer"
    ]
    assert median(visits) == pytest.approx(PERSONAS["skimmer"].visits_per_day, rel=0.06)
    assert min(visits) < 0.2
    assert 15 < max(visits) <= personas.MOST_VISITS_PER_DAY


def test_reading_times_have_the_published_quartiles() -> None:
    """Reading times have quantiles of 21, 47, 90 and 158 seconds, within a tenth."""
    times, steps = personas.READING_MS, len(personas.READING_MS)
    for share, seconds in ((0.25, 21), (0.5, 47), (0.75, 90), (0.9, 158)):
        assert times[int(share * steps)] / 1000 == pytest.approx(seconds, rel=0.1)


def test_a_longer_row_makes_longer_sessions() -> None:
    """Rows with fewer exits give longer sessions."""
    skimmer = PERSONAS["skimmer"]
    rows = {name: dict(row) for name, row in skimmer.rows.items()}
    rows["page_view"]["page_view"] += 0.1
    longer = replace(skimmer, rows=rows)  # type: ignore[arg-type]
    assert personas.expected_events(longer) > 1.3 * personas.expected_events(skimmer)


def test_a_wrong_entry_is_named_when_the_tables_are_read() -> None:
    """A wrong entry is named: event, row sum, transition or weight."""
    skimmer = PERSONAS["skimmer"]

    def with_row(name: str, row: dict[str, float]) -> dict[str, personas.Persona]:
        changed = replace(skimmer, rows={**skimmer.rows, name: row})  # type: ignore[dict-item]
        return {**PERSONAS, "skimmer": changed}

    with pytest.raises(ConfigError, match=r"skimmer.*row 'like'.*unknown 'pageview'"):
        personas.check(with_row("like", {"pageview": 0.5}))
    with pytest.raises(ConfigError, match=r"row 'like': its probabilities add up to 1\.200"):
        personas.check(with_row("like", {"page_view": 0.7, "logout": 0.5}))
    with pytest.raises(ConfigError, match="leads to register, which has no row"):
        personas.check(with_row("like", {"register": 0.5}))
    with pytest.raises(ConfigError, match=r"row 'like': a session opens with login"):
        personas.check(with_row("like", {"login": 0.5}))
    for row, said in (
        ({"page_view": float("nan")}, "the probability of page_view is nan; it must be 0 to 1"),
        ({"page_view": -0.1}, "the probability of page_view is -0.1"),
        ({"page_view": "0.5"}, "the probability of page_view is 0.5"),
        ({"like": 1.0}, "its sessions have over 100 events"),
    ):
        with raises_shown(ConfigError, match=said):
            personas.check(with_row("like", row))  # type: ignore[arg-type]
    for_ever = personas.rows(on=1.0, logout=0.0)
    with pytest.raises(ConfigError, match="its sessions have over 100 events"):
        personas.check({"reader": replace(skimmer, rows=for_ever)})
    no_login = {kind: row for kind, row in skimmer.rows.items() if kind != "login"}
    with pytest.raises(ConfigError, match="it has no row for login"):
        personas.check({"reader": replace(skimmer, rows=no_login)})
    with pytest.raises(ConfigError, match="no personas are defined"):
        personas.check({})
    for changed, said in (
        ({"weight": 0.0}, "weight: 0.0; it must be a number above 0"),
        ({"visits_per_day": float("nan")}, "visits_per_day: nan"),
        ({"devices": {"mobile": 1.0, "tablet": 1.0}}, "devices: no weight for desktop"),
        ({"devices": {**skimmer.devices, "watch": 1.0}}, "unknown 'watch'"),
        ({"tastes": {"gossip": 2.0}}, "unknown 'gossip'"),
        ({"tastes": {"tech": -1.0}}, "tastes, tech: -1"),
    ):
        with raises_shown(ConfigError, match=said):
            personas.check({**PERSONAS, "skimmer": replace(skimmer, **changed)})
