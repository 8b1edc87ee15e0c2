"""The fault proxy in front of an OpenSearch that never answers."""

import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from clickstream.opensearch import bulk
from tests.support.proxied import Stage, action, in_background, threads_of_proxies, wait_until


@pytest.mark.slow
def test_closing_does_not_wait_for_opensearch(
    stage: Stage, frozen: Callable[[str], AbstractContextManager[None]]
) -> None:
    """An OpenSearch that never answers leaves no thread and no socket in the proxy."""
    with frozen("opensearch"):
        sent = in_background(lambda: stage.bulk(action(1)))
        wait_until(lambda: stage.proxy.counts.documents_passed_on == 1)
        started_s = time.monotonic()
        stage.proxy.close()

        assert time.monotonic() - started_s < 2
        assert threads_of_proxies() == []
        with pytest.raises(bulk.Unavailable):
            sent.result(timeout=5)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(stage.address())
