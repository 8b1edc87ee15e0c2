"""A backoff that the requests of several threads share, known as a circuit breaker.

While a server fails, it lets one request through at a time, after growing random waits. It does
not know what is sent.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clickstream.errors import GivenUp

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 3.0
"""Waits use full jitter; a recovered server stays unused for the longest wait at most."""

_LOOK_EVERY_S = 0.05


class Backoff:
    """Requests run in parallel; after a failure they run one by one, each after a wait.

    Promise: after a failure, no request starts in parallel with another until one has succeeded.
    Waits are uniform between 0 and a limit that doubles with every failure, up to
    `LONGEST_WAIT_S`.

    Args:
        uniform: returns a uniform random number between two numbers.
    """

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self._turn = threading.Lock()
        self._failures = 0
        self.given_up = threading.Event()
        """Set by `give_up`, so that other waits can end as well."""

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until a request may run; the block sends it.

        Raises:
            GivenUp: `give_up` was called.
        """
        is_alone = self._wait_for_turn()
        try:
            if is_alone:
                longest_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._failures, 20))
                self.given_up.wait(self._uniform(0, longest_s))
            if self.given_up.is_set():
                raise GivenUp
            yield
        finally:
            if is_alone:
                self._turn.release()

    def _wait_for_turn(self) -> bool:
        while self._failures and not self.given_up.is_set():
            if self._turn.acquire(timeout=_LOOK_EVERY_S):
                return True
        return False

    def record(self, *, taken: int, rejected: int) -> None:
        """Record a result: any rejection is a failure; a total one also doubles the wait."""
        if not rejected:
            self._failures = 0
        elif taken:
            self._failures = 1
        else:
            self._failures += 1

    def give_up(self) -> None:
        """End every wait, now and from now on."""
        self.given_up.set()
