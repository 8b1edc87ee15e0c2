"""A proxy before OpenSearch that misbehaves on command: refuses, loses answers, is down.

The server behind it is a real one, so what the client is told can be held against what
became of the documents. Only `_bulk` requests meet a fault; all others pass unchanged. It
takes bulk bodies to be as the kit writes them: uncompressed pairs of an action line and a
document line.
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
from urllib.parse import urlsplit

from clickstream.widgets.outage_proxy import Answer, Exchange, OutageProxy

_OVERLOADED = {"type": "rejected_execution_exception", "reason": "rejected by the fault proxy"}


@dataclass
class Counts:
    """What became of bulk requests in the proxy; set one to 0 to count anew."""

    bulks: int = 0
    documents_passed_on: int = 0
    documents_rejected: int = 0
    """By the proxy itself: OpenSearch never saw them."""
    answers_lost: int = 0
    answers_cut: int = 0
    connections_reset: int = 0
    most_at_once: int = 0
    """The largest number of bulk requests under way side by side."""


@dataclass(frozen=True)
class Bulk:
    """One bulk request on its way through the proxy."""

    proxy: FaultProxy
    exchange: Exchange

    @property
    def actions(self) -> list[bytes]:
        """Its actions, each with its document."""
        lines = self.exchange.body.split(b"\n")
        return [b"%b\n%b\n" % pair for pair in zip(lines[::2], lines[1::2], strict=False)]

    def forward(self, actions: Sequence[bytes] | None = None) -> Answer:
        """Pass it on, or only these of its actions; read OpenSearch's answer in full."""
        return self.exchange.forward(None if actions is None else b"".join(actions))


Fault = Callable[[Bulk], Answer | None]
"""What meets a bulk request: it gives the answer, or None to hang up without a byte."""


@dataclass(frozen=True, kw_only=True)
class _Sometimes(ABC):
    """A fault that strikes a request with chance `share`, and else lets it pass."""

    share: float = 1.0

    def __call__(self, bulk: Bulk) -> Answer | None:
        return self._strike(bulk) if bulk.proxy.rng.random() < self.share else bulk.forward()

    @abstractmethod
    def _strike(self, bulk: Bulk) -> Answer | None: ...


@dataclass(frozen=True, kw_only=True)
class RejectItems:
    """Reject each document with chance `share`, item status 429; forward the others.

    A `filter_path` of the request has to keep `items.*.status`: without it OpenSearch leaves
    out the items of stored documents, and nobody can tell which is which.
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
    """Forward, read the answer in full, and close the connection without a byte of it."""

    def _strike(self, bulk: Bulk) -> Answer | None:
        bulk.forward()
        bulk.proxy.count(answers_lost=1)
        return None


@dataclass(frozen=True, kw_only=True)
class CutAnswer(_Sometimes):
    """Forward, and send the first half of the answer's body."""

    honest_length: bool = True
    """Announce the length of the whole, so that the client sees the cut; or that of the half."""

    def _strike(self, bulk: Bulk) -> Answer | None:
        answer = bulk.forward()
        bulk.proxy.count(answers_cut=1)
        length = len(answer.body)
        announced = {"content-length": str(length)} if self.honest_length else {}
        return Answer(answer.status, answer.body[: length // 2], answer.headers | announced)


@dataclass(frozen=True)
class Delay:
    """Forward after a wait; the proxy's going down ends it, with nothing forwarded."""

    seconds: float

    def __call__(self, bulk: Bulk) -> Answer | None:
        """Wait first."""
        bulk.exchange.server.is_closing.wait(self.seconds)
        return bulk.forward()


class Storm:
    """Several faults in turn: each request meets the next of them."""

    def __init__(self, *faults: Fault) -> None:
        self._next = cycle(faults)

    def __call__(self, bulk: Bulk) -> Answer | None:
        """Take the next; whether it strikes is its own share's matter."""
        return next(self._next)(bulk)


def _refusal(status: int, error: dict[str, str]) -> Answer:
    return Answer(status, json.dumps({"error": error, "status": status}).encode())


class FaultProxy(OutageProxy):
    """An `OutageProxy` at which bulk requests meet a fault.

    Args:
        upstream_url: of the OpenSearch behind it.
        rng: where the faults' chances come from, of a fixed seed by default. Requests side by
            side draw from it in the order in which they come.
    """

    def __init__(self, upstream_url: str, *, rng: Random | None = None) -> None:
        self.rng = rng or Random(1)
        self.fault: Fault | None = None
        """What meets each bulk request from now on; with None all pass."""
        self.counts = Counts()
        self._under_way = 0
        self._lock = threading.Lock()
        super().__init__(upstream_url)

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
