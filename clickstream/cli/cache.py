"""`clickstream cache`: the downloads that all clones share."""

from __future__ import annotations

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Manage the cache of servers and Python packages.",
)


@app.command()
def clear() -> None:
    """Empty the cache of servers and Python packages."""
    from clickstream.servers import download

    freed = download.clear_cache()
    typer.echo(f"freed {freed / 1e6:,.0f} MB in {download.cache_dir()}")
