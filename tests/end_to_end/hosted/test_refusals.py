"""What is refused of a hosted target: one line with cause and remedy, and nothing sent."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clickstream.errors import ClickstreamError, ServerError, shown
from clickstream.kafka import offsets, topics
from clickstream.opensearch import client as opensearch
from clickstream.settings import KafkaSettings, Settings
from clickstream.targets import conf_files, target
from tests.end_to_end.hosted.conftest import USER, Conf
from tests.support.secured import Authority, Kafka, OpenSearch

pytestmark = pytest.mark.slow


def go(folder: Path) -> Settings:
    """Go to the target as every command does, and ask both servers."""
    settings = target.choose(folder).find()
    topics.ensure_topics(settings.kafka)
    client = opensearch.connect(settings.opensearch)
    with opensearch.translated_errors(client, "asking OpenSearch for its version"):
        client.info()
    return settings


def refusal(folder: Path) -> str:
    """Give what was said instead."""
    with pytest.raises(ClickstreamError) as refused:
        go(folder)
    line = shown(refused.value)
    print(line)
    assert "\n" not in line
    assert refused.value.hints, "without a remedy"
    return line


@pytest.fixture(autouse=True)
def nothing_sent(kafka: Kafka, hosted_opensearch: OpenSearch, made: Settings) -> Iterator[None]:
    """After each, the topic is empty, and OpenSearch was asked for nothing but its version."""
    yield
    plain = KafkaSettings(f"127.0.0.1:{kafka.plain}", topic=made.kafka.topic)
    assert offsets.count(plain) == 0
    asked = hosted_opensearch.log.read_text().splitlines()
    assert [line for line in asked if made.opensearch.index in line] == []


def test_a_target_where_all_is_well_refuses_nothing(conf: Conf) -> None:
    """Or the others prove nothing."""
    assert go(conf()).target == "hosted"


@pytest.mark.parametrize("is_name", [True, False], ids=["name", "ca"])
def test_the_client_that_sends_is_as_strict(
    conf: Conf, kafka: Kafka, stranger: Authority, is_name: bool
) -> None:
    """By itself: whatever the look at the way beforehand says."""
    folder = conf()
    assert offsets.count(replace(conf_files.read(folder).kafka, timeout_s=10)) == 0
    if is_name:
        path = folder / "kafka.json"
        path.write_text(path.read_text().replace("localhost", "127.0.0.1"))
    else:
        shutil.copy(stranger.ca, folder / "ca.pem")
    with pytest.raises(ServerError, match="Kafka did not answer"):
        offsets.count(replace(conf_files.read(folder).kafka, timeout_s=1))


@pytest.mark.parametrize("by", ["mtls", "scram"])
def test_another_ca_is_not_trusted(conf: Conf, stranger: Authority, by: str) -> None:
    """Kafka's certificate was issued by somebody whom we do not know."""
    folder = conf(by=by)
    shutil.copy(stranger.ca, folder / "ca.pem")
    assert "Kafka on localhost" in (said := refusal(folder))
    assert "not trusted" in said


def test_a_certificate_for_another_name_is_not_trusted(conf: Conf, kafka: Kafka) -> None:
    """Kafka answers under an address that its certificate does not name."""
    folder = conf(kafka_values={"bootstrap.servers": f"127.0.0.1:{kafka.mtls}"})
    assert "for another name" in refusal(folder)


def test_an_expired_certificate_is_not_trusted(conf: Conf, kafka: Kafka) -> None:
    """Of Kafka."""
    folder = conf(kafka_values={"bootstrap.servers": f"localhost:{kafka.expired}"})
    assert "has expired" in refusal(folder)


def test_kafka_wants_to_know_who_we_are(conf: Conf) -> None:
    """Without a certificate it lets nobody in."""
    folder = conf(kafka_values={"security.protocol": "SSL"})
    (folder / "service.cert").unlink()
    (folder / "service.key").unlink()
    assert "certificate required" in refusal(folder)


