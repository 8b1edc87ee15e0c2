"""Consumers of a topic: ours, and what somebody would write who has the same clients.

Each is run in a process of its own (`alone.py`) and finds servers, topic and index by the
namespace. All read with a new group from the beginning; the time goes from the first poll,
so that the group's forming is in it, to the last answer.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, Message
from opensearchpy import OpenSearch, helpers

from clickstream import consumer
from clickstream.opensearch import bulk
from clickstream.reports import IndexReport
from clickstream.servers import local
from clickstream.settings import Settings

Cost = tuple[int, float, float]
"""Documents stored, in how many seconds, for how many seconds of CPU."""


def ours(namespace: str, group_id: str) -> Cost:
    """Index all that lies in the topic with the kit's own consumer."""
    settings = _settings(namespace, group_id)
    last_s = [0.0]

    def note(report: IndexReport) -> None:
        # Finding out that nothing more comes is not a part of it.
        last_s[0] = report.seconds

    cpu_s = time.process_time()
    report = consumer.index_topic(settings, until_caught_up=True, on_bulk=note)
    return report.stored, last_s[0], time.process_time() - cpu_s


def until_told(namespace: str, group_id: str) -> None:
    """Index until standard input is closed."""
    consumer.index_topic(_settings(namespace, group_id), stop=_told())


def acknowledged_ms(namespace: str, group_id: str) -> dict[str, float]:
    """Index until standard input is closed: when each event was acknowledged, by its id.

    Looks on from outside: at the moments at which `bulk.send` gives its answers.
    """
    answered: list[tuple[float, list[bytes]]] = []
    send = bulk.send

    def noting(client: OpenSearch, name: str, actions: list[bytes]) -> list[bulk.ItemAnswer]:
        answers = send(client, name, actions)
        answered.append((time.time() * 1000, actions))
        assert all(each.outcome is bulk.Outcome.STORED for each in answers)
        return answers

    bulk.send = noting  # type: ignore[assignment]
    consumer.index_topic(_settings(namespace, group_id), stop=_told())
    return {
        json.loads(action.split(b"\n", 1)[0])["create"]["_id"]: at_ms
        for at_ms, actions in answered
        for action in actions
    }


def with_streaming_bulk(namespace: str, group_id: str, num_messages: int) -> Cost:
    """Index so many messages with opensearch-py's `helpers.streaming_bulk`."""

    def index_all(client: OpenSearch, name: str, messages: Iterator[Message]) -> int:
        answers = helpers.streaming_bulk(
            client, map(_action, messages), chunk_size=consumer.BULK_DOCUMENTS, index=name
        )
        return sum(ok for ok, _ in answers)

    return _in_a_loop(namespace, group_id, num_messages, index_all)


def with_parallel_bulk(namespace: str, group_id: str, num_messages: int) -> Cost:
    """Index so many messages with opensearch-py's `helpers.parallel_bulk` of two threads."""

    def index_all(client: OpenSearch, name: str, messages: Iterator[Message]) -> int:
        answers = helpers.parallel_bulk(
            client,
            map(_action, messages),
            thread_count=2,
            chunk_size=consumer.BULK_DOCUMENTS,
            index=name,
        )
        return sum(ok for ok, _ in answers)

    return _in_a_loop(namespace, group_id, num_messages, index_all)


def with_single_requests(namespace: str, group_id: str, num_messages: int) -> Cost:
    """Index so many messages with one request each."""

    def index_all(client: OpenSearch, name: str, messages: Iterator[Message]) -> int:
        num_stored = 0
        for message in messages:
            document = json.loads(message.value())
            client.create(index=name, id=document["event_id"], body=document)
            num_stored += 1
        return num_stored

    return _in_a_loop(namespace, group_id, num_messages, index_all)


def _in_a_loop(namespace: str, group_id: str, num_messages: int, index_all: Any) -> Cost:
    """Consume in batches, let them be indexed, commit in the end."""
    settings = _settings(namespace, group_id)
    client = OpenSearch(settings.opensearch.url)
    cpu_s, started_s = time.process_time(), time.monotonic()
    reader = Consumer(
        {
            "bootstrap.servers": settings.kafka.bootstrap_servers,
            "group.id": group_id,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    reader.subscribe([settings.kafka.topic])

    def messages() -> Iterator[Message]:
        left = num_messages
        while left:
            batch = reader.consume(min(consumer.BULK_DOCUMENTS, left), timeout=0.1)
            left -= len(batch)
            yield from batch

    num_stored = index_all(client, settings.opensearch.index, messages())
    seconds = time.monotonic() - started_s
    reader.commit(asynchronous=False)
    reader.close()
    return num_stored, seconds, time.process_time() - cpu_s


def _action(message: Message) -> dict[str, Any]:
    document = json.loads(message.value())
    return {"_op_type": "create", "_id": document["event_id"], "_source": document}


def _settings(namespace: str, group_id: str) -> Settings:
    return local.find().in_namespace(namespace).for_group(group_id)


def _told() -> threading.Event:
    """Give what is set once standard input is closed."""
    told = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        told.set()

    threading.Thread(target=wait, daemon=True).start()
    return told
