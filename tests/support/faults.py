"""A proxy to OpenSearch that fails on command: it refuses, loses answers, or is down.

The server behind it is real, so a test can compare the answers with the stored documents. Faults
affect only `_bulk` requests; all others pass unchanged. It expects bulk bodies as the kit writes
them: uncompressed pairs of an action line and a document line.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from itertools import cycle
from random import Random
from typing import Self
from urllib.parse import urlsplit

from clickstream.widgets.outage_proxy import Answer, Exchange, OutageProxy

_OVERLOADED = {"type": "rejected_execution_exception", "reason": "rejected by the fault proxy"}


@dataclass
class ProxyCounts:
    """Counts of bulk requests in the proxy; set one to 0 to restart it."""

    bulks: int = 0
    documents_passed_on: int = 0
    documents_rejected: int = 0
    """Documents rejected by the proxy itself; OpenSearch never received them."""
    answers_lost: int = 0
    answers_cut: int = 0
    connections_reset: int = 0
    most_at_once: int = 0
    """The largest number of parallel bulk requests."""


@dataclass(frozen=True)
class Bulk:
    """One bulk request in the proxy."""

    proxy: FaultProxy
    exchange: Exchange

    @property
    def actions(self) -> list[bytes]:
        """The actions, each with its document."""
        lines = self.exchange.body.split(b"\n")
        return [b"%b\n%b\n" % pair for pair in zip(lines[::2], lines[1::2], strict=False)]

    def forward(self, actions: Sequence[bytes] | None = None) -> Answer:
        """Forward it, or only some of its actions, and read OpenSearch's complete answer."""
        return self.exchange.forward(None if actions is None else b"".join(actions))


Fault = Callable[[Bulk], Answer | None]
"""A fault returns the answer to a bulk request, or None to close the connection."""


@dataclass(frozen=True, kw_only=True)
class _Sometimes(ABC):
    """A fault that affects a request with probability `share`, and otherwise forwards it."""

    share: float = 1.0

    def __call__(self, bulk: Bulk) -> Answer | None:
        return self._strike(bulk) if bulk.proxy.rng.random() < self.share else bulk.forward()

    @abstractmethod
    def _strike(self, bulk: Bulk) -> Answer | None: ...


@dataclass(frozen=True, kw_only=True)
class RejectItems:
    """Reject each document with probability `share`, item status 429; forward the others.

    A `filter_path` of the request must keep `items.*.status`. Otherwise OpenSearch omits the items
    of stored documents, and the items cannot be matched.
    """

    share: float = 1.0

    def __call__(self, bulk: Bulk) -> Answer | None:
        """Merge OpenSearch's answers with ours, in the order of the request."""
        chosen = [bulk.proxy.rng.random() < self.share for _ in bulk.actions]
        if not any(chosen):
            return bulk.forward()
        kept = [action for action, is_mine in zip(bulk.actions, chosen, strict=True) if not is_mine]
        answer = bulk.forward(kept) if kept else Answer(200, b'{"items": []}')
        if answer.status != 200:
            return answer
        bulk.proxy.count(documents_rejected=sum(chosen))
        told = json.loads(answer.body)
        mine, theirs = {"create": {"status": 429, "error": _OVERLOADED}}, iter(told["items"])
        items = [mine if is_mine else next(theirs) for is_mine in chosen]
        return replace(answer, body=json.dumps(told | {"errors": True, "items": items}).encode())


@dataclass(frozen=True)
class Refuse(_Sometimes):
    """Answer the whole request with a status such as 429 or 503; forward nothing."""

    status: int

    def _strike(self, bulk: Bulk) -> Answer | None:
        bulk.proxy.count(documents_rejected=len(bulk.actions))
        return _refusal(self.status, _OVERLOADED)


class Reset(_Sometimes):
    """Close the connection by RST, as when the server is killed; forward nothing."""

    def _strike(self, bulk: Bulk) -> Answer | None:
        bulk.proxy.count(connections_reset=1)
        linger = struct.pack("ii", 1, 0)
        bulk.exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return None


class LoseAnswer(_Sometimes):
    """Forward, read the complete answer, and close the connection without sending any of it."""

    def _strike(self, bulk: Bulk) -> Answer | None:
        bulk.forward()
        bulk.proxy.count(answers_lost=1)
        return None


@dataclass(frozen=True, kw_only=True)
class CutAnswer(_Sometimes):
    """Forward, and send the first half of the answer's body."""

    honest_length: bool = True
    """Announce the full length, so that the client notices the cut; or the length of the half."""

    def _strike(self, bulk: Bulk) -> Answer | None:
        answer = bulk.forward()
        bulk.proxy.count(answers_cut=1)
        length = len(answer.body)
        announced = {"content-length": str(length)} if self.honest_length else {}
        return Answer(answer.status, answer.body[: length // 2], answer.headers | announced)


@dataclass(frozen=True)
class Delay:
    """Forward after a wait; if the proxy goes down, the wait ends and nothing is forwarded."""

    seconds: float

    def __call__(self, bulk: Bulk) -> Answer | None:
        """Wait first."""
        bulk.exchange.server.is_closing.wait(self.seconds)
        return bulk.forward()


class Storm:
    """Several faults in turn: each request gets the next one."""

    def __init__(self, *faults: Fault) -> None:
        self._next = cycle(faults)

    def __call__(self, bulk: Bulk) -> Answer | None:
        """Apply the next fault, with its own probability."""
        return next(self._next)(bulk)


def _refusal(status: int, error: dict[str, str]) -> Answer:
    return Answer(status, json.dumps({"error": error, "status": status}).encode())


class FaultProxy(OutageProxy):
    """An `OutageProxy` that applies a fault to bulk requests.

    Args:
        upstream_url: the URL of the OpenSearch.
        rng: the source of randomness for faults, by default with a fixed seed. Parallel requests
            draw from it in the order of their arrival.
    """

    def __init__(self, upstream_url: str, *, rng: Random | None = None) -> None:
        self.rng = rng or Random(1)
        self.fault: Fault | None = None
        """The fault for each bulk request from now on; None forwards all."""
        self.counts = ProxyCounts()
        self._under_way = 0
        self._lock = threading.Lock()
        super().__init__(upstream_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def count(self, **more: int) -> None:
        """Add to the counts of these names; any thread may."""
        with self._lock:
            for name, number in more.items():
                setattr(self.counts, name, getattr(self.counts, name) + number)

    def upstream(self) -> HTTPConnection:
        """Count the documents that OpenSearch was sent, whether it answers or not."""
        connection = super().upstream()
        request = connection.request

        def counted(method: str, path: str, body: bytes | None, headers: dict[str, str]) -> None:
            request(method, path, body, headers)
            if _is_bulk(path):
                self.count(documents_passed_on=(body or b"").count(b"\n") // 2)

        connection.request = counted  # type: ignore[method-assign, assignment]
        return connection

    def answer(self, exchange: Exchange) -> Answer | None:
        """Let the fault of the moment meet a bulk request."""
        if not _is_bulk(exchange.path):
            return exchange.forward()
        with self._lock:
            self._under_way += 1
            self.counts.bulks += 1
            self.counts.most_at_once = max(self.counts.most_at_once, self._under_way)
        fault = self.fault  # read once: another thread may set it now
        try:
            return fault(Bulk(self, exchange)) if fault else exchange.forward()
        finally:
            # Before the client hears of it: its next request is not beside this one.
            with self._lock:
                self._under_way -= 1


def _is_bulk(path: str) -> bool:
    return urlsplit(path).path.endswith("/_bulk")
