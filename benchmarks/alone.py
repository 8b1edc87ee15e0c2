"""Functions run in a process of their own: the CPU and the memory they take are theirs alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


@contextmanager
def running(function: Callable[..., object], *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Let a function of a module run beside the block; with the block it ends, too."""
    module, name = function.__module__, function.__name__
    code = f"import json; from {module} import {name}; print(json.dumps({name}(*{arguments!r})))"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def answer(process: subprocess.Popen[str]) -> Any:
    """Close its standard input, wait until it has ended, and give what the function gave."""
    out, _ = process.communicate()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return json.loads(out)


def run(function: Callable[..., object], *arguments: object) -> Any:
    """Run a function in a process of its own, and give what it gave."""
    with running(function, *arguments) as process:
        return answer(process)
