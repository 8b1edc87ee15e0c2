"""The backoff sends one request at a time to a failing server, and all to a healthy one."""

import threading
import time

import pytest

from clickstream.errors import GivenUp
from clickstream.opensearch.backoff import LONGEST_WAIT_S, Backoff
from tests.support.by_id import wait_until


class Crowd:
    """Threads that send requests repeatedly, and the highest number at once."""

    def __init__(self, backoff: Backoff, number: int) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self.most = self.passed = 0
        self.stop = threading.Event()
        self._backoff = backoff
        self._threads = [threading.Thread(target=self._run) for _ in range(number)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                with self._backoff.turn():
                    with self._lock:
                        self._inside += 1
                        self.passed += 1
                        self.most = max(self.most, self._inside)
                    time.sleep(0.01)
                    with self._lock:
                        self._inside -= 1
            except GivenUp:
                return

    def join(self) -> None:
        """Wait until all threads have ended."""
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive()


def test_healthy_requests_go_side_by_side_and_troubled_ones_alone() -> None:
    """Three requests run in parallel, one after a failure, and three again after a success."""
    backoff = Backoff()
    crowd = Crowd(backoff, 3)
    wait_until(lambda: crowd.most == 3, 20)
    backoff.record(taken=0, rejected=5)
    passed = crowd.passed
    wait_until(lambda: crowd.passed > passed + 6, 20)  # whoever was inside is out by now
    crowd.most = 0
    time.sleep(0.5)
    troubled = crowd.most
    backoff.record(taken=5, rejected=0)
    wait_until(lambda: crowd.most == 3, 20)
    crowd.stop.set()
    crowd.join()

    assert troubled == 1


def test_waits_grow_with_failures_and_are_bounded() -> None:
    """The limit of the random wait doubles with each failure; partial success resets it."""
    drawn = []

    def highest(low: float, high: float) -> float:
        drawn.append(high)
        return 0

    backoff = Backoff(highest)
    for _ in range(10):
        backoff.record(taken=0, rejected=1)
        with backoff.turn():
            pass
    backoff.record(taken=1, rejected=1)
    with backoff.turn():
        pass

    assert drawn[:3] == [0.1, 0.2, 0.4]
    assert max(drawn) == drawn[9] == LONGEST_WAIT_S
    assert drawn[10] == 0.1


def test_giving_up_ends_every_wait() -> None:
    """`give_up` ends waits for a turn, waits for the time, and later requests."""
    backoff = Backoff()
    for _ in range(20):
        backoff.record(taken=0, rejected=1)
    crowd = Crowd(backoff, 3)
    time.sleep(0.1)
    started_s = time.monotonic()
    backoff.give_up()
    crowd.join()

    assert time.monotonic() - started_s < 1
    with pytest.raises(GivenUp), backoff.turn():
        pass
