"""A fault proxy to the tests' OpenSearch, with requests to both sides."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from random import Random
from urllib.parse import urlsplit

from opensearchpy import OpenSearch

from clickstream.opensearch import bulk, client, index
from clickstream.opensearch.bulk import Outcome
from clickstream.settings import Settings
from tests.support.faults import FaultProxy

THREAD = "clickstream-outage-proxy"


def event_id(number: int) -> str:
    """The id of a login event."""
    return f"019b8b74-0000-7000-8000-{number:012x}"


def action(number: int, **change: object) -> bytes:
    """One create action of a login event, with changed fields."""
    document = {
        "event_id": event_id(number),
        "event_type": "login",
        "timestamp": "2026-01-05T00:00:00.000Z",
        "user_id": "reader-0042",
        "session_id": "s",
        "session_seq": number,
        "device_type": "mobile",
    } | change
    return bulk.action(event_id(number), json.dumps(document).encode())


class Stage:
    """A proxy to the tests' OpenSearch, and one test's index, with and without the proxy."""

    def __init__(self, fresh: Settings) -> None:
        self.upstream = fresh.opensearch
        self.name = fresh.opensearch.index
        self.proxy = FaultProxy(fresh.opensearch.url, rng=Random(1))
        self.client = self.new_client()

    def new_client(self) -> OpenSearch:
        """Return a client that goes through the proxy."""
        return client.connect(replace(self.upstream, url=self.proxy.url))

    def bulk(self, *actions: bytes) -> list[Outcome]:
        """Send a bulk through the proxy."""
        return [answer.outcome for answer in bulk.send(self.client, self.name, actions)]

    def stored(self) -> list[int]:
        """The numbers of the stored documents, read without the proxy."""
        direct = client.connect(self.upstream)
        index.refresh(direct, self.name)
        return sorted(int(found[-12:], 16) for found in index.ids(direct, self.name))

    def address(self) -> tuple[str, int]:
        """The address of the proxy."""
        url = urlsplit(self.proxy.url)
        return str(url.hostname), int(url.port or 0)


def threads_of_proxies() -> list[threading.Thread]:
    """The living threads of proxies."""
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


def in_background(work: Callable[[], object]) -> Future[object]:
    """Run work in a daemon thread."""
    future: Future[object] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait a few seconds for another thread."""
    deadline_s = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
