"""The index and its answers, on a real OpenSearch."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opensearchpy import OpenSearch

from clickstream import events
from clickstream.errors import BulkError, ConfigError, ServerError
from clickstream.opensearch import bulk, index
from clickstream.opensearch import client as opensearch
from clickstream.opensearch.bulk import Outcome
from clickstream.opensearch.mapping import EVENT_MAPPING
from clickstream.settings import OpenSearchSettings, Settings
from tests.support.errors import raises_shown

START = datetime(2026, 1, 5, tzinfo=UTC)


def action(number: int, **change: object) -> bytes:
    """One create action of a login event, with changed fields."""
    event_id = f"019b8b74-0000-7000-8000-{number:012x}"
    document = {
        "event_id": event_id,
        "event_type": "login",
        "timestamp": "2026-01-05T00:00:00.000Z",
        "user_id": "reader-0042",
        "session_id": "s",
        "session_seq": number,
        "device_type": "mobile",
    } | change
    return bulk.action(event_id, json.dumps(document).encode())


def test_the_index_is_made_once(client: OpenSearch, fresh: Settings) -> None:
    """The data stream has one backing index; creating it again changes nothing."""
    name = fresh.opensearch.index

    assert index.ensure(client, name) is True
    assert index.ensure(client, name) is False
    stream = client.indices.get_data_stream(name=name)["data_streams"][0]
    assert stream["timestamp_field"] == {"name": "timestamp"}
    assert len(stream["indices"]) == 1
    assert index.count(client, name) == 0
    assert index.oldest_ms(client, name) is None
    assert index.newest(client, name) == index.Newest(0, None)


def test_the_index_is_made_once_by_several_at_once(client: OpenSearch, fresh: Settings) -> None:
    """Several clients may create the index at once without an error."""
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: index.ensure(client, fresh.opensearch.index), range(4)))

    assert sum(made) == 1


def test_each_document_of_a_bulk_has_its_own_outcome(client: OpenSearch, made: Settings) -> None:
    """One bulk returns stored, replayed and refused documents in order, with the reason."""
    name = made.opensearch.index

    assert [a.outcome for a in bulk.send(client, name, [action(1)])] == [Outcome.STORED]
    stored, replayed, unknown, wrong = bulk.send(
        client, name, [action(2), action(1), action(3, colour="red"), action(4, session_seq="x")]
    )
    assert (stored.outcome, replayed.outcome) == (Outcome.STORED, Outcome.REPLAYED)
    assert unknown.outcome is wrong.outcome is Outcome.PERMANENT
    assert unknown.error_type == "strict_dynamic_mapping_exception"
    assert "session_seq" in wrong.reason
    index.refresh(client, name)
    assert sorted(index.ids(client, name)) == [
        f"019b8b74-0000-7000-8000-{number:012x}" for number in (1, 2)
    ]


def test_a_read_only_index_rejects_for_now(client: OpenSearch, made: Settings) -> None:
    """A write block rejects documents temporarily: neither a refusal nor an error."""
    name = made.opensearch.index
    client.indices.put_settings(index=name, body={"index.blocks.write": True})

    assert bulk.send(client, name, [action(1)])[0].outcome is Outcome.RETRIABLE
    client.indices.put_settings(index=name, body={"index.blocks.write": False})
    assert bulk.send(client, name, [action(1)])[0].outcome is Outcome.STORED


@pytest.mark.parametrize(
    ("block", "question"),
    [
        ("read", index.count),
        ("read", index.ids),
        ("read", index.empty),
        ("metadata", index.ensure),
        ("metadata", index.read_facts),
        ("read_only", lambda client, name: index.write_facts(client, name, {"hours": 1})),
        ("write", index.empty),
    ],
)
def test_a_blocked_index_is_told_with_the_setting_that_lifts_it(
    client: OpenSearch, made: Settings, block: str, question: Callable[[OpenSearch, str], object]
) -> None:
    """A block is not taken for a missing permission; the line names it and how to lift it."""
    name, setting = made.opensearch.index, f"index.blocks.{block}"
    bulk.send(client, name, [action(1)])
    index.refresh(client, name)
    client.indices.put_settings(index=name, body={setting: True})

    lift = rf'lift the block with `PUT .ds-{name}-000001/_settings {{"{setting}": null}}`$'
    with raises_shown(ConfigError, match=rf"403 cluster_block_exception: .*FORBIDDEN.*; {lift}"):
        question(client, name)


def test_a_search_that_fails_gives_its_reason(client: OpenSearch, fresh: Settings) -> None:
    """The reason of a failed shard is in the line, whether all shards failed or only some."""
    name = fresh.opensearch.index
    kinds = {"text": f"{name}-1", "keyword": f"{name}-2"}
    for kind, plain in kinds.items():
        body = {"mappings": {"properties": {"user_id": {"type": kind}}}, "aliases": {name: {}}}
        client.indices.create(index=plain, body=body)
    terms = {"size": 0, "aggs": {"readers": {"terms": {"field": "user_id"}}}}
    try:
        for asked in (name, kinds["text"]):
            with raises_shown(ConfigError, match=r"400 .*shards.*; illegal_argument.*: Text field"):
                index.search(client, asked, terms)
    finally:
        client.indices.delete(index=",".join(kinds.values()))


def test_a_closed_index_rejects_for_now(client: OpenSearch, fresh: Settings) -> None:
    """A closed index rejects documents temporarily."""
    name = fresh.opensearch.index
    client.indices.create(index=name, body={"mappings": EVENT_MAPPING})
    client.indices.close(index=name)

    assert bulk.send(client, name, [action(1)])[0].outcome is Outcome.RETRIABLE
    with raises_shown(ConfigError, match=r"index_closed_exception: closed; open the index"):
        index.count(client, name)


@pytest.mark.parametrize(
    "timestamp", ["2026-02-30T00:00:00.000Z", "2026-01-05T25:00:00.000Z", "yesterday, around noon…"]
)
def test_a_date_that_does_not_exist_is_refused(
    client: OpenSearch, made: Settings, timestamp: str
) -> None:
    """The type check only counts characters; the index refuses invalid dates."""
    (answer,) = bulk.send(client, made.opensearch.index, [action(1, timestamp=timestamp)])

    assert answer.outcome is Outcome.PERMANENT
    assert "timestamp" in answer.reason


def test_ids_can_be_read_up_to_a_time(client: OpenSearch, made: Settings) -> None:
    """The end time has millisecond precision and is exclusive."""
    name = made.opensearch.index
    bulk.send(client, name, [action(1), action(2, timestamp="2026-01-05T00:00:01.000Z")])
    index.refresh(client, name)
    start_ms = events.parse_timestamp("2026-01-05T00:00:00.000Z")

    assert index.newest(client, name) == index.Newest(2, START + timedelta(seconds=1))
    assert index.ids(client, name, until_ms=start_ms) == []
    assert len(index.ids(client, name, until_ms=start_ms + 1000)) == 1
    assert len(index.ids(client, name, until_ms=start_ms + 1001)) == 2


def test_an_index_with_the_default_format_of_dates_is_ours_still(
    client: OpenSearch, fresh: Settings
) -> None:
    """An index with the default date format accepts events and answers as before."""
    name = fresh.opensearch.index
    mapping = deepcopy(EVENT_MAPPING)
    for field in ("timestamp", "article_published_at"):
        mapping["properties"][field] = {"type": "date"}
    client.indices.create(index=name, body={"mappings": mapping})

    assert index.ensure(client, name) is False
    assert bulk.send(client, name, [action(1)])[0].outcome is Outcome.STORED
    index.refresh(client, name)
    assert len(index.ids(client, name, until_ms=2**41)) == 1


def test_facts_are_remembered_with_the_index(client: OpenSearch, made: Settings) -> None:
    """Facts can be overwritten and read, and do not affect the mapping check."""
    name = made.opensearch.index
    assert index.read_facts(client, name) == {}
    index.write_facts(client, name, {"hours": [1, 2]})
    index.write_facts(client, name, {"hours": [3, 4], "owner": "ada", "note": None})

    assert index.read_facts(client, name) == {"hours": [3, 4], "owner": "ada"}
    index.write_facts(client, name, {"hours": None})
    assert index.read_facts(client, name) == {"owner": "ada"}
    index.check_mapping(client, name)


def test_a_missing_index_stops_the_bulk(client: OpenSearch, fresh: Settings) -> None:
    """No index is made behind our back, and no document is called poison for it."""
    with raises_shown(
        BulkError, match=r"404 index_not_found_exception: no such index .*; create it with `"
    ):
        bulk.send(client, fresh.opensearch.index, [action(1)])
    with pytest.raises(ConfigError, match="no such index"):
        index.count(client, fresh.opensearch.index)


def test_a_node_that_is_not_there_is_unavailable() -> None:
    """A bulk to an unreachable node is retriable; other requests are one-line errors."""
    nobody = opensearch.connect(OpenSearchSettings("http://127.0.0.1:9", timeout_s=1))

    with pytest.raises(bulk.Unavailable):
        bulk.send(nobody, "any", [action(1)])
    with pytest.raises(ServerError, match="did not answer"):
        index.count(nobody, "any")


def test_another_mapping_is_told_and_left_alone(client: OpenSearch, fresh: Settings) -> None:
    """An index with another mapping is unchanged; the error names the fields and the remedy."""
    name = fresh.opensearch.index
    client.indices.create(
        index=name, body={"mappings": {"properties": {"user_id": {"type": "text"}}}}
    )

    before = client.indices.get_mapping(index=name)
    with raises_shown(ConfigError, match=r"another mapping.*user_id.*reset"):
        index.ensure(client, name)
    assert client.indices.get_mapping(index=name) == before
    assert not client.indices.exists_index_template(name=name)


@contextmanager
def other_template(client: OpenSearch, name: str, **content: Any) -> Iterator[str]:
    """Put somebody else's index template that matches the name, of higher priority than ours."""
    other = f"other-{name[-8:]}"
    body = {"index_patterns": [f"*{name[-8:]}"], "priority": 900, "data_stream": {}} | content
    client.indices.put_index_template(name=other, body=body)
    try:
        yield other
    finally:
        index.delete(client, name)
        client.indices.delete_index_template(name=other)


