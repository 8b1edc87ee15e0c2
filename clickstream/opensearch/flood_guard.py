"""Where so much is poison that dead letters are no answer to it, the consumer is stopped."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from clickstream.errors import BulkError, Command

if TYPE_CHECKING:
    from clickstream.kafka.dead_letters import Letter


class FloodGuard:
    """Watches the share of messages that can never be documents; any thread may ask it.

    Most likely it is somebody else's topic, or a producer that has gone wrong: writing it
    all to another topic would hide that.

    Args:
        topic: where the messages come from, for the error.
    """

    SHARE, AT_LEAST, WINDOW = 0.05, 100, 2_000
    """A twentieth of the latest 2,000 messages (whole batches), and a hundred of them."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._batches: deque[tuple[int, int]] = deque()

    def check(self, num_messages: int, dead: list[Letter]) -> None:
        """Note a batch, before its letters are written.

        Raises:
            BulkError: it is a flood.
        """
        with self._lock:
            self._batches.append((num_messages, len(dead)))
            while sum(n for n, _ in self._batches) - self._batches[0][0] >= self.WINDOW:
                self._batches.popleft()
            looked_at, poison = map(sum, zip(*self._batches, strict=True))
        # Only what brings poison is refused: old good news falling out of the window is no flood.
        if dead and poison >= max(self.AT_LEAST, self.SHARE * looked_at):
            msg = (
                f"topic {self._topic!r}: {poison:,} of the latest {looked_at:,} messages can "
                f"never be documents (last: {dead[-1][2]!r})"
            )
            raise BulkError(
                msg,
                (
                    "if it is somebody else's topic, name another, or ",
                    Command("reset --yes"),
                    " if it is yours",
                ),
                (Command("consume --no-flood-guard"), " makes dead letters of them all"),
            )
