"""The command line while OpenSearch is down."""

import json
import os
import re
import signal
import subprocess
import sys

from clickstream.kafka import offsets
from clickstream.settings import Settings
from tests.support.by_id import lag, namespace, send, stored_ids, wait_until
from tests.support.outages import taken_down


def test_kafka_is_enough_for_who_needs_no_more(made: Settings) -> None:
    """Produce and peek work, status shows Kafka's half, and consume says what it waits for."""
    environment = os.environ | {"CLICKSTREAM_NAMESPACE": namespace(made)}

    def clickstream(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "clickstream", *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    sent = send(made, 40)
    with taken_down("opensearch"):
        consumer = subprocess.Popen(
            [sys.executable, "-m", "clickstream", "consume"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert consumer.stderr is not None
        assert "target local" in consumer.stderr.readline()
        waiting = consumer.stderr.readline()

        produced = clickstream("produce", "--events", "20", "--rate", "max")
        peeked = clickstream("peek", "-n", "5")
        as_json, as_text = clickstream("status", "--json"), clickstream("status")
        assert consumer.poll() is None
    wait_until(lambda: lag(made) == 0, 60)
    consumer.send_signal(signal.SIGINT)
    told, _ = consumer.communicate(timeout=30)

    assert re.fullmatch(
        r"waiting: OpenSearch is not running; start both servers with `.*\n", waiting
    )
    assert (produced.returncode, peeked.returncode) == (0, 0), produced.stderr + peeked.stderr
    assert len(peeked.stdout.splitlines()) == 5
    facts = json.loads(as_json.stdout)
    assert as_json.returncode == as_text.returncode == 1
    assert (facts["messages"], facts["lag"], facts["dead_letters"]) == (60, 60, 0)
    assert facts["documents"] is None
    assert facts["opensearch"]["url"] == made.opensearch.url
    (error,) = [facts["errors"].pop("opensearch")]
    assert facts["errors"] == {}
    assert f"clickstream: {error}\n" in as_text.stderr
    assert "60 messages, lag 60, 0 dead letters\n" in as_text.stdout
    assert "partition 2: lag " in as_text.stdout
    assert consumer.returncode == 0
    assert "60 documents stored" in told
    assert set(sent) < set(stored_ids(made))
    assert offsets.count(made.kafka) == 60
