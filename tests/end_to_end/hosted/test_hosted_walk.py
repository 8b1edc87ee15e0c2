"""Methods, notebooks and commands on a hosted target, by a user with few permissions."""

import json
import math
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from confluent_kafka.admin import NewPartitions

from clickstream import consumer
from clickstream.cli import jupyter
from clickstream.demo import target_checks
from clickstream.demo.demo import Demo
from clickstream.errors import ConfigError, ServerError
from clickstream.kafka import offsets, topics
from clickstream.kafka.admin import Admin
from clickstream.opensearch import client, index
from clickstream.opensearch.mapping import EVENT_MAPPING
from clickstream.settings import KafkaSettings, Settings
from clickstream.targets import target
from scripts.headless import NotebookClient
from tests.end_to_end.hosted.conftest import LEAST_POWER, Conf
from tests.support import secured
from tests.support.by_id import wait_until
from tests.support.errors import raises_shown
from tests.support.secured import Kafka, OpenSearch

pytestmark = pytest.mark.slow


def environment(folder: Path) -> dict[str, str]:
    """The environment of a kernel that `clickstream demo` starts on the target."""
    return {**os.environ, **target.choose(folder).environment}


def login(folder: Path, kafka: Kafka, permissions: list[secured.Permission]) -> None:
    """Give the folder a separate user with these permissions."""
    name = f"user-{uuid.uuid4().hex[:8]}"
    secured.allow(kafka.admin, name, permissions)
    secured.add_user(kafka.admin, name, "hush")
    path = folder / "kafka.json"
    values = json.loads(path.read_text()) | {
        "bootstrap.servers": f"localhost:{kafka.scram}",
        "sasl.username": name,
        "sasl.password": "hush",
    }
    path.write_text(json.dumps(values))
    wait_until(lambda: is_known(target.choose(folder).find().kafka), 30)


def is_known(settings: KafkaSettings) -> bool:
    """Whether the broker knows the user, and therefore the earlier permissions."""
    try:
        Admin(settings).partitions_by_topic()
    except ServerError:
        return False
    return True


