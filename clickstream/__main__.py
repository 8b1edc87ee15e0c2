"""The `clickstream` command, which is the same as `python -m clickstream`."""

import sys
from io import TextIOWrapper


def main() -> None:
    """Run the command line; a missing package also becomes a one-line error.

    A character that the terminal does not have is replaced.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # None if it was closed
            stream.reconfigure(errors="replace")
    try:
        from clickstream.cli import app  # noqa: PLC0415 - typer may be missing

        app.main()
    except ModuleNotFoundError as error:
        sys.exit(
            f"clickstream: the package {error.name!r} is missing in {sys.executable}; run "
            "`make demo`, which installs the pinned packages (with conda: conda env update)"
        )


if __name__ == "__main__":
    main()
