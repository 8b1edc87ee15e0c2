"""The `clickstream` command, and `python -m clickstream`: the same."""

import sys

from clickstream.errors import ClickstreamError


def main() -> None:
    """Run the command line; a missing package, or a wrong entry in a table, is one line, too."""
    try:
        from clickstream.cli import app  # noqa: PLC0415 - the tables are looked over on load
    except ClickstreamError as error:
        sys.exit(f"clickstream: {error}")
    except ModuleNotFoundError as error:
        sys.exit(
            f"clickstream: the package {error.name!r} is missing in {sys.executable}; run "
            "`make demo`, which installs what is pinned (with conda: conda env update)"
        )
    app.main()


if __name__ == "__main__":
    main()