DATE = {"timestamp": {"type": "date"}}


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ({"mappings": {"properties": DATE}}, "another mapping .*user_id"),
        ({"mappings": EVENT_MAPPING | {"_routing": {"required": True}}}, "model: _routing differ"),
        ({"mappings": EVENT_MAPPING | {"_source": {"enabled": False}}}, "model: _source differ"),
        (
            {"mappings": EVENT_MAPPING, "settings": {"index.default_pipeline": "theirs"}},
            "the setting index.default_pipeline=theirs",
        ),
        (
            {"mappings": EVENT_MAPPING, "settings": {"index.final_pipeline": "theirs"}},
            "the setting index.final_pipeline=theirs",
        ),
        (
            {"mappings": EVENT_MAPPING, "settings": {"index.append_only.enabled": True}},
            "the setting index.append_only.enabled=true",
        ),
    ],
)
def test_a_template_that_overrides_ours_is_named_and_nothing_is_created(
    client: OpenSearch, fresh: Settings, template: dict[str, Any], fault: str
) -> None:
    """The line names the template and the remedy, after which the index is created."""
    name = fresh.opensearch.index
    with other_template(client, name, template=template) as other:
        told = rf"template '{other}' of priority 900 .*{fault}.*; give that template a priority"
        with raises_shown(ConfigError, match=told):
            index.ensure(client, name)
        assert not client.indices.exists(index=name)

        lower = {"index_patterns": [f"*{name[-8:]}"], "priority": 400, "template": template}
        client.indices.put_index_template(name=other, body=lower)
        assert index.ensure(client, name) is True


