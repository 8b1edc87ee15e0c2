"""An error holds what was found; what to do is put into words where somebody reads it."""

import sys
import traceback
from contextvars import copy_context
from pathlib import Path

import pytest

from clickstream import errors
from clickstream.demo import demo
from clickstream.errors import SEE_CHECK, Command, ConfFile, ServerError, shown

STARTS = (Command("up"), " starts local servers")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A place where the shell finds the command, and nothing was given of a target."""
    program = tmp_path / "bin" / "clickstream"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    for name in (errors.OPTIONS, errors.CONF, "CLICKSTREAM_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)


def test_an_error_is_shown_in_one_line_with_what_to_do() -> None:
    """Hints follow what was found, each after `; `; commands stand in backquotes."""
    error = ServerError("counting: no answer", SEE_CHECK, STARTS, "then count again")

    assert str(error) == "counting: no answer"
    assert shown(error) == (
        "counting: no answer; see `clickstream check`; `clickstream up` starts local servers; "
        "then count again"
    )
    assert shown(ServerError("no answer")) == "no answer"
    assert shown(KeyError("key")) == "'key'", "an error of somebody else is what it says"


def test_a_hint_is_read_where_it_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The same error names commands and files as they are for whoever reads it."""
    error = ServerError("no answer", ("fix ", ConfFile("kafka.json"), ", then ", Command("up")))
    assert shown(error) == "no answer; fix conf/kafka.json, then `clickstream up`"

    monkeypatch.setenv(errors.CONF, "/secret")
    monkeypatch.setenv(errors.OPTIONS, "--target hosted")
    assert shown(error) == (
        "no answer; fix /secret/kafka.json, then `clickstream --target hosted up`"
    )
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    program = f"{tmp_path}/venv/bin/clickstream"
    assert shown(error).endswith(f"then `{program} --target hosted up`")
    monkeypatch.chdir(tmp_path)
    assert shown(error).endswith("then `venv/bin/clickstream --target hosted up`")
    assert str(error) == "no answer"


def test_what_was_typed_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line hands it over; in its process no variable has to be written."""
    monkeypatch.setenv(errors.CONF, "elsewhere")
    monkeypatch.setenv(errors.OPTIONS, "--target hosted")

    def show() -> str:
        errors.typed.set(errors.Typed("--target local", "mine"))
        return errors.in_words((Command("up"), " or ", ConfFile("ca.pem")))

    assert copy_context().run(show) == "`clickstream --target local up` or mine/ca.pem"


def test_a_cell_shows_the_line_and_a_traceback_the_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `CLICKSTREAM_TRACEBACK` a cell shows all; plain Python does so by itself."""
    error = ServerError("no answer", SEE_CHECK)
    assert error._render_traceback_() == ["ServerError: no answer; see `clickstream check`"]

    monkeypatch.setenv("CLICKSTREAM_TRACEBACK", "1")
    lines = ["clickstream.errors.ServerError: no answer\n", "see `clickstream check`\n"]
    assert error._render_traceback_() == traceback.format_exception(error) == lines


def test_an_error_told_in_another_keeps_what_to_do() -> None:
    """What was found goes into the new one's, and its hints stand before the new one's."""
    with pytest.raises(ServerError) as raised, demo._after_the_documents():
        raise ServerError("creating topics: no answer", STARTS)

    assert (
        str(raised.value)
        == "reset incomplete, the documents are deleted: creating topics: no answer"
    )
    assert raised.value.hints == (STARTS, "then reset again")
