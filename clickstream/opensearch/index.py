"""The index: its template, its data stream, and requests to both.

The data stream keeps one backing index and never rolls over, because `_id` is unique only within
one backing index. Unique ids turn "at least once" into "exactly once in effect". Everything here
also works on a plain index.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from opensearchpy import AuthorizationException, NotFoundError, RequestError

from clickstream import events
from clickstream.errors import Command, ConfFile, ConfigError, Hint, MissingError
from clickstream.opensearch.client import (
    Client,
    Forbidden,
    NotOpenSearch,
    part,
    remedy,
    translated_errors,
)
from clickstream.opensearch.mapping import EVENT_MAPPING, differences

_SETTINGS = {
    "number_of_shards": 1,
    "number_of_replicas": 0,
    "refresh_interval": "1s",
    "merge.policy": "log_byte_size",
    # If slices of a shard are searched in parallel, each keeps a separate top list. That makes
    # `terms` counts approximate, but charts promise exact counts.
    "search.concurrent_segment_search.mode": "none",
}
_PRIORITY = 500
"""Higher than any default template of a hosted service."""
_CHANGES_DOCUMENTS = (
    "default_pipeline",
    "final_pipeline",
    "search.default_pipeline",
    "append_only.enabled",  # refuses our ids
)
"""Settings of an index with which our documents are changed, dropped or refused."""


def template(name: str) -> dict[str, Any]:
    """Return the index template of a data stream, for `PUT _index_template/NAME`."""
    return {
        "index_patterns": [name],
        "priority": _PRIORITY,
        "data_stream": {"timestamp_field": {"name": "timestamp"}},
        "template": {"settings": {"index": _SETTINGS}, "mappings": EVENT_MAPPING},
    }


def ensure(client: Client, name: str) -> bool:
    """Create the template and the data stream if they are missing; check the mapping.

    Returns:
        Whether this call created the data stream.

    Raises:
        ConfigError: an index of that name exists with another mapping, and nothing was changed;
            or it is missing, and we may not create it, or another template would be applied.
        ServerError: OpenSearch did not answer.
    """
    with suppress(MissingError):
        check_mapping(client, name)
        return False
    try:
        put_template(client, name)
        with translated_errors(client, f"creating index {name!r}"):
            is_new = _create_data_stream(client, name)
    except Forbidden as refused:
        msg = f"index {name!r} does not exist, and we lack the permission to create it: {refused}"
        conf = ConfFile("opensearch.json")
        hint = "fix 'index' in ", conf, ", or have it created as described in docs/hosted.md"
        raise ConfigError(msg, hint) from refused
    check_mapping(client, name)
    return is_new


def put_template(client: Client, name: str) -> None:
    """Put the template of the data stream, and check that OpenSearch would apply it.

    Raises:
        ConfigError: another template takes precedence over ours, and the index would not be fit
            for events; or we may not put templates.
        ServerError: OpenSearch did not answer.
    """
    with translated_errors(client, f"putting index template {name!r}"):
        client.indices.put_index_template(name=name, body=template(name))
    overriding, faults = _overriding_template(client, name)
    if overriding:
        msg = f"{overriding}: index {name!r} would have {faults}"
        raise ConfigError(msg, _LOWER_PRIORITY)


def _create_data_stream(client: Client, name: str) -> bool:
    """Create it, and say whether this call did; another client may have been faster."""
    try:
        client.indices.create_data_stream(name=name)
    except RequestError as error:
        if error.error != "resource_already_exists_exception":
            raise
        return False
    return True


def delete(client: Client, name: str) -> None:
    """Delete the data stream (or plain index) and its template; repeating is safe."""
    with translated_errors(client, f"deleting index {name!r}"):
        for attempt in (
            partial(client.indices.delete_data_stream, name=name),
            partial(client.indices.delete, index=name),
            partial(client.indices.delete_index_template, name=name),
        ):
            with suppress(NotFoundError):  # it is of another kind
                attempt()


def empty(client: Client, name: str) -> None:
    """Delete every document and nothing else; repeating is safe.

    Use it for an index, data stream or alias that somebody else created and wants to keep.

    Raises:
        ConfigError: no such index, or no permission; then no document was deleted.
        ServerError: OpenSearch did not answer, or did not delete all documents.
    """
    body: dict[str, Any] = {"query": {"match_all": {}}}
    # Delete in parts, so that each request ends within the client's timeout.
    params = {"max_docs": _EMPTIED_AT_ONCE, "scroll_size": 10_000, "refresh": "true"}
    while True:
        with translated_errors(client, f"emptying index {name!r}"):
            answer = client.delete_by_query(index=name, body=body, params=params)
            deleted = part(answer, int, "deleted")
        if not deleted:
            return


_EMPTIED_AT_ONCE = 100_000


def refresh(client: Client, name: str) -> None:
    """Make every stored document searchable now."""
    with translated_errors(client, f"refreshing index {name!r}"):
        client.indices.refresh(index=name)


def count(client: Client, name: str) -> int:
    """Count the searchable documents.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    return newest(client, name).documents


