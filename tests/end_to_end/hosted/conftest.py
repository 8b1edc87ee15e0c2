"""A hosting service on loopback, and `conf/` folders of its users."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clickstream.kafka import topics
from clickstream.settings import KafkaSettings, Settings
from tests.support import secured
from tests.support.secured import Authority, Kafka, OpenSearch

USER, PASSWORD = "avnadmin", "kafka-pä55/word+="
OPENSEARCH_PASSWORD = "open:pä55/word+="

LEAST_POWER = [
    *(("TOPIC", "clickstream-events*", right) for right in ("READ", "WRITE", "DESCRIBE")),
    *(("GROUP", "clickstream-indexer*", right) for right in ("READ", "DESCRIBE", "DELETE")),
]
"""Exactly what docs/hosted.md lists."""


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the service's files."""
    return tmp_path_factory.mktemp("hosting")


@pytest.fixture(scope="package")
def authority(folder: Path) -> Authority:
    """The certificate authority that users trust."""
    return Authority(folder / "authority")


@pytest.fixture(scope="package")
def stranger(folder: Path) -> Authority:
    """Another certificate authority, which nobody trusts."""
    return Authority(folder / "stranger")


@pytest.fixture(scope="package")
def kafka(folder: Path, authority: Authority) -> Iterator[Kafka]:
    """A broker with mTLS and SCRAM, where our user has only the required permissions."""
    with secured.kafka(folder / "kafka", authority) as running:
        secured.add_user(running.admin, USER, PASSWORD)
        secured.allow(running.admin, USER, LEAST_POWER)
        yield running


@pytest.fixture(scope="package")
def hosted_opensearch(
    folder: Path, authority: Authority, settings: Settings
) -> Iterator[OpenSearch]:
    """The local OpenSearch behind an nginx with TLS and a password."""
    if shutil.which("nginx") is None:
        if os.environ.get("CLICKSTREAM_REQUIRE_BROWSER"):
            pytest.fail("CLICKSTREAM_REQUIRE_BROWSER is set and there is no nginx")
        pytest.skip("no nginx on this machine, for an OpenSearch with TLS")
    user = {USER: OPENSEARCH_PASSWORD}
    with secured.opensearch(folder / "nginx", authority, settings.opensearch.url, user) as running:
        yield running


Conf = Callable[..., Path]


@pytest.fixture
def conf(
    tmp_path: Path,
    authority: Authority,
    kafka: Kafka,
    hosted_opensearch: OpenSearch,
    made: Settings,
) -> Conf:
    """Make a `conf/` folder, by default a valid one; values of None are left out.

    Topics and index already exist.
    """
    topics.ensure_topics(KafkaSettings(f"127.0.0.1:{kafka.plain}", topic=made.kafka.topic))

    def make(
        *,
        by: str = "mtls",
        kafka_values: dict[str, str | None] | None = None,
        opensearch_values: dict[str, str | None] | None = None,
    ) -> Path:
        written = tmp_path / "conf"
        written.mkdir()
        shutil.copy(authority.ca, written / "ca.pem")
        first: dict[str, str | None] = {"topic": made.kafka.topic}
        if by == "mtls":
            cert, key = authority.issue(USER)
            shutil.copy(cert, written / "service.cert")
            shutil.copy(key, written / "service.key")
            first |= {"bootstrap.servers": f"localhost:{kafka.mtls}"}
        else:
            first |= {"bootstrap.servers": f"localhost:{kafka.scram}"}
            first |= {"sasl.username": USER, "sasl.password": PASSWORD}
        second: dict[str, str | None] = {
            "host": f"localhost:{hosted_opensearch.port}",
            "ca": "ca.pem",
            "username": USER,
            "password": OPENSEARCH_PASSWORD,
            "index": made.opensearch.index,
        }
        for name, values, other in (
            ("kafka.json", first, kafka_values),
            ("opensearch.json", second, opensearch_values),
        ):
            merged = values | (other or {})
            (written / name).touch(mode=0o600)
            (written / name).write_text(
                json.dumps({k: v for k, v in merged.items() if v is not None})
            )
        return written

    return make
