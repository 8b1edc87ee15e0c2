"""Names follow one rule, and a bad namespace is told before anything is made of it."""

import pytest

from clickstream.errors import ConfigError
from clickstream.settings import KafkaSettings, OpenSearchSettings, Settings

SETTINGS = Settings(KafkaSettings("127.0.0.1:1"), OpenSearchSettings("http://127.0.0.1:2"))


def test_a_namespace_is_a_suffix_of_every_name() -> None:
    """Topic, dead-letter topic, group and index of a namespace are nobody else's."""
    own = SETTINGS.in_namespace("anna")

    assert own.kafka.topic == "clickstream-events-anna"
    assert own.kafka.dead_letter_topic == "clickstream-events-anna-dlq"
    assert own.kafka.group_id == "clickstream-indexer-anna"
    assert own.opensearch.index == "clickstream-events-anna"


@pytest.mark.parametrize("namespace", ["", "Anna", "a b", "a_b", "ä", "a/b", "a" * 101])
def test_a_namespace_that_cannot_be_a_name_is_refused(namespace: str) -> None:
    """The error quotes what was given and says what is allowed."""
    with pytest.raises(ConfigError, match="1 to 100 lower-case letters, digits and '-'"):
        SETTINGS.in_namespace(namespace)


def test_a_group_can_be_named() -> None:
    """Another consumer group reads the same topic into the same index."""
    other = SETTINGS.for_group("second")

    assert other.kafka.group_id == "second"
    assert other.kafka.topic == SETTINGS.kafka.topic


def test_a_namespace_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Topic, index and group bear it; unset or empty it changes nothing, and nonsense is told."""
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