_WHOLE = {"allow_partial_search_results": "false"}
"""A shard that fails makes the whole search an error, which names the cause."""


def search(client: Client, name: str, body: dict[str, Any]) -> dict[str, Any]:
    """Send a search with aggregations and return the complete answer of all shards.

    Raises:
        ConfigError: no such index, or the server is not OpenSearch.
        ServerError: OpenSearch did not answer, or some shards did not.
    """
    with translated_errors(client, f"searching index {name!r}"):
        answer = part(client.search(index=name, body=body, params=_WHOLE), dict)
        for path in (("took",), ("hits", "total", "value")):
            part(answer, int, *path)
        part(answer, dict, "aggregations")
    return answer


@dataclass(frozen=True)
class Newest:
    """The number of documents, and the event time of the newest; None without documents.

    A time after the year 9999 counts as its end.
    """

    documents: int
    timestamp: datetime | None


def newest(client: Client, name: str) -> Newest:
    """Count the documents and find the newest event time.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    aggregations = {"newest": {"max": {"field": "timestamp"}}}
    body = {"size": 0, "track_total_hits": True, "aggs": aggregations}
    found = search(client, name, body)
    at_ms = found["aggregations"]["newest"]["value"]
    timestamp = None if at_ms is None else events.moment(at_ms)
    return Newest(found["hits"]["total"]["value"], timestamp)


def newest_document(client: Client, name: str) -> tuple[str, dict[str, Any]] | None:
    """Return the id and the source of a document with the newest event time; None without one.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    body = {"size": 1, "sort": [{"timestamp": "desc"}], "aggs": {}}
    with translated_errors(client, f"searching index {name!r}"):
        answer = part(client.search(index=name, body=body, params=_WHOLE), dict)
        hits = part(answer, list, "hits", "hits")
    return (str(hits[0]["_id"]), dict(hits[0]["_source"])) if hits else None


def oldest_ms(client: Client, name: str) -> int | None:
    """Return the event time (ms since 1970) of the oldest document; None without documents.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    body = {"size": 0, "aggs": {"oldest": {"min": {"field": "timestamp"}}}}
    found = search(client, name, body)["aggregations"]["oldest"]["value"]
    return None if found is None else int(found)


def write_facts(client: Client, name: str, facts: dict[str, Any]) -> None:
    """Add facts about the index to the `_meta` of its mapping; the value None removes one.

    Deleting the index deletes them.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer, or refused.
    """
    known = {k: v for k, v in (read_facts(client, name) | facts).items() if v is not None}
    with translated_errors(client, f"updating the metadata of index {name!r}"):
        client.indices.put_mapping(index=name, body={"_meta": known})


def read_facts(client: Client, name: str) -> dict[str, Any]:
    """Return the facts that `write_facts` stored about the index; empty if there are none.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    (mapping, *_) = _mappings(client, name).values()
    return dict(mapping.get("_meta", {}))


def _mappings(client: Client, name: str) -> dict[str, dict[str, Any]]:
    """Return the mapping of each index behind the name; there is at least one."""
    with translated_errors(client, f"reading the mapping of {name!r}"):
        answers = part(client.indices.get_mapping(index=name), dict)
        if not answers:
            raise NotOpenSearch
        return {backing: part(answer, dict, "mappings") for backing, answer in answers.items()}


def ids(
    client: Client,
    name: str,
    *,
    until_ms: int | None = None,
    among: Sequence[str] | None = None,
) -> list[str]:
    """Read the `_id` of every searchable document, in no particular order, for checks by id.

    Args:
        client: the client to use.
        name: the name of the index.
        until_ms: only documents with an event time before this (ms since 1970).
        among: only documents with these ids, about ten thousand at most.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    query: dict[str, Any] = {"match_all": {}}
    if until_ms is not None:
        query = {"range": {"timestamp": {"lt": until_ms}}}
    if among is not None:
        query = {"ids": {"values": list(among)}}
    found: list[str] = []
    with translated_errors(client, f"reading the ids of {name!r}"):
        page = client.search(
            index=name,
            body={"size": 10_000, "_source": False, "sort": ["_doc"], "query": query},
            params={**_WHOLE, "scroll": "1m", "filter_path": "_scroll_id,hits.hits._id"},
        )
        while "hits" in page:  # the last page has no hits
            found.extend(part(hit, str, "_id") for hit in part(page, list, "hits", "hits"))
            page = client.scroll(
                body={"scroll": "1m", "scroll_id": part(page, str, "_scroll_id")},
                params={"filter_path": "_scroll_id,hits.hits._id"},
            )
        client.clear_scroll(body={"scroll_id": part(page, str, "_scroll_id")})
    return found


def has_each_once(client: Client, name: str, ids: Sequence[str]) -> bool:
    """Check whether each of these different ids is exactly one searchable document.

    A tenth of the work of reading them: an `_id` is unique within one backing index, so as many
    documents as ids in a single one are one for each. It also says no where they are in several.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    body = {
        "size": 0,
        "track_total_hits": True,
        "query": {"ids": {"values": list(ids)}},
        "aggs": {"backing": {"terms": {"field": "_index"}}},
    }
    found = search(client, name, body)
    backing = found["aggregations"]["backing"]["buckets"]
    return found["hits"]["total"]["value"] == len(ids) and len(backing) == 1


