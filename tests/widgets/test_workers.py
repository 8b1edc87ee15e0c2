"""Named workers: only one per name, and none after a stop."""

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from jupyter_client.manager import run_kernel

from clickstream.errors import ServerError
from clickstream.widgets import workers


@pytest.fixture(autouse=True)
def nobody_left() -> Iterator[None]:
    """End every worker that a test starts."""
    yield
    workers.stop("test")
    assert [t.name for t in threading.enumerate() if t.name == "clickstream-test"] == []


def test_starting_again_replaces_the_old_one() -> None:
    """After ten simultaneous starts one worker runs, and the others have ended."""
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
    workers.stop("test")
    assert alive == []
    assert not workers.is_running("test")
    workers.stop("test")  # without a worker nothing happens


def test_what_ended_a_worker_is_told_once() -> None:
    """The error that ended a worker is raised exactly once."""

    def work(stop: threading.Event) -> None:
        msg = "no more events"
        raise ServerError(msg)

    worker = workers.start("test", work)
    worker._thread.join(5)

    with pytest.raises(ServerError, match="no more events"):
        workers.is_running("test")
    assert not workers.is_running("test")


COUNTS = """
from ipywidgets import IntText
from clickstream.widgets import workers

shown = IntText()

def count(stop):
    for _ in workers.ticks(0.01, stop):
        shown.value += 1

workers.start("counter", count)
"""


def test_what_a_worker_shows_belongs_to_the_cell_that_started_it() -> None:
    """A worker's output belongs to its cell, so a reloading page does not misread it."""
    with run_kernel(kernel_name="python3") as kernel:
        started = kernel.execute(COUNTS)
        kernel.get_shell_msg(timeout=60)
        asked = kernel.execute("import time; time.sleep(2)")
        kernel.get_shell_msg(timeout=60)
        shown = []
        while (message := kernel.get_iopub_msg(timeout=60))["parent_header"]["msg_id"] != asked or (
            message["content"].get("execution_state") != "idle"
        ):
            if message["msg_type"] == "comm_msg":
                shown.append(message["parent_header"]["msg_id"])
        kernel.execute("workers.stop('counter')", reply=True, timeout=60)

    assert len(shown) > 5
    assert set(shown) == {started}


LEAVES = """
import sys
from clickstream.kafka.group_reader import run_with_timeout
from clickstream.widgets import workers

def leave(stop):
    stop.wait()
    run_with_timeout(5, lambda: print("left", flush=True))

workers.start("consumer", leave)
"""


def test_a_process_that_ends_tells_its_workers() -> None:
    """A process that ends stops its workers, so that a consumer leaves its group."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVES], capture_output=True, text=True, timeout=20, check=True
    )
    assert done.stdout == "left\n"
