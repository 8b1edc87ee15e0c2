"""The index: its template and data stream, bulk requests, and what their answers mean.

The data stream keeps one backing index and never rolls over, because `_id` is unique only
within one: that is what turns "at least once" into "exactly once in effect". Everything
here works on a plain index of the user's own, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from opensearchpy import ConnectionError as OpenSearchConnectionError
from opensearchpy import NotFoundError, OpenSearch, SerializationError, TransportError

from clickstream import events
from clickstream.errors import BulkError, ConfigError, ServerError, command, conf_file
from clickstream.opensearch.client import Forbidden, answering, is_hosted, remedy_for, silence

REFRESH = "1s"

_SETTINGS = {
    "number_of_shards": 1,
    "number_of_replicas": 0,
    "refresh_interval": REFRESH,
    "merge.policy": "log_byte_size",
    # Slices of a shard searched side by side each keep a top list of their own, which
    # makes `terms` counts approximate; charts promise exact ones.
    "search.concurrent_segment_search.mode": "none",
}


def template(name: str) -> dict[str, Any]:
    """Give the index template of a data stream: for `PUT _index_template/NAME`."""
    return {
        "index_patterns": [name],
        # Above the patterns of any default template of a hosted service.
        "priority": 500,
        "data_stream": {"timestamp_field": {"name": "timestamp"}},
        "template": {"settings": {"index": _SETTINGS}, "mappings": events.mapping()},
    }


def ensure_index(client: OpenSearch, name: str) -> bool:
    """Make the template and the data stream where they are missing; check the mapping.

    Returns:
        Whether the stream was made now.

    Raises:
        ConfigError: something of that name exists with another mapping, and nothing was
            changed; or it is missing, and we may not make it.
        ServerError: OpenSearch did not answer.
    """
    if exists(client, name):
        check_mapping(client, name)
        return False
    try:
        with answering(client, f"making index {name!r}"):
            client.indices.put_index_template(name=name, body=template(name))
            client.indices.create_data_stream(name=name)
    except Forbidden as refused:
        msg = (
            f"index {name!r} is missing, and OpenSearch does not let us make it; mend 'index' in "
            f"{conf_file('opensearch.json')}, or have it made as the README says"
        )
        raise ConfigError(msg) from refused
    except ServerError as error:
        cause = error.__cause__
        if getattr(cause, "error", None) != "resource_already_exists_exception":
            raise
        return False
    return True


def exists(client: OpenSearch, name: str) -> bool:
    """Say whether there is an index or a data stream of this name.

    Raises:
        ServerError: OpenSearch did not answer.
    """
    with answering(client, f"looking for index {name!r}"):
        return bool(client.indices.exists(index=name))


def delete_index(client: OpenSearch, name: str) -> None:
    """Delete the data stream (or plain index) and its template; repeat at will."""
    with answering(client, f"deleting index {name!r}"):
        deletions: tuple[Callable[[], Any], ...] = (
            lambda: client.indices.delete_data_stream(name=name),
            lambda: client.indices.delete(index=name),
            lambda: client.indices.delete_index_template(name=name),
        )
        for delete in deletions:
            try:
                delete()
            except NotFoundError:
                continue  # this kind of thing is not there; the next may be


def empty_index(client: OpenSearch, name: str) -> None:
    """Delete every document, and leave all else; repeat at will.

    For an index, data stream or alias that somebody else made and may not want made anew.

    Raises:
        ConfigError: no such index, or we may not; then no document was deleted.
        ServerError: OpenSearch did not answer, or not delete all.
    """
    body: dict[str, Any] = {"query": {"match_all": {}}}
    # In parts, for a request must be answered within the client's time.
    part = {"max_docs": _EMPTIED_AT_ONCE, "scroll_size": 10_000, "refresh": "true"}
    while True:
        with answering(client, f"emptying index {name!r}"):
            answer = client.delete_by_query(index=name, body=body, params=part)
            deleted, failures = answer["deleted"], answer["failures"]
        if failures and failures[0].get("status") == 403:
            msg = f"emptying index {name!r}: OpenSearch answered 403; {remedy_for(403)}"
            raise Forbidden(msg)
        if failures:
            msg = f"emptying index {name!r}: {len(failures)} documents are left; do it again"
            raise ServerError(msg)
        if not deleted:
            return


_EMPTIED_AT_ONCE = 100_000


def refresh(client: OpenSearch, name: str) -> None:
    """Make every stored document searchable now."""
    with answering(client, f"refreshing index {name!r}"):
        client.indices.refresh(index=name)


def count(client: OpenSearch, name: str) -> int:
    """Count the searchable documents.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    with answering(client, f"counting the documents of {name!r}"):
        return int(client.count(index=name)["count"])