def check_mapping(client: Client, name: str) -> None:
    """Compare mapping and settings of the index with what the event model needs.

    Raises:
        ConfigError: no such index, or it differs; the message names the fields, the settings, and
            an index template that causes it.
        ServerError: OpenSearch did not answer.
    """
    with translated_errors(client, f"looking for index {name!r}"):
        answers = part(client.indices.get(index=name), dict)
        if not answers:
            raise NotOpenSearch
        for backing, found in answers.items():
            if faults := _faults(found):
                fix: Hint = (Command("reset --yes"), " recreates it if it is yours")
                if client.is_hosted:
                    fix = ("set another 'index' in ", ConfFile("opensearch.json"))
                elif backing != name and "data_stream" not in found:
                    fix = f"remove the alias: `DELETE {backing}/_alias/{name}`"
                msg = f"index {name!r} ({backing}) has {faults}"
                overriding, _ = _overriding_template(client, name)
                if overriding:
                    raise ConfigError(f"{overriding}: {msg}", _LOWER_PRIORITY, fix)
                raise ConfigError(msg, fix)


def check_blocks(client: Client, name: str) -> None:
    """Check that nothing blocks requests to the index, as far as we may see it.

    Raises:
        ConfigError: a setting of the index or of the cluster, or a full disk, blocks requests; the
            message says how to lift it. Or there is no such index.
        ServerError: OpenSearch did not answer.
    """
    doing = f"looking for blocks of index {name!r}"
    with translated_errors(client, doing), suppress(AuthorizationException):
        found = part(client.cluster.state(metric="blocks"), dict, "blocks")
        by_index = found.get("indices", {})
        places = {f"index [{i}] ": by_index.get(i, {}) for i in _mappings(client, name)}
        for place, blocks in {"": found.get("global", {}), **places}.items():
            if blocks:
                each = (f"[{n}/{block['description']}]" for n, block in blocks.items())
                msg = f"{place}blocked by: {', '.join(each)}"
                raise ConfigError(f"index {name!r} cannot be used: {msg}", remedy(msg))


def _faults(found: dict[str, Any]) -> str:
    """Describe how an index, existing or simulated, is unfit for events; empty if it is fit."""
    faults = []
    if different := differences(part(found, dict).get("mappings", {})):
        faults.append(
            f"another mapping than this version's event model: {', '.join(different)} differ"
        )
    for name in _CHANGES_DOCUMENTS:
        value: Any = found.get("settings", {}).get("index", {})
        for key in name.split("."):
            value = value.get(key, {})
        if value not in ({}, "_none", "false"):
            faults.append(f"the setting index.{name}={value}, which changes or refuses documents")
    return " and ".join(faults)


_LOWER_PRIORITY = (
    # Deleting it is not possible while a data stream uses it.
    f"give that template a priority below {_PRIORITY}, or index_patterns that do not match"
)


def _overriding_template(client: Client, name: str) -> tuple[str, str]:
    """Find the template that OpenSearch prefers to ours, if it makes the index unfit for events.

    Returns:
        The template, and what is wrong with it; both empty without one, or if we may not see it.
    """
    fields = ",".join(
        f"index_templates.{each}" for each in ("name", "*.index_patterns", "*.priority")
    )
    doing = f"looking for index templates of {name!r}"
    with translated_errors(client, doing), suppress(AuthorizationException):
        answer = client.indices.get_index_template(params={"filter_path": fields})
        rivals = []
        # Without any template, the filter leaves an empty answer.
        for each in part({"index_templates": []} | answer, list, "index_templates"):
            priority = each["index_template"].get("priority", 0)
            patterns = part(each, list, "index_template", "index_patterns")
            if priority > _PRIORITY and any(fnmatchcase(name, pattern) for pattern in patterns):
                rivals.append((priority, part(each, str, "name")))
        if rivals:
            priority, other = max(rivals)
            applied = client.indices.simulate_template(name=other)
            if faults := _faults(part(applied, dict, "template")):
                what = f"index template {other!r} of priority {priority} overrides the kit's"
                return what, faults
    return "", ""
