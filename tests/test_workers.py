"""Workers by name: never two of one, and gone when they are stopped."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from clickstream import workers
from clickstream.errors import ServerError


@pytest.fixture(autouse=True)
def nobody_left() -> Iterator[None]:
    """Whatever a test starts is ended."""
    yield
    workers.stop("test")
    assert [t.name for t in threading.enumerate() if t.name == "clickstream-test"] == []


def test_starting_again_replaces_the_old_one() -> None:
    """Started by ten threads at once there is one in the end, and the others have ended."""
    alive: list[int] = []

    def work(stop: threading.Event) -> None:
        alive.append(1)
        stop.wait(10)
        alive.pop()

    starters = [threading.Thread(target=lambda: workers.start("test", work)) for _ in range(10)]
    for each in starters:
        each.start()
    for each in starters:
        each.join()

    assert workers.is_running("test")
    assert len(alive) == 1
    assert workers.stop("test")
    assert alive == []
    assert not workers.stop("test")


def test_what_ended_a_worker_is_told_once() -> None:
    """An error in the background is not lost, and does not stand in the way for ever."""

    def work(stop: threading.Event) -> None:
        msg = "no more events"
        raise ServerError(msg)

    worker = workers.start("test", work)
    worker._thread.join(5)

    with pytest.raises(ServerError, match="no more events"):
        workers.is_running("test")
    assert not workers.is_running("test")


LEAVES = """
import sys
from clickstream import workers

def leave(stop):
    stop.wait()
    workers.within(5, lambda: print("left", flush=True))

workers.start("consumer", leave)
"""


def test_a_process_that_ends_tells_its_workers() -> None:
    """So that a consumer leaves its group before the kernel is gone."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVES], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "left\n"
