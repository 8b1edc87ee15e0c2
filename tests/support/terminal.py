"""Run the command in this process: the same output and exit codes, without slow imports."""

import os
import sys
from collections.abc import Mapping
from contextvars import copy_context
from subprocess import CompletedProcess

import pytest
from typer.testing import CliRunner

from clickstream.__main__ import main


def clickstream(
    environment: Mapping[str, str], *arguments: str, fed: str = ""
) -> CompletedProcess[str]:
    """Run the command as in a terminal, and restore everything that it sets."""
    words = ["clickstream", *arguments]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "environ", dict(environment))
        patch.setattr(sys, "argv", words)
        with CliRunner().isolation(fed) as (out, err, _):
            code: object = None
            try:
                copy_context().run(main)
            except SystemExit as ended:
                code = ended.code
            if isinstance(code, str):  # as the interpreter does with it
                print(code, file=sys.stderr)
                code = 1
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            said = [stream.getvalue().decode() for stream in (out, err)]
    return CompletedProcess(words, int(str(code or 0)), *said)