@dataclass(frozen=True)
class Newest:
    """How many documents there are, and the event time of the newest; None without any."""

    documents: int
    timestamp: datetime | None


def newest(client: OpenSearch, name: str) -> Newest:
    """Count the documents and look at the newest.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    aggregations = {"newest": {"max": {"field": "timestamp"}}}
    body = {"size": 0, "track_total_hits": True, "aggs": aggregations}
    with answering(client, f"looking at index {name!r}"):
        found = client.search(index=name, body=body)
        at_ms = found["aggregations"]["newest"]["value"]
        moment = None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)
        return Newest(found["hits"]["total"]["value"], moment)


def oldest_ms(client: OpenSearch, name: str) -> int | None:
    """Give the event time (ms since 1970) of the oldest document; None where there is none.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    body = {"size": 0, "aggs": {"oldest": {"min": {"field": "timestamp"}}}}
    with answering(client, f"looking for the oldest document of {name!r}"):
        found = client.search(index=name, body=body)["aggregations"]["oldest"]["value"]
    return None if found is None else int(found)


def remember(client: OpenSearch, name: str, facts: dict[str, Any]) -> None:
    """Write facts about the index into its mapping's `_meta`, beside others; None takes one out.

    They are deleted with the index.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer, or does not let us.
    """
    known = {k: v for k, v in (recall(client, name) | facts).items() if v is not None}
    with answering(client, f"writing down facts about index {name!r}"):
        client.indices.put_mapping(index=name, body={"_meta": known})


def recall(client: OpenSearch, name: str) -> dict[str, Any]:
    """Give the facts that are written down about the index; empty where there are none.

    Raises:
        ConfigError: no such index.
        ServerError: OpenSearch did not answer.
    """
    with answering(client, f"looking at the mapping of {name!r}"):
        (answer, *_) = client.indices.get_mapping(index=name).values()
        return dict(answer["mappings"].get("_meta", {}))


def ids(
    client: OpenSearch,
    name: str,
    *,
    until_ms: int | None = None,
    among: Sequence[str] | None = None,
) -> list[str]:
    """Read the `_id` of every searchable document, in no order; for checks by id.

    Args:
        client: where to read.
        name: of the index.
        until_ms: only documents with an event time before this (ms since 1970).
        among: only documents of these ids, some ten thousand at most.

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
    with answering(client, f"reading the ids of {name!r}"):
        page = client.search(
            index=name,
            body={"size": 10_000, "_source": False, "sort": ["_doc"], "query": query},
            params={"scroll": "1m", "filter_path": "_scroll_id,hits.hits._id"},
        )
        while hits := page.get("hits", {}).get("hits"):
            found.extend(hit["_id"] for hit in hits)
            page = client.scroll(
                body={"scroll": "1m", "scroll_id": page["_scroll_id"]},
                params={"filter_path": "_scroll_id,hits.hits._id"},
            )
        client.clear_scroll(body={"scroll_id": page["_scroll_id"]})
    return found


class Outcome(Enum):
    """What became of one document of a bulk request."""

    STORED = "stored"
    REPLAYED = "replayed"
    """A document of that `_id` was there already, so this one was refused: the same event."""
    REJECTED = "rejected"
    """Not stored now; sending it again may help."""
    REFUSED = "refused"
    """Never to be stored, as it is."""


@dataclass(frozen=True)
class ItemAnswer:
    """The outcome of one document, with OpenSearch's words where it was not stored."""

    outcome: Outcome
    error_type: str = ""
    reason: str = ""


_STORED = ItemAnswer(Outcome.STORED)
_REPLAYED = ItemAnswer(Outcome.REPLAYED)


def action(event_id: str, document: bytes) -> bytes:
    """Write one `create` action with its document, ready to stand in a bulk body.

    `document` is passed on as it is and must hold no newline: a newline would start a
    second action, written by whoever wrote the message.
    """
    return b'{"create":{"_id":%b}}\n%b\n' % (events.encode(event_id), document)


class Unavailable(ServerError):
    """OpenSearch could not be reached or understood, or is overloaded; sending again may help.

    What became of the documents is unknown, which own ids make harmless.
    """


class TooLarge(BulkError):
    """The whole request is over the server's limit; a part of it may pass."""


