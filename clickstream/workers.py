"""Named background threads: starting one replaces the old, stopping waits until it is gone.

A cell may be run again at any time; a name is what keeps its work from being doubled.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import defaultdict
from collections.abc import Callable

from clickstream.errors import ServerError

_STOP_S = 20.0
_AT_EXIT_S = 3.0
"""JupyterLab kills a kernel that takes longer than five seconds to end."""


class Worker:
    """A daemon thread that is told to stop by an event."""

    def __init__(self, name: str, work: Callable[[threading.Event], object]) -> None:
        self.name = name
        self.error: Exception | None = None
        """What ended it, where that was an error."""
        self._stop = threading.Event()
        self._work = work
        self._thread = threading.Thread(target=self._run, name=f"clickstream-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work(self._stop)
        except Exception as error:
            self.error = error

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    def tell(self) -> None:
        """Tell it to stop, and do not wait."""
        self._stop.set()

    def wait(self, most_s: float) -> None:
        """Wait until it has ended, so long at most."""
        self._thread.join(most_s)

    def stop(self) -> None:
        """Tell it to stop, and wait until it has."""
        self.tell()
        self.wait(_STOP_S)
        if self.is_running:
            msg = f"worker {self.name!r} did not stop within {_STOP_S:.0f} s; restart the kernel"
            raise ServerError(msg)


_workers: dict[str, Worker] = {}
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def start(name: str, work: Callable[[threading.Event], object]) -> Worker:
    """Run `work(stop)` in the background; one of that name that still runs is stopped first.

    Args:
        name: of the worker; its thread is `clickstream-NAME`.
        work: returns soon after its event is set: it waits 0.2 s at most without looking.

    Raises:
        ServerError: the old one did not stop.
    """
    with _locks[name]:
        if name in _workers:
            _workers[name].stop()
        _workers[name] = Worker(name, work)
        return _workers[name]


def stop(name: str) -> bool:
    """Stop it and wait until it is gone; say whether it was running.

    Raises:
        Exception: what had ended it before, told once.
        ServerError: it did not stop.
    """
    with _locks[name]:
        worker = _workers.pop(name, None)
        if worker is None:
            return False
        was_running = worker.is_running
        worker.stop()
        if worker.error is not None:
            raise worker.error
        return was_running


def is_running(name: str) -> bool:
    """Say whether a worker of that name is at work.

    Raises:
        Exception: what had ended it, told once.
    """
    with _locks[name]:
        worker = _workers.get(name)
        if worker is not None and worker.error is not None:
            del _workers[name]
            raise worker.error
        return worker is not None and worker.is_running


@atexit.register
def _stop_all() -> None:
    """Let a consumer leave its group, so that the next kernel need not wait for its seat."""
    for worker in list(_workers.values()):
        worker.tell()
    ends_s = time.monotonic() + _AT_EXIT_S
    for worker in list(_workers.values()):
        worker.wait(max(0.0, ends_s - time.monotonic()))
