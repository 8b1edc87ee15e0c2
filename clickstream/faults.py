"""A proxy before OpenSearch that misbehaves on command: refuses, loses answers, is down.

The server behind it is a real one, so what the client is told can be held against what
became of the documents. Only `_bulk` requests meet a fault; all others pass unchanged. It
listens on loopback alone, adds no credentials (but a certificate in its context, with which
whoever asks it on this machine is taken for us), and takes bulk bodies to be as the kit writes
them: uncompressed pairs of an action line and a document line.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler
from itertools import cycle
from random import Random
from socketserver import TCPServer
from typing import Any, Self
from urllib.parse import urlsplit

from clickstream.errors import ServerError

_CONNECT_S = 5.0
_OVERLOADED = {"type": "rejected_execution_exception", "reason": "rejected by the fault proxy"}
# Of one connection only (RFC 9110, 7.6.1), or said anew on ours.
_NOT_PASSED_ON = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
    *("transfer-encoding", "upgrade", "host", "content-length", "expect"),
}


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
class Answer:
    """What the client is told; a content-length among the headers overrides the body's own."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


Fault = Callable[["Exchange"], Answer | None]
"""What meets a bulk request: it gives the answer, or None to hang up without a byte."""


@dataclass(frozen=True, kw_only=True)
class _Sometimes(ABC):
    """A fault that strikes a request with chance `share`, and else lets it pass."""

    share: float = 1.0

    def __call__(self, bulk: Exchange) -> Answer | None:
        return self._strike(bulk) if bulk.proxy.rng.random() < self.share else bulk.forward()

    @abstractmethod
    def _strike(self, bulk: Exchange) -> Answer | None: ...


@dataclass(frozen=True, kw_only=True)
class RejectItems:
    """Reject each document with chance `share`, item status 429; forward the others.

    A `filter_path` of the request has to keep `items.*.status`: without it OpenSearch leaves
    out the items of stored documents, and nobody can tell which is which.
    """

    share: float = 1.0

    def __call__(self, bulk: Exchange) -> Answer | None:
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

    def _strike(self, bulk: Exchange) -> Answer | None:
        bulk.proxy.count(documents_rejected=len(bulk.actions))
        return _refusal(self.status, _OVERLOADED)


class Reset(_Sometimes):
    """Close the connection by RST, as when the server is killed; forward nothing."""

    def _strike(self, bulk: Exchange) -> Answer | None:
        bulk.proxy.count(connections_reset=1)
        linger = struct.pack("ii", 1, 0)
        bulk.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return None


class LoseAnswer(_Sometimes):
    """Forward, read the answer in full, and close the connection without a byte of it."""

    def _strike(self, bulk: Exchange) -> Answer | None:
        bulk.forward()
        bulk.proxy.count(answers_lost=1)
        return None


