"""Stop the consumer when too many messages are invalid for a dead-letter topic."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from clickstream.errors import BulkError, Command

if TYPE_CHECKING:
    from clickstream.kafka.dead_letters import Letter


class FloodGuard:
    """Watches the share of messages that can never be documents; any thread may call it.

    Many invalid messages suggest the wrong topic or a broken producer. Moving all of them to the
    dead-letter topic would hide that.

    Args:
        topic: the topic of the messages, for the error message.
    """

    SHARE, AT_LEAST, WINDOW = 0.05, 100, 2_000
    """The limit is 5 % of the latest 2,000 messages (in whole batches), but at least 100."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._batches: deque[tuple[int, int]] = deque()

    def check(self, num_messages: int, dead: list[Letter]) -> None:
        """Count a batch, before its dead letters are written.

        Raises:
            BulkError: too many messages are invalid.
        """
        with self._lock:
            self._batches.append((num_messages, len(dead)))
            while sum(n for n, _ in self._batches) - self._batches[0][0] >= self.WINDOW:
                self._batches.popleft()
            looked_at, poison = map(sum, zip(*self._batches, strict=True))
        # Refuse only a batch with invalid messages: valid batches leaving the window do not count.
        if dead and poison >= max(self.AT_LEAST, self.SHARE * looked_at):
            msg = (
                f"topic {self._topic!r}: {poison:,} of the latest {looked_at:,} messages are "
                f"invalid (last: {dead[-1][2]!r})"
            )
            reset = Command("reset --yes")
            wrong = "use another topic if this is not yours; if it is, empty it with ", reset
            right = Command("consume --no-flood-guard"), " turns all of them into dead letters"
            raise BulkError(msg, wrong, right)
