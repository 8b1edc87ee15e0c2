"""Shared code of delivery tests: send events, run consumer processes, and check by id."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from itertools import islice

from confluent_kafka import Producer

from clickstream import events, producer
from clickstream.kafka import messages, offsets
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.settings import KafkaSettings, Settings
from clickstream.simulation.simulator import Simulator

MONDAY_MS = 1_767_571_200_000


def send(made: Settings, num_events: int, *, seed: int = 3) -> list[str]:
    """Send a crowd's first events, and return their ids."""
    ids = []

    def noted() -> Iterable[events.Event]:
        for event in islice(Simulator(seed=seed, start_ms=MONDAY_MS).events(), num_events):
            ids.append(event.event_id)
            yield event

    producer.send(made.kafka, noted())
    return sorted(ids)


def namespace(made: Settings) -> str:
    """The value of `CLICKSTREAM_NAMESPACE` with which a command uses the same names."""
    return made.kafka.topic.removeprefix(f"{KafkaSettings.topic}-")


def send_raw(made: Settings, *values: bytes | None) -> None:
    """Send values as they are, under one key."""
    client = Producer(
        {"bootstrap.servers": made.kafka.bootstrap_servers, "message.max.bytes": 3_000_000}
    )
    for value in values:
        client.produce(made.kafka.topic, value, "reader-0666", headers={"trace": b"7"})
    assert client.flush(10) == 0


def documents(made: Settings) -> list[tuple[str, int]]:
    """Id and version of every document."""
    client, name = opensearch.connect(made.opensearch), made.opensearch.index
    index.refresh(client, name)
    body = {"size": 10_000, "_source": False, "sort": ["_doc"], "version": True}
    page = client.search(index=name, body=body, params={"scroll": "1m"})
    found = []
    while hits := page["hits"]["hits"]:
        found += [(hit["_id"], hit["_version"]) for hit in hits]
        page = client.scroll(body={"scroll": "1m", "scroll_id": page["_scroll_id"]})
    client.clear_scroll(body={"scroll_id": page["_scroll_id"]})
    return sorted(found)


def stored_ids(made: Settings) -> list[str]:
    """The ids of all documents."""
    return [event_id for event_id, _ in documents(made)]


def stored(made: Settings) -> int:
    """The number of documents."""
    client = opensearch.connect(made.opensearch)
    index.refresh(client, made.opensearch.index)
    return index.count(client, made.opensearch.index)


def topic_ids(made: Settings) -> list[str]:
    """The ids of the events in the topic."""
    found = messages.read(made.kafka)
    return sorted({events.decode(message.value or b"").event_id for message in found})


def lag(made: Settings) -> int:
    """Messages that the group has not read yet."""
    return sum(offsets.consumer_lag(made.kafka).values())


def wait_until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Poll a condition, and fail if it is not true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not so within {timeout_s} s"
        time.sleep(0.02)


CONSUME = """
import json, signal, sys, threading
from clickstream import consumer
from clickstream.settings import KafkaSettings, OpenSearchSettings, Settings
kafka, topic, group, url, name, bulk = sys.argv[1:]
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
print(0, flush=True)
report = consumer.index_topic(
    Settings(KafkaSettings(kafka, topic, group), OpenSearchSettings(url, name)),
    stop=stop,
    bulk_documents=int(bulk),
    on_bulk=lambda report: print(report.messages, flush=True),
)
print(json.dumps({"stored": report.stored, "replayed": report.replayed}), flush=True)
"""


class Consumer:
    """A member of the group in a separate process."""

    def __init__(self, made: Settings, *, bulk_documents: int = 500) -> None:
        self._made = made
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", CONSUME),
                *(made.kafka.bootstrap_servers, made.kafka.topic, made.kafka.group_id),
                *(made.opensearch.url, made.opensearch.index, str(bulk_documents)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.settled = -1
        """Number of settled messages, from its output."""
        self.report: dict[str, int] = {}
        """Its final report."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_until_settled(0)  # its first sign of life

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as out:
            for line in out:
                if line.startswith("{"):
                    self.report = json.loads(line)
                else:
                    self.settled = int(line)

    def wait_until_settled(self, messages: int, timeout_s: float = 60) -> None:
        """Wait until it has settled this many messages."""

        def is_so() -> bool:
            assert self.process.poll() is None, "the consumer ended"
            return self.settled >= messages

        wait_until(is_so, timeout_s)

    def freeze_with_an_answer_missing(self, started_at: int) -> int:
        """Freeze it while a bulk is stored but unanswered; return the number of documents.

        Args:
            started_at: committed messages when it started.
        """
        while True:
            # Frozen, it can take no answer in: what is on its way stays unanswered.
            os.kill(self.process.pid, signal.SIGSTOP)
            before = (-1, -1)
            while (now := (stored(self._made), self.settled)) != before:
                before = now
                time.sleep(0.3)
            documents, settled = now
            if documents > started_at + settled:
                return documents
            os.kill(self.process.pid, signal.SIGCONT)  # nothing was on its way at that moment
            self.wait_until_settled(self.settled + 1)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.kill()
        self._end()
        assert self.process.returncode == -signal.SIGKILL

    def stop(self) -> dict[str, int]:
        """Interrupt it as a terminal does, and return its report."""
        self.process.terminate()
        self._end()
        assert self.process.returncode == 0, self.process.returncode
        return self.report

    def _end(self) -> None:
        self.process.wait(30)
        self._reader.join(10)
