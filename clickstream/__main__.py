"""The `clickstream` command, and `python -m clickstream`: the same."""

import sys

from clickstream.errors import ClickstreamError


def main() -> None:
    """Run the command line; a wrong entry in a table of the library is one line, too."""
    try:
        from clickstream import cli  # noqa: PLC0415 - the tables are looked over on load
    except ClickstreamError as error:
        sys.exit(f"clickstream: {error}")
    cli.main()


if __name__ == "__main__":
    main()
