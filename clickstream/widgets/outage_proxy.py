"""A proxy to an OpenSearch that we may not stop; the proxy can go down on command.

All requests pass unchanged. It listens only on loopback and adds no credentials, except a client
certificate in its TLS context: any program on this machine that uses the proxy acts with it.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from clickstream.errors import ServerError

_CONNECT_S = 5.0
# Headers of a single connection (RFC 9110, 7.6.1), or set again on ours.
_NOT_PASSED_ON = {
    *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer"),
    *("transfer-encoding", "upgrade", "host", "content-length", "expect"),
}


@dataclass(frozen=True)
class Answer:
    """The response to the client; a content-length header overrides the body's length."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


class OutageProxy:
    """A proxy to one OpenSearch, from its creation until it is closed.

    Args:
        upstream_url: the URL of the OpenSearch, `http` or `https`.
        context: the TLS context for `https`.
    """

    def __init__(self, upstream_url: str, *, context: ssl.SSLContext | None = None) -> None:
        upstream = urlsplit(upstream_url)
        kind: Callable[..., HTTPConnection] = HTTPConnection
        if upstream.scheme == "https":
            kind = partial(HTTPSConnection, context=context)
        self._connect = partial(kind, upstream.hostname, upstream.port, timeout=_CONNECT_S)
        self._switch_lock = threading.Lock()
        self._listener: _Listener | None = _Listener(0, self)
        self._port = self._listener.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}{upstream.path.rstrip('/')}"

    def upstream(self) -> HTTPConnection:
        """Open a connection to the OpenSearch, for one request."""
        return self._connect()

    def take_down(self) -> None:
        """Cut all connections and close the port, so that new ones fail; repeating is safe.

        Promise: afterwards it forwards nothing, and no thread and no socket is left.
        """
        with self._switch_lock:
            if self._listener:
                self._listener.close()
            self._listener = None

    close = take_down

    @property
    def is_up(self) -> bool:
        """Whether its port is open."""
        return self._listener is not None

    def bring_up(self) -> None:
        """Open the same port again; repeating is safe.

        Raises:
            ServerError: another program took the port in the meantime.
        """
        try:
            with self._switch_lock:
                self._listener = self._listener or _Listener(self._port, self)
        except OSError as error:
            msg = f"the proxy cannot open port {self._port} again: {error}"
            raise ServerError(msg, "create a new proxy") from error

    def answer(self, exchange: Exchange) -> Answer | None:
        """Answer one request; None closes the connection without an answer."""
        return exchange.forward()


class _Listener(TCPServer):
    """The open port and its connections."""

    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, port: int, proxy: OutageProxy) -> None:
        super().__init__(("127.0.0.1", port), Exchange)
        self.proxy = proxy
        self.is_closing = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._acceptor = _start(self.serve_forever, 0.02)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle every connection in a separate thread."""
        living = [thread for thread in self._threads if thread.is_alive()]
        self._threads = [*living, _start(self._serve, request, client_address)]

    def _serve(self, connection: socket.socket, client_address: Any) -> None:
        # An OSError: either side may close the connection at any time.
        with connection, suppress(OSError), self.cuttable(connection):
            self.finish_request(connection, client_address)

    @contextmanager
    def cuttable(self, connection: socket.socket) -> Iterator[None]:
        """Allow `close` to cut a connection inside the block."""
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
        """Refuse new connections, cut existing ones, and wait for every thread."""
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
    name = "clickstream-outage-proxy"
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    return thread


class Exchange(BaseHTTPRequestHandler):
    """A client's connection with its current request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def forward(self, body: bytes | None = None) -> Answer:
        """Forward the request, or another body instead; read OpenSearch's complete answer."""
        body = self.body if body is None else body
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _NOT_PASSED_ON}
        upstream = self.server.proxy.upstream()  # a new connection per request cannot be stale
        try:
            upstream.connect()
            with self.server.cuttable(upstream.sock):
                upstream.sock.settimeout(None)  # the client sets the timeout
                upstream.request(self.command, self.path, body or None, headers)
                response = upstream.getresponse()
                answer = response.read()
        except (OSError, HTTPException) as error:
            reason = f"no answer from OpenSearch behind the proxy: {error!r}"
            refusal = {"error": {"type": "bad_gateway", "reason": reason}, "status": 502}
            return Answer(502, json.dumps(refusal).encode())
        finally:
            upstream.close()
        # The answer to HEAD has a length and no body.
        dropped = _NOT_PASSED_ON - {"content-length" if self.command == "HEAD" else ""}
        names = [name for name in map(str.lower, response.headers) if name not in dropped]
        return Answer(response.status, answer, {k: response.getheader(k, "") for k in names})

    def _handle(self) -> None:
        length = int(self.headers.get("content-length", 0))
        self.body = self.rfile.read(length)
        answer = None
        # Do not forward an incomplete request, or one without a length.
        if len(self.body) == length and "transfer-encoding" not in self.headers:
            answer = self.server.proxy.answer(self)
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

    # The method names that http.server calls.
    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

    def log_message(self, *args: object) -> None:
        """Log nothing, because stderr shows in a notebook's output."""
