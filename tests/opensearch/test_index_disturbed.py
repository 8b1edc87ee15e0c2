"""Requests to a cluster that a setting blocks or limits."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opensearchpy import OpenSearch

from clickstream import consumer
from clickstream.demo import target_checks
from clickstream.demo.demo import Demo
from clickstream.errors import ConfigError, ServerError
from clickstream.opensearch import bulk, index
from clickstream.opensearch import client as opensearch
from clickstream.settings import Settings
from tests.support.by_id import send, stored_ids
from tests.support.errors import raises_shown


@contextmanager
def cluster_setting(client: OpenSearch, name: str, value: object) -> Iterator[None]:
    """Change a setting of the cluster during the block."""
    client.cluster.put_settings(body={"persistent": {name: value}})
    try:
        yield
    finally:
        client.cluster.put_settings(body={"persistent": {name: None}})


def test_a_read_only_cluster_is_unavailable(client: OpenSearch, made: Settings) -> None:
    """A read-only cluster rejects the whole request temporarily."""
    with (
        cluster_setting(client, "cluster.blocks.read_only", True),
        pytest.raises(bulk.Unavailable, match="cluster_block_exception: blocked by"),
    ):
        bulk.send(client, made.opensearch.index, [bulk.action("none", b"{}")])


@pytest.mark.parametrize("name", ["read_only", "read_only_allow_delete"])
def test_a_blocked_cluster_is_told_with_the_setting_that_lifts_it(
    client: OpenSearch, made: Settings, name: str
) -> None:
    """Creating, resetting and consuming name the block and its setting; nothing is lost."""
    sent = send(made, 100)
    setting, told = (
        f"cluster.blocks.{name}",
        "403 cluster_block_exception: .*blocked by: .FORBIDDEN",
    )
    lift = re.escape(f'lift the block with `PUT _cluster/settings {{"persistent": {{"{setting}"')
    with cluster_setting(client, setting, True):
        with raises_shown(ConfigError, match=f"{told}.*{lift}"):
            index.ensure(client, f"{made.opensearch.index}-more")
        with raises_shown(ConfigError, match=f"{told}.*{lift}"):
            Demo(made).reset(yes=True)
        with raises_shown(ConfigError, match=f"{told}.*{lift}"):
            index.write_facts(client, made.opensearch.index, {"hours": 1})
        with raises_shown(ConfigError, match=f"blocked by: .*cluster read-only.*{lift}"):
            target_checks.documents(made.opensearch)
        with raises_shown(ServerError, match=f"accepted nothing for .*{told}.*{lift}"):
            consumer.index_topic(made, until_caught_up=True, patience_s=0.5)

    consumer.index_topic(made, until_caught_up=True)
    assert stored_ids(made) == sent


def test_a_cluster_that_creates_no_index_is_told(client: OpenSearch, fresh: Settings) -> None:
    """The block of new indices is named with its setting."""
    setting = "cluster.blocks.create_index"
    with (
        cluster_setting(client, setting, True),
        raises_shown(ConfigError, match=f"index_create_block_exception: .*; lift .*{setting}"),
        opensearch.translated_errors(client, "creating"),
    ):
        client.indices.create(index=fresh.opensearch.index)


def test_a_limit_of_the_cluster_is_told(client: OpenSearch, fresh: Settings) -> None:
    """OpenSearch's own reason why it creates no index is in the line."""
    first, one_shard = f"{fresh.opensearch.index}-1", {"settings": {"number_of_replicas": 0}}
    told = r"400 validation_exception: Validation Failed: .* shards open; delete indices"
    with (
        cluster_setting(client, "cluster.max_shards_per_node", 1),
        raises_shown(ConfigError, match=told),
    ):
        client.indices.create(index=first, body=one_shard, ignore=400)
        index.ensure(client, fresh.opensearch.index)
    client.indices.delete(index=first, ignore=404)


def test_a_full_disk_is_told_as_that(client: OpenSearch, made: Settings) -> None:
    """An index that OpenSearch blocked because its disk is full needs space, not permissions."""
    name = made.opensearch.index
    # Otherwise OpenSearch lifts the block as soon as it looks at its disk.
    with cluster_setting(client, "cluster.routing.allocation.disk.threshold_enabled", False):
        client.indices.put_settings(index=name, body={"index.blocks.read_only_allow_delete": True})
        send(made, 10)
        with raises_shown(ServerError, match=r"429 cluster_block.*; free disk space"):
            index.write_facts(client, name, {"hours": 1})
        with raises_shown(ConfigError, match=r"blocked by: .*flood-stage .*; free disk space"):
            target_checks.documents(made.opensearch)
        with raises_shown(ServerError, match=r"nothing for .* flood-stage .*; free disk space"):
            consumer.index_topic(made, until_caught_up=True, patience_s=0.5)
