"""Bulk bodies made beforehand, and how fast OpenSearch takes them.

The best of 1, 2 and 3 senders is the bulk ceiling: no consumer can be faster than a server
that does nothing but wait for the next body.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from opensearchpy import OpenSearch

from clickstream import events
from clickstream.events import Event
from clickstream.opensearch import bulk

SENDERS = (1, 2, 3)


def bodies(sample: Sequence[Event], size: int, *, own_ids: bool = True) -> list[bytes]:
    """Write the bodies of `size` documents each; without ids of ours OpenSearch makes them."""
    actions = [
        bulk.action(event.event_id, events.encode(event))
        if own_ids
        else b'{"create":{}}\n%b\n' % events.encode(event)
        for event in sample
    ]
    return [b"".join(actions[i : i + size]) for i in range(0, len(actions), size)]


def seconds(client: OpenSearch, name: str, bodies: Sequence[bytes], senders: int) -> float:
    """Send them all, so many at a time. A document that is not stored is an error."""
    started_s = time.monotonic()
    with ThreadPoolExecutor(senders) as pool:
        for answers in pool.map(lambda body: bulk.send(client, name, [body]), bodies):
            assert [each.outcome for each in answers] == [bulk.Outcome.STORED]
    return time.monotonic() - started_s
