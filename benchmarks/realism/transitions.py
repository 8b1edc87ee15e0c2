"""What follows what in the sessions of a sample, and whether it is what the personas' rows say."""

from __future__ import annotations

import math
from typing import Final

import pandas as pd
from scipy import stats

from benchmarks.realism.sample import Sample
from clickstream.simulation import personas
from clickstream.simulation.articles import HOUR_MS

_CLOSED_MS: Final = 6 * HOUR_MS
"""Sessions that begin later than this before the end may still be open, and are left out."""
END: Final = "(end)"


def count(sample: Sample) -> pd.DataFrame:
    """Count what follows what, beside what each persona's own row lets expect.

    Sessions that may still be open are left out, and so is `register`, which has no choice.

    Returns:
        A row for every persona, state and successor, found or possible: `persona`, `state`,
        `following` (str; `(end)` is a session left without a word), `count` (int),
        `expected` (float).
    """
    closed = sample.sessions[sample.sessions["begin_ms"] < sample.end_ms - _CLOSED_MS]
    events = sample.events[~sample.events["event_type"].isin(("register", "logout"))]
    following = _next_type(sample.events)[events.index]
    events = events[events["session_id"].isin(closed.index)]
    numbers = closed["number"].reindex(events["session_id"].astype(str)).to_numpy()
    names = {n: personas.persona_of(sample.seed, int(n)) for n in closed["number"].unique()}
    found = (
        pd.DataFrame(
            {
                "persona": pd.Series(numbers).map(names).to_numpy(),
                "state": events["event_type"].astype(str).to_numpy(),
                "following": following[events.index].to_numpy(),
            }
        )
        .value_counts()
        .sort_index()
    )
    totals = found.groupby(level=["persona", "state"]).sum()
    rows = []
    for (persona, state), total in totals.items():
        chances: dict[str, float] = {}
        for kind, chance in personas.PERSONAS[persona].rows[state].items():
            chances[kind] = chance
        chances[END] = 1 - sum(chances.values())
        counts = found[persona, state]
        rows += [
            (persona, state, kind, int(counts.get(kind, 0)), chances.get(kind, 0.0) * total)
            for kind in {**chances, **counts.to_dict()}
        ]
    return pd.DataFrame(rows, columns=["persona", "state", "following", "count", "expected"])


def _next_type(events: pd.DataFrame) -> pd.Series:
    following = events.groupby("session_id", observed=True)["event_type"].shift(-1)
    return following.astype(object).where(following.notna(), END)


def p_values(table: pd.DataFrame) -> dict[str, float]:
    """Test every state by chi-square, its personas added up.

    Successors of a persona expected under 5 times are pooled; one that cannot be gives 0.
    Source: Pearson 1900; the sum of independent chi-squares is one of all their degrees.
    """
    found = {}
    for state, of_state in table.groupby("state"):
        statistic, degrees = 0.0, 0
        for _, row in of_state.groupby("persona"):
            impossible = (row["expected"] == 0) & (row["count"] > 0)
            pools = row["following"].where(row["expected"] >= 5, "few")
            cells = row.groupby(pools)[["count", "expected"]].sum()
            cells = cells[cells["expected"] > 0]
            parts = (cells["count"] - cells["expected"]) ** 2 / cells["expected"]
            statistic += math.inf if impossible.any() else float(parts.sum())
            degrees += len(cells) - 1
        found[str(state)] = float(stats.chi2.sf(statistic, degrees))
    return found


def distance(table: pd.DataFrame) -> float:
    """Give the total variation between counts and expectations, 0 to 1, all personas together."""
    together = table.groupby(["state", "following"])[["count", "expected"]].sum()
    off = (together["count"] - together["expected"]).abs().sum()
    return float(off / 2 / together["count"].sum())
