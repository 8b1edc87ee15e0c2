"""What tests of errors share: an error as somebody reads it, with what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from clickstream.errors import ClickstreamError, shown


@contextmanager
def raises_shown(
    kind: type[ClickstreamError], *, match: str
) -> Iterator[pytest.ExceptionInfo[ClickstreamError]]:
    """Expect an error whose line, as it is shown, has a match; see `pytest.raises`."""
    with pytest.raises(kind) as raised:
        yield raised
    line = shown(raised.value)

    assert re.search(match, line), f"no {match!r} in {line!r}"