def bulk(client: OpenSearch, name: str, actions: Sequence[bytes]) -> list[ItemAnswer]:
    """Send one bulk request of `create` actions and say what became of each document.

    Returns:
        One answer per action, in order.

    Raises:
        Unavailable: nothing is known; send the same again later.
        TooLarge: send it in parts.
        BulkError: OpenSearch refuses to work with us (no such index, no rights).
    """
    wanted = "errors,items.*.status,items.*.error.type,items.*.error.reason"
    ndjson = {"content-type": "application/x-ndjson"}
    url, body = f"/{name}/_bulk?filter_path={wanted}", b"".join(actions)
    try:
        response = client.transport.perform_request("POST", url, body=body, headers=ndjson)
    except OpenSearchConnectionError as error:
        raise Unavailable(f"OpenSearch did not answer: {silence(error)}") from error
    except TransportError as error:
        _raise_refusal(name, error)
    except (SerializationError, AttributeError) as error:
        # An AttributeError is the client's on an error status whose JSON is no object.
        msg = "OpenSearch's answer cannot be read: it is cut, or somebody else's"
        raise Unavailable(msg) from error
    match response:
        case {"errors": False}:
            return [_STORED] * len(actions)
        case {"errors": True, "items": [*items]}:
            answers = [_item_answer(name, item["create"]) for item in items]
        case _:
            raise Unavailable("what answered a bulk request is not OpenSearch")
    if len(answers) != len(actions):
        msg = (
            f"index {name!r}: {len(actions)} documents sent, {len(answers)} answered; something "
            "between here and OpenSearch cuts answers: connect to it directly"
        )
        raise BulkError(msg)
    return answers


def _raise_refusal(name: str, error: TransportError) -> None:
    if error.status_code == 413:
        msg = f"index {name!r}: the bulk request is over the server's limit"
        raise TooLarge(msg) from error
    if error.status_code in (429, 500, 502, 503, 504) or str(error.error) in _BLOCKS:
        msg = f"OpenSearch answered {error.status_code} {error.error}"
        raise Unavailable(msg) from error
    what = f"{error.status_code} {error.error}"
    msg = (
        f"index {name!r}: OpenSearch refused the bulk request: {what}; {_remedy(error.status_code)}"
    )
    raise BulkError(msg) from error


_BLOCKS = frozenset({"cluster_block_exception", "index_closed_exception"})
"""A read-only or closed index and a full disk: somebody lifts these again."""


def _remedy(status: int) -> str:
    if status == 404:
        return f"make it with {command('consume')}"
    return remedy_for(status) or f"see {command('check')}"


def _item_answer(name: str, item: dict[str, Any]) -> ItemAnswer:
    status = item["status"]
    if status in (200, 201):
        return _STORED
    if status == 409:
        return _REPLAYED
    error = item.get("error", {})
    error_type, reason = error.get("type", f"status {status}"), error.get("reason", "")
    if status == 429 or status >= 500 or error_type in _BLOCKS:
        return ItemAnswer(Outcome.REJECTED, error_type, reason)
    if status in (401, 403, 404):
        msg = f"index {name!r}: OpenSearch answered {status} {error_type}; {_remedy(status)}"
        raise BulkError(msg)
    return ItemAnswer(Outcome.REFUSED, error_type, reason)


def check_mapping(client: OpenSearch, name: str) -> None:
    """Compare the index's mapping with the event model's.

    Raises:
        ConfigError: no such index, or its mapping differs; the message names the fields.
        ServerError: OpenSearch did not answer.
    """
    wanted = events.mapping()
    with answering(client, f"looking at the mapping of {name!r}"):
        answers = client.indices.get_mapping(index=name)
        mappings = {backing: answer["mappings"] for backing, answer in answers.items()}
    for backing, found in mappings.items():
        different = [
            field
            for field in sorted({*wanted["properties"], *found.get("properties", {})})
            if _canonical(found.get("properties", {}).get(field))
            != _canonical(wanted["properties"].get(field))
        ]
        if different or found.get("dynamic") != wanted["dynamic"]:
            what = ", ".join(different) or "dynamic"
            remedy = f"{command('reset --yes')} makes it new if it is yours"
            if is_hosted(client):
                remedy = f"name another 'index' in {conf_file('opensearch.json')}"
            msg = (
                f"index {name!r} ({backing}) has another mapping than this version's events: "
                f"{what} differ; {remedy}"
            )
            raise ConfigError(msg)


def _canonical(field: dict[str, Any] | None) -> str:
    # The server drops settings that equal its default. An index that was made to read dates
    # in the default format reads ours, too, only slower.
    return json.dumps(
        {k: v for k, v in (field or {}).items() if (k, v) != ("format", events.DATE["format"])},
        sort_keys=True,
    )
