"""The flood guard, without servers."""

from typing import Any

import pytest

from clickstream.errors import BulkError
from clickstream.opensearch.flood_guard import FloodGuard


def test_a_batch_without_poison_never_is_a_flood() -> None:
    """A valid batch never stops the consumer, whatever leaves the window or came before."""
    guard = FloodGuard("topic")
    letter: Any = (None, "EventError", "no event")
    guard.check(4_000, [])
    guard.check(500, [letter] * 150)
    guard.check(1_500, [])

    with pytest.raises(BulkError, match="are invalid"):
        guard.check(10, [letter])
    guard.check(10, [])
