"""Refused hosted targets: one line with cause and remedy, and nothing is sent."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from clickstream.consumer import index_topic
from clickstream.demo import target_checks
from clickstream.errors import ClickstreamError, ServerError, shown
from clickstream.kafka import dead_letters, messages, offsets, topics
from clickstream.opensearch import client as opensearch
from clickstream.settings import KafkaSettings, Settings
from clickstream.targets import conf_files, target
from tests.end_to_end.hosted.conftest import USER, Conf
from tests.support.errors import raises_shown
from tests.support.secured import Authority, Kafka, OpenSearch

pytestmark = pytest.mark.slow


def go(folder: Path) -> Settings:
    """Connect to the target like every command, and ask both servers."""
    settings = target.choose(folder).find()
    topics.ensure_topics(settings.kafka)
    client = opensearch.connect(settings.opensearch)
    with opensearch.translated_errors(client, "asking OpenSearch for its version"):
        client.info()
    return settings


def refusal(folder: Path) -> str:
    """Return the error message."""
    with pytest.raises(ClickstreamError) as refused:
        go(folder)
    line = shown(refused.value)
    print(line)
    assert "\n" not in line
    assert refused.value.hints, "without a remedy"
    return line


@pytest.fixture(autouse=True)
def nothing_sent(kafka: Kafka, hosted_opensearch: OpenSearch, made: Settings) -> Iterator[None]:
    """Check after each test that nothing was sent to the topic or to OpenSearch."""
    yield
    plain = KafkaSettings(f"127.0.0.1:{kafka.plain}", topic=made.kafka.topic)
    assert offsets.count(plain) == 0
    asked = hosted_opensearch.log.read_text().splitlines()
    assert [line for line in asked if made.opensearch.index in line] == []


def test_a_target_where_all_is_well_refuses_nothing(conf: Conf) -> None:
    """A valid target is not refused, or the other tests prove nothing."""
    assert go(conf()).target == "hosted"


@pytest.mark.parametrize("is_name", [True, False], ids=["name", "ca"])
def test_the_client_that_sends_is_as_strict(
    conf: Conf, kafka: Kafka, stranger: Authority, is_name: bool
) -> None:
    """The Kafka client itself refuses a wrong name or CA, without the earlier checks."""
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
    """A Kafka certificate of an unknown CA is refused."""
    folder = conf(by=by)
    shutil.copy(stranger.ca, folder / "ca.pem")
    assert "Kafka on localhost" in (said := refusal(folder))
    assert "not trusted" in said


def test_a_certificate_for_another_name_is_not_trusted(conf: Conf, kafka: Kafka) -> None:
    """A Kafka certificate for another name is refused."""
    folder = conf(kafka_values={"bootstrap.servers": f"127.0.0.1:{kafka.mtls}"})
    assert "for another name" in refusal(folder)


def test_an_expired_certificate_is_not_trusted(conf: Conf, kafka: Kafka) -> None:
    """An expired Kafka certificate is refused."""
    folder = conf(kafka_values={"bootstrap.servers": f"localhost:{kafka.expired}"})
    assert "has expired" in refusal(folder)


def test_kafka_wants_to_know_who_we_are(conf: Conf) -> None:
    """Kafka refuses a client without a certificate."""
    folder = conf(kafka_values={"security.protocol": "SSL"})
    (folder / "service.cert").unlink()
    (folder / "service.key").unlink()
    assert "certificate required" in refusal(folder)


def test_kafka_knows_no_certificate_of_a_stranger_s(conf: Conf, stranger: Authority) -> None:
    """Kafka refuses a client certificate of another CA."""
    folder = conf()
    cert, key = stranger.issue(USER)
    shutil.copy(cert, folder / "service.cert")
    shutil.copy(key, folder / "service.key")
    assert "it rejected our certificate" in refusal(folder)


def test_a_key_of_another_certificate_is_told(conf: Conf, authority: Authority) -> None:
    """A key of another certificate is reported before any connection."""
    folder = conf()
    shutil.copy(authority.issue(USER)[1], folder / "service.key")
    assert "do not match" in refusal(folder)


def test_a_wrong_password_for_kafka_is_told_within_seconds(conf: Conf) -> None:
    """A wrong Kafka password is reported within seconds, with the two settings to change."""
    said = refusal(conf(by="scram", kafka_values={"sasl.password": "not-this-one"}))
    assert "rejected our user name or password" in said
    assert "not-this-one" not in said


def test_a_port_with_tls_is_told_from_one_without(conf: Conf, kafka: Kafka) -> None:
    """TLS on a plain port, and plain text on a TLS port, are reported."""
    folder = conf(kafka_values={"bootstrap.servers": f"localhost:{kafka.plain}"})
    assert "TLS" in refusal(folder)


def test_each_port_says_which_login_it_takes(conf: Conf, kafka: Kafka) -> None:
    """A login of the wrong kind for a port is reported with the accepted kind."""
    folder = conf(kafka_values={"bootstrap.servers": f"localhost:{kafka.scram}"})
    assert "this port is for user names and passwords" in refusal(folder)


@pytest.mark.parametrize(
    ("listener", "values", "said"),
    [
        ("mtls", {}, "use the port for user names and passwords; this one is for certificates"),
        ("scram", {"sasl.mechanisms": "PLAIN"}, "set 'sasl.mechanisms' to SCRAM-SHA-256"),
    ],
)
def test_a_password_needs_its_own_port_and_mechanism(
    conf: Conf, kafka: Kafka, listener: str, values: dict[str, str | None], said: str
) -> None:
    """A password on the wrong port, or with a wrong mechanism, is refused with the cause."""
    servers = f"localhost:{getattr(kafka, listener)}"
    folder = conf(by="scram", kafka_values=values | {"bootstrap.servers": servers})
    assert said in refusal(folder)


def test_nobody_knows_a_mistyped_name(conf: Conf) -> None:
    """A mistyped host name is reported as a name that does not resolve."""
    folder = conf(kafka_values={"bootstrap.servers": "kafka.invalid:9092"})
    assert "unknown host 'kafka.invalid'" in refusal(folder)


@pytest.mark.parametrize(
    "ask",
    [
        lambda settings: topics.ensure_topics(settings.kafka),
        index_topic,
        lambda settings: messages.peek(settings.kafka),
        lambda settings: offsets.count(settings.kafka),
        lambda settings: dead_letters.read(settings.kafka),
        lambda settings: topics.consumers(settings.kafka),
    ],
    ids=["produce", "consume", "peek", "status", "dlq", "reset"],
)
def test_an_advertised_address_that_cannot_be_reached_is_named(
    conf: Conf, kafka: Kafka, ask: Callable[[Settings], object]
) -> None:
    """Every command names the address that Kafka advertises and the setting, and does not wait."""
    values = {"bootstrap.servers": f"127.0.0.1:{kafka.away}", "security.protocol": "PLAINTEXT"}
    settings = target.choose(conf(kafka_values=values)).find()
    said = f"127.0.0.1:{kafka.away} advertises kafka.invalid:9092, which .*; set `advertised.list"
    with raises_shown(ServerError, match=said):
        ask(settings)


def test_a_check_names_the_advertised_address(conf: Conf, kafka: Kafka) -> None:
    """The check ends at the step that first needs the address."""
    values = {"bootstrap.servers": f"127.0.0.1:{kafka.away}", "security.protocol": "PLAINTEXT"}
    found = target_checks.run(target.choose(conf(kafka_values=values)))
    bad = next(each for each in found if not each.is_good)
    assert (bad.subject, "advertises kafka.invalid:9092" in bad.found) == ("Kafka's login", True)
    assert "advertised.listeners" in bad.remedy


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ca": None}, "not trusted"),
        ({"host": "127.0.0.1:{port}"}, "for another name"),
        ({"host": "localhost:{expired}"}, "has expired"),
        ({"password": "not-this-one"}, "wrong or missing user name or password"),
        ({"username": None, "password": None}, "wrong or missing user name or password"),
        ({"host": "localhost:{mtls}"}, "400"),
        ({"host": "http://opensearch.example.com"}, "unencrypted"),
        ({"host": "localhost:1"}, "no connection"),
    ],
)
def test_opensearch_is_as_strict(
    conf: Conf, hosted_opensearch: OpenSearch, values: dict[str, str | None], said: str
) -> None:
    """OpenSearch's wrong CA, name, dates, password or certificate are reported in one line."""
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
    """OpenSearch accepts our client certificate and refuses one of another CA."""
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