@dataclass(frozen=True, kw_only=True)
class CutAnswer(_Sometimes):
    """Forward, and send the first half of the answer's body."""

    honest_length: bool = True
    """Announce the length of the whole, so that the client sees the cut; or that of the half."""

    def _strike(self, bulk: Exchange) -> Answer | None:
        answer = bulk.forward()
        bulk.proxy.count(answers_cut=1)
        length = len(answer.body)
        announced = {"content-length": str(length)} if self.honest_length else {}
        return Answer(answer.status, answer.body[: length // 2], answer.headers | announced)


@dataclass(frozen=True)
class Delay:
    """Forward after a wait; the proxy's going down ends it, with nothing forwarded."""

    seconds: float

    def __call__(self, bulk: Exchange) -> Answer | None:
        """Wait first."""
        bulk.server.is_closing.wait(self.seconds)
        return bulk.forward()


class Storm:
    """Several faults in turn: each request meets the next of them."""

    def __init__(self, *faults: Fault) -> None:
        self._next = cycle(faults)

    def __call__(self, bulk: Exchange) -> Answer | None:
        """Take the next; whether it strikes is its own share's matter."""
        return next(self._next)(bulk)


def _refusal(status: int, error: dict[str, str]) -> Answer:
    return Answer(status, json.dumps({"error": error, "status": status}).encode())


class FaultProxy:
    """Stands before one OpenSearch, from the start until it is closed.

    Args:
        upstream_url: of the OpenSearch behind it, `http` or `https`.
        rng: where the faults' chances come from, of a fixed seed by default. Requests side by
            side draw from it in the order in which they come.
        context: for `https`, whom to trust.
    """

    def __init__(
        self, upstream_url: str, *, rng: Random | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        upstream = urlsplit(upstream_url)
        kind: Callable[..., HTTPConnection] = HTTPConnection
        if upstream.scheme == "https":
            kind = partial(HTTPSConnection, context=context)
        self.upstream = partial(kind, upstream.hostname, upstream.port, timeout=_CONNECT_S)
        self.rng = rng or Random(1)
        self.fault: Fault | None = None
        """What meets each bulk request from now on; with None all pass."""
        self.counts = Counts()
        self._under_way = 0
        self._lock = threading.Lock()
        self._moving = threading.Lock()
        self._door: _Door | None = _Door(0, self)
        self._port = self._door.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}{upstream.path.rstrip('/')}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def take_down(self) -> None:
        """Cut all connections and close the port, so that new ones are refused; repeat at will.

        Promise: then nothing more is forwarded, and no thread and no socket is left.
        """
        with self._moving:
            if self._door:
                self._door.close()
            self._door = None

    close = take_down

    @property
    def is_up(self) -> bool:
        """Whether its port is open."""
        return self._door is not None

    def bring_up(self) -> None:
        """Open the same port again; repeat at will.

        Raises:
            ServerError: somebody else took the port meanwhile.
        """
        try:
            with self._moving:
                self._door = self._door or _Door(self._port, self)
        except OSError as error:
            msg = f"the proxy cannot open port {self._port} again: {error}; make a new proxy"
            raise ServerError(msg) from error

    def count(self, **more: int) -> None:
        """Add to the counts of these names; any thread may."""
        with self._lock:
            for name, number in more.items():
                setattr(self.counts, name, getattr(self.counts, name) + number)

    def answer(self, bulk: Exchange) -> Answer | None:
        """Let the fault of the moment meet a bulk request."""
        with self._lock:
            self._under_way += 1
            self.counts.bulks += 1
            self.counts.most_at_once = max(self.counts.most_at_once, self._under_way)
        fault = self.fault  # read once: another thread may set it now
        try:
            return fault(bulk) if fault else bulk.forward()
        finally:
            # Before the client hears of it: its next request is not beside this one.
            with self._lock:
                self._under_way -= 1


class _Door(TCPServer):
    """The open port, and all that came in by it."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, proxy: FaultProxy) -> None:
        super().__init__(("127.0.0.1", port), Exchange)
        self.proxy = proxy
        self.is_closing = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._acceptor = _start(self.serve_forever, 0.02)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give every connection a thread of its own."""
        living = [thread for thread in self._threads if thread.is_alive()]
        self._threads = [*living, _start(self._serve, request, client_address)]

    def _serve(self, connection: socket.socket, client_address: Any) -> None:
        # An OSError: either side may hang up at any time.
        with connection, suppress(OSError), self.cuttable(connection):
            self.finish_request(connection, client_address)

    @contextmanager
    def cuttable(self, connection: socket.socket) -> Iterator[None]:
        """Let `close` cut a connection inside the block."""
        with self._lock:
            if self.is_closing.is_set():
                raise ConnectionAbortedError
            self._connections.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._connections.remove(connection)

    def close(self) -> None:
        """Refuse new connections, cut those there are, and see every thread end."""
        self.shutdown()
        self.server_close()
        with self._lock:
            self.is_closing.set()
            for connection in self._connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in (self._acceptor, *self._threads):
            thread.join()


def _start(target: Callable[..., None], *args: Any) -> threading.Thread:
    name = "clickstream-fault-proxy"
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    return thread


class Exchange(BaseHTTPRequestHandler):
    """A client's connection, with the request that is on it; a fault gets it in hand."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Door

    @property
    def actions(self) -> list[bytes]:
        """Those of the bulk request, each with its document."""
        lines = self._body.split(b"\n")
        return [b"%b\n%b\n" % pair for pair in zip(lines[::2], lines[1::2], strict=False)]

    def forward(self, actions: Sequence[bytes] | None = None) -> Answer:
        """Pass the request on, or only these of its actions; read OpenSearch's answer in full."""
        body = self._body if actions is None else b"".join(actions)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _NOT_PASSED_ON}
        upstream = self.proxy.upstream()  # of this request alone: it cannot be stale
        try:
            upstream.connect()
            with self.server.cuttable(upstream.sock):
                upstream.sock.settimeout(None)  # how long it may take is the client's to say
                upstream.request(self.command, self.path, body or None, headers)
                if self._is_bulk:
                    self.proxy.count(documents_passed_on=body.count(b"\n") // 2)
                response = upstream.getresponse()
                answer = response.read()
        except (OSError, HTTPException) as error:
            reason = f"no answer from OpenSearch behind the fault proxy: {error!r}"
            return _refusal(502, {"type": "bad_gateway", "reason": reason})
        finally:
            upstream.close()
        # The answer to HEAD has a length and no body.
        dropped = _NOT_PASSED_ON - {"content-length" if self.command == "HEAD" else ""}
        names = [name for name in map(str.lower, response.headers) if name not in dropped]
        return Answer(response.status, answer, {k: response.getheader(k, "") for k in names})

    def _handle(self) -> None:
        self.proxy = self.server.proxy
        self._is_bulk = urlsplit(self.path).path.endswith("/_bulk")
        length = int(self.headers.get("content-length", 0))
        self._body = self.rfile.read(length)
        answer = None
        # Half a request, and one of a length that nobody told, goes no further.
        if len(self._body) == length and "transfer-encoding" not in self.headers:
            answer = self.proxy.answer(self) if self._is_bulk else self.forward()
        if answer is None:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        headers = {"content-length": str(len(answer.body))} | answer.headers
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
            self.close_connection |= int(headers["content-length"]) > len(answer.body)

    # The names by which http.server asks.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

    def log_message(self, *args: object) -> None:
        """Stay quiet: stderr is a notebook's output."""
