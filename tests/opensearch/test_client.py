"""A server that is not OpenSearch: always a one-line error, never a KeyError."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from clickstream.demo import target_checks
from clickstream.errors import ClickstreamError, ConfigError, ServerError
from clickstream.opensearch import bulk, index
from clickstream.opensearch import client as opensearch
from clickstream.settings import OpenSearchSettings
from tests.support.errors import raises_shown


@contextmanager
def answering(status: int, body: str, kind: str) -> Iterator[OpenSearchSettings]:
    """Run a server that always gives the same answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815 - http.server names them

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield OpenSearchSettings(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


QUESTIONS: list[Callable[[Any, str], object]] = [
    index.count,
    index.read_facts,
    index.check_mapping,
    index.oldest_ms,
    index.newest,
    index.ids,
    lambda client, name: index.search(client, name, {}),
]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, json.dumps({"name": "another"}), "application/json"),
        (200, json.dumps([1, 2]), "application/json"),
        (200, "<html><title>Log in</title></html>", "text/html"),
        (404, json.dumps([1, 2]), "application/json"),
        (404, json.dumps({"statusCode": 404, "error": "Not Found"}), "application/json"),
        (404, "<html><title>404 Not Found</title></html>", "text/html"),
    ],
)
def test_what_is_no_opensearch_is_told_as_that(status: int, body: str, kind: str) -> None:
    """JSON of another service, Dashboards and a login page are not taken for OpenSearch."""
    with answering(status, body, kind) as settings:
        client = opensearch.connect(settings)
        for question in QUESTIONS:
            with raises_shown(ConfigError, match=r"is not OpenSearch; use the address of its API"):
                question(client, "clickstream-events")
        with raises_shown(ConfigError, match=r"OpenSearch; use the address|there is no index"):
            target_checks.documents(settings)


@pytest.mark.parametrize(
    ("status", "error_type", "reason", "kind", "told"),
    [
        (403, "security_exception", "no permissions for [x]", ConfigError, "; grant the user"),
        (403, "cluster_block_exception", "blocked by: [FORBIDDEN/99/new];", ConfigError, "; ask "),
        (
            503,
            "cluster_block_exception",
            "blocked by: [SERVICE_UNAVAILABLE/2/no cluster-manager];",
            ServerError,
            "; wait until",
        ),
        (404, "search_context_missing_exception", "No search context", ConfigError, "; see "),
        (400, "any_exception", "two\nlines", ConfigError, "; see "),
    ],
)
def test_every_refusal_has_opensearch_s_reason(
    status: int, error_type: str, reason: str, kind: type[ClickstreamError], told: str
) -> None:
    """Type and reason are in the line; only `security_exception` is a missing permission."""
    error = {"type": error_type, "reason": reason}
    body = json.dumps({"error": error | {"root_cause": [error]}, "status": status})
    cause = re.escape(" ".join(reason.rstrip(";").split()))
    with answering(status, body, "application/json") as settings:
        with raises_shown(kind, match=f"answered {status} {error_type}: {cause}{told}"):
            index.count(opensearch.connect(settings), "clickstream-events")
        with raises_shown(ClickstreamError, match=f"{status} {error_type}: {cause}"):
            bulk.send(opensearch.connect(settings), "clickstream-events", [b"{}\n{}\n"])


@pytest.mark.parametrize("fault", [AttributeError, KeyError, TypeError, ValueError])
def test_a_fault_of_our_own_is_not_told_as_one_of_opensearch(fault: type[Exception]) -> None:
    """An error raised by the block itself passes through unchanged."""
    client = opensearch.connect(OpenSearchSettings("http://127.0.0.1:9"))
    with pytest.raises(fault), opensearch.translated_errors(client, "counting"):
        raise fault