def test_kafka_knows_no_certificate_of_a_stranger_s(conf: Conf, stranger: Authority) -> None:
    """Key and certificate belong together, and the issuer is another."""
    folder = conf()
    cert, key = stranger.issue(USER)
    shutil.copy(cert, folder / "service.cert")
    shutil.copy(key, folder / "service.key")
    assert "it refused our certificate" in refusal(folder)


def test_a_key_of_another_certificate_is_told(conf: Conf, authority: Authority) -> None:
    """Before anybody is asked."""
    folder = conf()
    shutil.copy(authority.issue(USER)[1], folder / "service.key")
    assert "do not belong together" in refusal(folder)


def test_a_wrong_password_for_kafka_is_told_within_seconds(conf: Conf) -> None:
    """And which two settings to mend."""
    said = refusal(conf(by="scram", kafka_values={"sasl.password": "not-this-one"}))
    assert "does not accept our user name or password" in said
    assert "not-this-one" not in said


def test_a_port_with_tls_is_told_from_one_without(conf: Conf, kafka: Kafka) -> None:
    """Either way round."""
    folder = conf(kafka_values={"bootstrap.servers": f"localhost:{kafka.plain}"})
    assert "TLS" in refusal(folder)


def test_each_port_says_which_login_it_takes(conf: Conf, kafka: Kafka) -> None:
    """Certificates on the port for passwords; librdkafka tells that as no answer."""
    folder = conf(kafka_values={"bootstrap.servers": f"localhost:{kafka.scram}"})
    assert "this port is for user names and passwords" in refusal(folder)


@pytest.mark.parametrize(
    ("listener", "values", "said"),
    [
        ("mtls", {}, "name the port for user names and passwords, this one is for certificates"),
        ("scram", {"sasl.mechanisms": "PLAIN"}, "write 'sasl.mechanisms' as SCRAM-SHA-256"),
    ],
)
def test_a_password_needs_its_own_port_and_mechanism(
    conf: Conf, kafka: Kafka, listener: str, values: dict[str, str | None], said: str
) -> None:
    """And the line says which it is."""
    servers = f"localhost:{getattr(kafka, listener)}"
    folder = conf(by="scram", kafka_values=values | {"bootstrap.servers": servers})
    assert said in refusal(folder)


def test_nobody_knows_a_mistyped_name(conf: Conf) -> None:
    """Whose name it is, and that it is one."""
    folder = conf(kafka_values={"bootstrap.servers": "kafka.invalid:9092"})
    assert "nobody knows the name 'kafka.invalid'" in refusal(folder)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ca": None}, "not trusted"),
        ({"host": "127.0.0.1:{port}"}, "for another name"),
        ({"host": "localhost:{expired}"}, "has expired"),
        ({"password": "not-this-one"}, "wrong or missing user name or password"),
        ({"username": None, "password": None}, "wrong or missing user name or password"),
        ({"host": "localhost:{mtls}"}, "400"),
        ({"host": "http://opensearch.example.com"}, "in the clear"),
        ({"host": "localhost:1"}, "nobody is there"),
    ],
)
def test_opensearch_is_as_strict(
    conf: Conf, hosted_opensearch: OpenSearch, values: dict[str, str | None], said: str
) -> None:
    """Wrong CA, name, time, password; no certificate; basic authentication without TLS."""
    ports = vars(hosted_opensearch)
    filled = {key: value and value.format(**ports) for key, value in values.items()}
    if filled.get("host", "").startswith("http:"):
        filled["ca"] = None
    folder = conf(opensearch_values=filled)
    line = refusal(folder)
    assert said in line
    assert "not-this-one" not in line


def test_a_stranger_s_certificate_does_not_open_opensearch(
    conf: Conf, hosted_opensearch: OpenSearch, authority: Authority, stranger: Authority
) -> None:
    """Ours does."""
    own = {"cert": "o.cert", "key": "o.key", "username": None, "password": None}
    folder = conf(opensearch_values=own | {"host": f"localhost:{hosted_opensearch.mtls}"})
    for who, is_welcome in ((stranger, False), (authority, True)):
        cert, key = who.issue(USER)
        shutil.copy(cert, folder / "o.cert")
        shutil.copy(key, folder / "o.key")
        if is_welcome:
            go(folder)
        else:
            assert "certificate" in refusal(folder)