def clickstream(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the target."""
    return subprocess.run(
        [sys.executable, "-m", "clickstream", "--conf", str(folder), *words],
        env={k: v for k, v in os.environ.items() if k != "CLICKSTREAM_TARGET"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("by", ["mtls", "scram"])
def test_every_step_is_green(conf: Conf, by: str) -> None:
    """Every step of the check is green, including a round trip of ten events."""
    found = list(target_checks.run(target.choose(conf(by=by))))
    assert [str(each) for each in found if not each.is_good] == []
    assert [each.subject for each in found] == [
        *("settings", "secrets"),
        *("Kafka's name", "Kafka's TLS", "Kafka's login", "Kafka's permissions", "topic"),
        *("OpenSearch's name", "OpenSearch's TLS", "OpenSearch's login", "index"),
        "round trip",
    ]
    assert "10 events acknowledged" in found[-1].found
    assert "TLSv1.3" in found[3].found


def test_the_commands_work_there(conf: Conf) -> None:
    """Produce, consume, status, charts and check work on a hosted target."""
    folder = conf(by="scram")
    done = clickstream(folder, "produce", "--events", "500", "--rate", "max")
    assert done.returncode == 0, done.stderr
    assert "target hosted: Kafka on localhost" in done.stderr
    done = clickstream(folder, "consume", "--until-caught-up")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("500 documents stored")
    facts = json.loads(clickstream(folder, "status", "--json").stdout)
    assert (facts["target"], facts["messages"], facts["documents"]) == ("hosted", 500, 500)
    out = folder.with_name("charts")
    done = clickstream(folder, "charts", "--live", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert [each.name for each in out.iterdir()] == ["charts.html"]
    (folder / "kafka.json").chmod(0o644)
    done = clickstream(folder, "status")
    assert "kafka.json can be read by other users of this machine; run `chmod 600" in done.stderr
    done = clickstream(folder, "check")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^see  secrets: .*kafka.json; run `chmod 600", done.stdout, re.MULTILINE)
    assert re.search(r"^ok   round trip: 10 events", done.stdout, re.MULTILINE)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("00-start-here", "scram"),
        ("02-produce-events", "scram"),
        ("03-partitions-and-offsets", "poor"),
        ("04-index-documents", "mtls"),
        ("05-ask-questions", "mtls"),
    ],
)
def test_a_notebook_runs_there_unchanged(
    conf: Conf, kafka: Kafka, monkeypatch: pytest.MonkeyPatch, name: str, by: str
) -> None:
    """The notebooks run on a hosted target, also for users with few permissions.

    These users may not delete the groups of replays.
    """
    folder = conf(by=by)
    if by == "poor":
        login(folder, kafka, [right for right in LEAST_POWER if right[2] != "DELETE"])
    for key, value in target.choose(folder).environment.items():
        monkeypatch.setenv(key, value)
    notebook = nbformat.read(jupyter.NOTEBOOKS / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    assert "target hosted: Kafka on localhost" in str(notebook.cells)


def test_nothing_is_made_without_the_right_to(
    conf: Conf, kafka: Kafka, hosted_opensearch: OpenSearch, fresh: Settings
) -> None:
    """A missing topic or index is one line that says who can create it."""
    folder = conf(kafka_values={"topic": f"{fresh.kafka.topic}-missing"})
    with raises_shown(ConfigError, match="we lack the permission to create it; fix 'topic' in"):
        Demo(target.choose(folder).find()).ensure()
    with raises_shown(ConfigError, match=r"no topic '.*-missing' on .*; fix 'topic' in"):
        Demo(target.choose(folder).find()).reset(yes=True)
    settings = json.loads((folder / "kafka.json").read_text()) | {"topic": fresh.kafka.topic}
    (folder / "kafka.json").write_text(json.dumps(settings))
    settings = json.loads((folder / "opensearch.json").read_text())
    settings |= {
        "index": f"{fresh.opensearch.index}-missing",
        "host": f"localhost:{hosted_opensearch.poor}",
    }
    (folder / "opensearch.json").write_text(json.dumps(settings))
    with raises_shown(ConfigError, match="permission to create it: .*403.*; fix 'index' in"):
        Demo(target.choose(folder).find()).ensure()


def test_a_missing_right_is_named(conf: Conf, kafka: Kafka, made: Settings) -> None:
    """A missing permission is named with its resource; invisible resources count as missing."""
    topic, folder = made.kafka.topic, conf()
    login(
        folder, kafka, [("TOPIC", f"{topic}*", "READ"), ("GROUP", "clickstream-indexer*", "READ")]
    )
    (bad,) = [each for each in target_checks.run(target.choose(folder)) if not each.is_good]
    assert bad.subject == "Kafka's permissions"
    assert (
        bad.found
        == f"permissions are missing in Kafka: Write on topic {topic}, Write on topic {topic}-dlq"
    )
    assert "grant them" in bad.remedy


def test_a_group_that_may_not_be_read_as_is_told_as_one(conf: Conf) -> None:
    """A group without permission is reported as such, not as a Kafka without an answer."""
    kafka = target.choose(conf()).find().kafka
    with raises_shown(ServerError, match=r"'other': .*Group authorization failed.*; grant the"):
        offsets.consumer_lag(replace(kafka, group_id="other", timeout_s=5.0))


DELETE = [("TOPIC", "clickstream-events*", "DELETE")]


@pytest.fixture
def kit(conf: Conf, kafka: Kafka) -> Demo:
    """Existing topic and index with ten events, for a user who may empty them."""
    folder = conf()
    login(folder, kafka, LEAST_POWER + DELETE)
    found = Demo(target.choose(folder).find())
    found.produce(10, events_per_second=math.inf)
    found.consume()
    return found


def test_reset_empties_there_and_leaves_what_somebody_else_made(
    kit: Demo, kafka: Kafka, settings: Settings
) -> None:
    """Reset deletes all messages, keeps partitions, template and mapping, and the demo works."""
    topic, name = kit.settings.kafka.topic, kit.settings.opensearch.index
    owner = client.connect(settings.opensearch)
    owner.indices.put_mapping(index=name, body={"_meta": {"owner": "platform"}})
    for future in kafka.admin.create_partitions([NewPartitions(topic, 5)]).values():
        future.result(30)
    template = owner.indices.get_index_template(name=name)
    index.write_facts(owner, name, {"history_ms": [0, 1]})
    assert kit.history_window() is not None
    kit.produce(20, events_per_second=math.inf)
    assert kit.reset(yes=True).startswith("emptied: topic")
    found = kit.overview()
    assert (found.messages, found.lag, found.dead_letters, found.documents) == (0, 0, 0, 0)
    assert len(found.lag_by_partition) == 5
    assert owner.indices.get_index_template(name=name) == template
    assert kit.history_window() is None
    assert index.read_facts(owner, name) == {"owner": "platform"}
    kit.produce(5, events_per_second=math.inf)
    kit.consume()
    assert kit.documents() == 5


def test_reset_empties_a_plain_index_behind_an_alias(
    kit: Demo, fresh: Settings, settings: Settings
) -> None:
    """Reset empties a plain index behind an alias and keeps the alias."""
    owner, name = client.connect(settings.opensearch), fresh.opensearch.index + "-alias"
    plain = f"{name}-1"
    owner.indices.create(index=plain, body={"mappings": EVENT_MAPPING, "aliases": {name: {}}})
    try:
        aliased = Demo(kit.settings.named(topic=None, index=name, opensearch=None))
        aliased.produce(10, events_per_second=math.inf)
        aliased.consume()
        assert aliased.documents() == 10
        aliased.reset(yes=True)
        assert aliased.documents() == 0
        assert owner.indices.exists_alias(name=name)
    finally:
        owner.indices.delete(index=plain)


def test_reset_that_opensearch_refuses_deletes_nothing(
    kit: Demo, hosted_opensearch: OpenSearch
) -> None:
    """If OpenSearch refuses a reset, nothing is deleted, also not in Kafka."""
    poor = Demo(
        kit.settings.named(
            topic=None, index=None, opensearch=f"https://localhost:{hosted_opensearch.poor}"
        )
    )
    with raises_shown(ConfigError, match="answered 403 Forbidden; grant the user the permissions"):
        poor.reset(yes=True)
    found = kit.overview()
    assert (found.messages, found.lag, found.documents) == (10, 0, 10)


def test_reset_is_refused_while_somebody_reads(kit: Demo) -> None:
    """Reset is refused while somebody reads, before anything is deleted."""
    stop = threading.Event()
    reader = threading.Thread(
        target=consumer.index_topic, args=(kit.settings,), kwargs={"stop": stop}
    )
    reader.start()
    try:
        while not topics.consumers(kit.settings.kafka):
            time.sleep(0.1)
        with pytest.raises(ServerError, match=r"still reading.*nothing was deleted"):
            kit.reset(yes=True)
    finally:
        stop.set()
        reader.join(30)
    found = kit.overview()
    assert (found.messages, found.documents) == (10, 10)


def test_reset_asks_first_and_deletes_nothing_without_the_right_to(conf: Conf) -> None:
    """Reset asks first; a refusal by Kafka is reported before anything is deleted."""
    folder = conf()
    done = clickstream(folder, "produce", "--events", "10", "--rate", "max")
    assert done.returncode == 0, done.stderr
    done = clickstream(folder, "reset")
    assert done.stdout.startswith("nothing deleted; --yes would empty: topic")
    done = clickstream(folder, "reset", "--yes")
    assert done.returncode == 1
    assert "nothing deleted, permissions are missing in Kafka: Delete on topic" in done.stderr
    assert json.loads(clickstream(folder, "status", "--json").stdout)["messages"] == 10


def test_a_kernel_without_the_word_of_the_command_stays_local(
    conf: Conf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `conf/` folder alone does not make a notebook use a hosted service."""
    monkeypatch.setenv("CLICKSTREAM_CONF", str(conf()))
    monkeypatch.delenv("CLICKSTREAM_TARGET", raising=False)
    assert target.from_environment().name == "local"


def test_local_servers_are_not_started_for_a_hosted_target(conf: Conf) -> None:
    """`up` refuses to start local servers for a hosted target, and names the command for it."""
    done = clickstream(conf(), "up")
    assert done.returncode == 1
    line = r"clickstream: .* starts only local servers; .*--target local up.*\n"
    assert re.fullmatch(line, done.stderr)
