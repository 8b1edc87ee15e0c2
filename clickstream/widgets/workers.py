"""Named background threads: a new one replaces the old one, and stopping waits for the end.

A cell may be run again at any time; the name of its worker prevents duplicate work.
"""

from __future__ import annotations

import atexit
import contextvars
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from clickstream.errors import Interrupted, ServerError

_STOP_S = 20.0
_AT_EXIT_S = 3.0
"""JupyterLab kills a kernel that takes longer than five seconds to end."""


class Worker:
    """A daemon thread with an event that asks it to stop."""

    def __init__(self, name: str, work: Callable[[threading.Event], object]) -> None:
        self.name = name
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._work = work
        # In the context of the cell that starts it. Without one, ipykernel sends widget updates as
        # the answer to the page's latest request. A page that is loading requests the state of
        # every widget, and would mistake a chart's next figure for that state.
        self._thread = threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._run,),
            name=f"clickstream-{name}",
            daemon=True,
        )
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work(self._stop)
        except Exception as error:
            self._error = error

    @property
    def is_running(self) -> bool:
        """Whether it still runs."""
        return self._thread.is_alive()

    def raise_error(self) -> None:
        """Raise the error that ended it, if any; once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def request_stop(self) -> None:
        """Request a stop without waiting."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        """Wait until it has ended, at most `timeout_s` seconds."""
        self._thread.join(timeout_s)

    def stop(self) -> None:
        """Request a stop, and wait until it has ended."""
        self.request_stop()
        self.join(_STOP_S)
        if self.is_running:
            msg = f"worker {self.name!r} did not stop within {_STOP_S:.0f} s"
            raise ServerError(msg, "restart the kernel")


_workers: dict[str, Worker] = {}
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def start(name: str, work: Callable[[threading.Event], object]) -> Worker:
    """Run `work(stop)` in the background; first stop a running worker of the same name.

    Args:
        name: the name of the worker; its thread is `clickstream-NAME`.
        work: returns soon after its event is set; it must check the event every 0.2 s.

    Raises:
        ServerError: the old worker did not stop.
    """
    with _locks[name]:
        if name in _workers:
            _workers[name].stop()
        _workers[name] = Worker(name, work)
        return _workers[name]


def stop(name: str) -> None:
    """Stop a worker and wait until it has ended; without it nothing happens.

    Raises:
        Exception: the error that had ended it before; raised once.
        ServerError: it did not stop.
    """
    with _locks[name]:
        worker = _workers.pop(name, None)
        if worker is not None:
            worker.stop()
            worker.raise_error()


def is_running(name: str) -> bool:
    """Return whether a worker of that name runs, without waiting, even during a stop.

    Raises:
        Exception: the error that had ended it; raised once.
    """
    worker = _workers.get(name)
    if worker is None:
        return False
    worker.raise_error()
    return worker.is_running


def end(*names: str) -> None:
    """Stop workers one by one, and drop the errors that had ended them."""
    for name in names:
        with suppress(Exception):
            stop(name)


@contextmanager
def interruptible(doing: str) -> Iterator[None]:
    """Turn the notebook's stop button into an error that says what it stopped: only the wait.

    Raises:
        Interrupted: the stop button was pressed in the block.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        msg = f"stopped {doing}; background work continues"
        raise Interrupted(msg, "run the cell again") from error


def ticks(every_s: float, stop: threading.Event) -> Iterator[None]:
    """Tick every `every_s` seconds until stopped, regardless of the work in between."""
    next_s = time.monotonic()
    while not stop.is_set():
        yield
        next_s = max(next_s + every_s, time.monotonic())
        stop.wait(next_s - time.monotonic())


@atexit.register
def _stop_all() -> None:
    """Make a consumer leave its group, so that the next kernel gets its partitions at once."""
    for worker in list(_workers.values()):
        worker.request_stop()
    ends_s = time.monotonic() + _AT_EXIT_S
    for worker in list(_workers.values()):
        worker.join(max(0.0, ends_s - time.monotonic()))
