"""Writes docs/commands.md from the help of every command: `make docs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperGroup

from clickstream.cli.app import app

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
WIDTH = 80

HEAD = """# Commands

The `clickstream` command does in a terminal what the notebooks do in cells. After `make demo` or
`make prepare` its path is `.venv/bin/clickstream`. If a command fails, it exits with a non-zero
code and prints one line on stderr: what went wrong, and what to do.

In one terminal, start the servers, then simulate readers for five seconds. Without `--duration`,
`produce` runs until you press Ctrl-C:

```sh
.venv/bin/clickstream up
.venv/bin/clickstream produce --rate 200 --duration 5
```

In another terminal, index the messages. Without `--until-caught-up`, `consume`
runs until you press Ctrl-C:

```sh
.venv/bin/clickstream consume --until-caught-up
```

Show the newest messages, write the charts as files, check the machine, and print the status:

```sh
.venv/bin/clickstream peek -n 3
.venv/bin/clickstream charts --out build/charts
.venv/bin/clickstream check
.venv/bin/clickstream status --json
```

While a server is down, `status --json` prints the same keys with null for unknown values and the
reason under `errors`, and the exit code is 1.
"""


def page() -> str:
    """Write the page: an introduction, then the help of each command, in the order of `--help`."""
    command = typer.main.get_command(app)
    helps = "".join(
        f"\n## {name}\n\n```text\n{text.rstrip()}\n```\n"
        for name, text in _helps("clickstream", command)
    )
    return HEAD + helps


def _helps(name: str, command: typer.core.TyperCommand | TyperGroup) -> Iterator[tuple[str, str]]:
    with command.make_context(name, [], resilient_parsing=True, max_content_width=WIDTH) as context:
        context.terminal_width = WIDTH
        yield name, command.get_help(context)
        if isinstance(command, TyperGroup):
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                if found is not None and not found.hidden:
                    yield from _helps(f"{name} {inner}", found)


if __name__ == "__main__":
    PAGE.write_text(page())
