"""The `clickstream` command, and `python -m clickstream`: the same."""

import sys


def main() -> None:
    """Run the command line; a missing package is one line, too, whichever command needs it."""
    try:
        from clickstream.cli import app  # noqa: PLC0415 - typer may be the one that is missing

        app.main()
    except ModuleNotFoundError as error:
        sys.exit(
            f"clickstream: the package {error.name!r} is missing in {sys.executable}; run "
            "`make demo`, which installs what is pinned (with conda: conda env update)"
        )


if __name__ == "__main__":
    main()