def test_a_template_that_made_the_index_is_named_before_a_reset(
    client: OpenSearch, fresh: Settings
) -> None:
    """If another template made the index, the template comes first: a reset alone is a loop."""
    name = fresh.opensearch.index
    with other_template(client, name, template={"mappings": {"properties": DATE}}) as other:
        client.indices.create_data_stream(name=name)
        told = (
            rf"template '{other}' of .*; give that template a priority .*; `\S*clickstream .*reset"
        )
        with raises_shown(ConfigError, match=told):
            index.ensure(client, name)


def test_a_template_of_higher_priority_that_is_fit_is_left_alone(
    client: OpenSearch, fresh: Settings
) -> None:
    """A template with our mapping may override ours, also with other shards."""
    name = fresh.opensearch.index
    theirs = {"mappings": EVENT_MAPPING, "settings": {"number_of_shards": 2}}
    stream = {"timestamp_field": {"name": "timestamp"}}
    with other_template(client, name, template=theirs, data_stream=stream):
        assert index.ensure(client, name) is True
        assert bulk.send(client, name, [action(1)])[0].outcome is Outcome.STORED


def test_a_template_that_cannot_stand_beside_ours_is_named(
    client: OpenSearch, fresh: Settings
) -> None:
    """Equal priorities, and a template without data streams, are OpenSearch's own words."""
    name = fresh.opensearch.index
    with other_template(client, name, priority=500) as other:
        told = rf"existing templates \[{other}\] .*; give the existing template another priority"
        with raises_shown(ConfigError, match=told):
            index.ensure(client, name)
    plain = {"index_patterns": [f"*{name[-8:]}"], "priority": 900}
    with other_template(client, name, template={"mappings": EVENT_MAPPING}) as other:
        body = plain | {"template": {"mappings": EVENT_MAPPING}}
        client.indices.put_index_template(name=other, body=body)
        with raises_shown(ConfigError, match=rf"{other}.* has no data stream template; give that"):
            index.ensure(client, name)


def test_an_alias_of_another_mapping_is_told_as_an_alias(
    client: OpenSearch, fresh: Settings
) -> None:
    """A reset cannot recreate an alias, so the remedy is to remove it."""
    name = fresh.opensearch.index
    client.indices.create(index=f"{name}-1", body={"aliases": {name: {}}})
    try:
        with raises_shown(ConfigError, match=rf"remove the alias: `DELETE {name}-1/_alias/{name}`"):
            index.ensure(client, name)
    finally:
        client.indices.delete(index=f"{name}-1")


def test_create_works_on_a_plain_index_too(client: OpenSearch, fresh: Settings) -> None:
    """A plain index with our mapping accepts the same bulk request."""
    name = fresh.opensearch.index
    client.indices.create(index=name, body={"mappings": EVENT_MAPPING})

    assert index.ensure(client, name) is False
    answers = bulk.send(client, name, [action(1)]) + bulk.send(client, name, [action(1)])
    assert [a.outcome for a in answers] == [Outcome.STORED, Outcome.REPLAYED]


def test_deleting_twice_is_fine(client: OpenSearch, made: Settings) -> None:
    """Deleting data stream and template twice is no error."""
    index.delete(client, made.opensearch.index)
    index.delete(client, made.opensearch.index)

    assert not client.indices.exists(index=made.opensearch.index)
    assert not client.indices.exists_index_template(name=made.opensearch.index)
