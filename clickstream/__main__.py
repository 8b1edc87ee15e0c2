"""The `clickstream` command, which is the same as `python -m clickstream`."""

import sys


def main() -> None:
    """Run the command line; a missing package also becomes a one-line error."""
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
