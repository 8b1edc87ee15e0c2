"""The imports of commands on real servers."""

import os
import subprocess
import sys

import pytest

from clickstream.settings import Settings
from tests.support.by_id import namespace, send

PROGRAM = """
import atexit, sys
atexit.register(lambda: print("loaded", *sys.modules, file=sys.stderr))
from clickstream.__main__ import main
main()
"""
DRAWS_OR_DOWNLOADS = {"pandas", "plotly", "jgo", "ipywidgets"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("produce --events 20 --rate max", "20 events"),
        ("consume --until-caught-up", "20 documents stored"),
        ("peek -n 3", "reader-"),
        ("status", "20 messages, lag 20, 0 dead letters, 0 documents"),
        ("status --json", '"errors": {}'),
    ],
)
def test_a_command_loads_nothing_that_draws_or_downloads(
    made: Settings, command: str, said: str
) -> None:
    """A command that draws nothing works without pandas, plotly, jgo and ipywidgets."""
    if not command.startswith("produce"):
        send(made, 20)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command.split()],
        env=os.environ | {"CLICKSTREAM_NAMESPACE": namespace(made)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    *_, last = done.stderr.splitlines()
    assert DRAWS_OR_DOWNLOADS.isdisjoint(last.split())
    assert "confluent_kafka" in last.split()
