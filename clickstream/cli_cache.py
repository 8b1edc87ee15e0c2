"""`clickstream cache`: what was fetched, emptied, or carried to a room without a network."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Annotated

import typer

from clickstream import archive, fetch, lab

app = typer.Typer(no_args_is_help=True, help="The cache of servers and wheels.")


def _wheels() -> list[str]:
    """Name the folders of wheels of this clone, as the script does that fetches them."""
    script = runpy.run_path(str(lab.CLONE / "scripts" / "install.py"))
    return [Path(script["wheels"](script[lock])).name for lock in ("RUNTIME", "DEV")]


@app.command()
def clear() -> None:
    """Empty the cache of servers and wheels."""
    freed = fetch.clear_cache()
    typer.echo(f"freed {freed / 1e6:,.0f} MB in {fetch.cache_dir()}")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="A tar file; one that is there is replaced.")],
) -> None:
    """Write servers and wheels into one file, for a machine without a network."""
    size = archive.export(file, fetch.cache_dir(), _wheels())
    typer.echo(f"{file}: servers and Python packages, {size / 1e6:,.0f} MB")
    typer.echo(f"in the room, in a clone of this version: make use FILE={file.name}; make demo")


@app.command()
def use(file: Annotated[Path, typer.Argument(help="Written by `cache export`.")]) -> None:
    """Put into the cache what is missing there and a file of `cache export` has."""
    for line in archive.use(file, fetch.cache_dir(), _wheels()):
        typer.echo(line)
