"""Names follow one rule, and an invalid namespace is refused before use."""

from dataclasses import replace
from pathlib import Path

import pytest

from clickstream.errors import ConfigError, ServerError
from clickstream.kafka import offsets
from clickstream.opensearch import client as opensearch
from clickstream.settings import KafkaSettings, OpenSearchSettings, Settings
from clickstream.targets import conf_files
from tests.support.errors import raises_shown

SETTINGS = Settings(KafkaSettings("127.0.0.1:1"), OpenSearchSettings("http://127.0.0.1:2"))


def test_a_namespace_is_a_suffix_of_every_name() -> None:
    """A namespace gives separate names for topic, dead-letter topic, group and index."""
    own = SETTINGS.in_namespace("anna")

    assert own.kafka.topic == "clickstream-events-anna"
    assert own.kafka.dead_letter_topic == "clickstream-events-anna-dlq"
    assert own.kafka.group_id == "clickstream-indexer-anna"
    assert own.opensearch.index == "clickstream-events-anna"


@pytest.mark.parametrize("namespace", ["", "Anna", "a b", "a_b", "ä", "a/b", "a" * 101])
def test_a_namespace_that_cannot_be_a_name_is_refused(namespace: str) -> None:
    """The error quotes the namespace and says which characters are allowed."""
    with pytest.raises(ConfigError, match="1 to 100 lower-case letters, digits and '-'"):
        SETTINGS.in_namespace(namespace)


def test_a_group_can_be_named() -> None:
    """Another consumer group reads the same topic into the same index."""
    other = SETTINGS.for_group("second")

    assert other.kafka.group_id == "second"
    assert other.kafka.topic == SETTINGS.kafka.topic


def test_a_namespace_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable changes topic, index, group; empty changes nothing, invalid is refused."""
    monkeypatch.delenv("CLICKSTREAM_NAMESPACE", raising=False)
    assert SETTINGS.in_own_namespace() == SETTINGS
    monkeypatch.setenv("CLICKSTREAM_NAMESPACE", "")
    assert SETTINGS.in_own_namespace() == SETTINGS
    monkeypatch.setenv("CLICKSTREAM_NAMESPACE", "ada")
    own = SETTINGS.in_own_namespace()
    names = (own.kafka.topic, own.kafka.group_id, own.opensearch.index)
    assert [name.endswith("-ada") for name in names] == [True] * 3
    monkeypatch.setenv("CLICKSTREAM_NAMESPACE", "Ada L")
    with pytest.raises(ConfigError, match="'Ada L'"):
        SETTINGS.in_own_namespace()


@pytest.fixture
def hosted_over_plain_http(tmp_path: Path) -> Settings:
    """A hosted target on loopback, without TLS, user or running servers."""
    (tmp_path / "kafka.json").write_text(
        '{"bootstrap.servers": "127.0.0.1:9", "security.protocol": "PLAINTEXT"}'
    )
    (tmp_path / "opensearch.json").write_text('{"host": "http://127.0.0.1:9"}')
    return conf_files.read(tmp_path)


def test_a_target_is_hosted_because_conf_names_it(hosted_over_plain_http: Settings) -> None:
    """`conf/` decides, not TLS or a login; other namespaces and groups are hosted, too."""
    assert not SETTINGS.is_hosted
    assert SETTINGS.target == "local"
    hosted = hosted_over_plain_http
    assert hosted.is_hosted
    assert hosted.target == "hosted"
    assert hosted.in_namespace("anna").for_group("second").is_hosted
    assert hosted.named(topic="t", index=None, opensearch="http://127.0.0.1:10").is_hosted


def test_a_hosted_target_without_tls_is_not_given_the_local_remedy(
    hosted_over_plain_http: Settings,
) -> None:
    """An error of a hosted target does not suggest to start local servers; a local one does."""
    in_the_console = "check in the service's console that it is running"
    for settings, remedy in (
        (hosted_over_plain_http, in_the_console),
        (SETTINGS, "starts local servers"),
    ):
        kafka = replace(settings.kafka, timeout_s=1.0)
        with raises_shown(ServerError, match=remedy):
            offsets.count(kafka)
        client = opensearch.connect(settings.opensearch)
        with (
            raises_shown(ServerError, match=remedy),
            opensearch.translated_errors(client, "asking OpenSearch for its version"),
        ):
            client.info()
