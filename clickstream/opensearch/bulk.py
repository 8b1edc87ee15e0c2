"""One bulk request of `create` actions, and the outcome of each document in it.

A document's `_id` is the id of its event, so OpenSearch refuses a repeat and never stores it
twice. Nothing here retries: the answer says which documents may be sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from opensearchpy import ConnectionError as OpenSearchConnectionError
from opensearchpy import SerializationError, TransportError

from clickstream import events
from clickstream.errors import SEE_CHECK, BulkError, Command, Hint, ServerError
from clickstream.opensearch.client import Client, cause, no_answer, refusal, status_and_cause


class Outcome(Enum):
    """The outcome of one document of a bulk request."""

    STORED = "stored"
    REPLAYED = "replayed"
    """Refused, because the index already has a document with this `_id`: the same event."""
    RETRIABLE = "retriable"
    """Not stored now; sending it again may help."""
    PERMANENT = "permanent"
    """Not stored, and sending it again unchanged cannot help."""


@dataclass(frozen=True)
class ItemAnswer:
    """The outcome of one document, with OpenSearch's error if it was not stored."""

    outcome: Outcome
    error_type: str = ""
    reason: str = ""


_STORED = ItemAnswer(Outcome.STORED)
_REPLAYED = ItemAnswer(Outcome.REPLAYED)


def action(event_id: str, document: bytes) -> bytes:
    """Format one `create` action with its document for a bulk body.

    `document` is used unchanged and must not contain a newline: a newline would start a second
    action, controlled by the author of the message.
    """
    return b'{"create":{"_id":%b}}\n%b\n' % (events.encode(event_id), document)


class Unavailable(ServerError):
    """OpenSearch is unreachable, overloaded or unreadable; sending again may help.

    The outcome of the documents is unknown. Sending them again is safe, because they have ids.
    """


class TooLarge(BulkError):
    """The request exceeds the server's limit; a smaller one may pass."""


def send(client: Client, name: str, actions: Sequence[bytes]) -> list[ItemAnswer]:
    """Send one bulk request of `create` actions and return the outcome of each document.

    Returns:
        One answer per action, in order.

    Raises:
        Unavailable: the outcome is unknown; send the same request again later.
        TooLarge: send it in parts.
        BulkError: OpenSearch refuses the request (no such index, no permission).
    """
    wanted = "errors,items.*.status,items.*.error.type,items.*.error.reason"
    ndjson = {"content-type": "application/x-ndjson"}
    url, body = f"/{name}/_bulk?filter_path={wanted}", b"".join(actions)
    try:
        response = client.transport.perform_request("POST", url, body=body, headers=ndjson)
    except OpenSearchConnectionError as error:
        raise Unavailable(f"OpenSearch did not answer: {no_answer(error)}") from error
    except TransportError as error:
        raise _refused(name, error) from error
    except SerializationError as error:
        msg = "OpenSearch's response is unreadable: truncated, or not from OpenSearch"
        raise Unavailable(msg) from error
    match response:
        case {"errors": False}:
            return [_STORED] * len(actions)
        case {"errors": True, "items": [*items]}:
            answers = [_item_answer(name, item["create"]) for item in items]
        case _:
            raise Unavailable("the response to a bulk request is not from OpenSearch")
    if len(answers) != len(actions):
        msg = f"index {name!r}: {len(actions)} documents sent, {len(answers)} answered"
        raise BulkError(msg, "a proxy truncates the responses: connect to OpenSearch directly")
    return answers


def _refused(name: str, error: TransportError) -> BulkError | Unavailable:
    """Make the error for a bulk request that OpenSearch refused as a whole."""
    if error.status_code == 413:
        return TooLarge(f"index {name!r}: the bulk request exceeds the server's limit")
    what = status_and_cause(error)
    if _is_retriable(error.status_code, str(error.error)):
        return Unavailable(f"OpenSearch answered {what}")
    meaning, remedy = _refusal(error.status_code)
    msg = f"index {name!r}: OpenSearch refused the bulk request: {what}{meaning}"
    return BulkError(msg, remedy)


_OVERLOADED = frozenset({429, 500, 502, 503, 504})
_BLOCKED = frozenset({"cluster_block_exception", "index_closed_exception"})
"""A read-only or closed index, or a full disk: these blocks are temporary."""


def _is_retriable(status: int, error_type: str) -> bool:
    """Decide whether an answer is waited out: of a whole request, or of one document."""
    return status in _OVERLOADED or error_type in _BLOCKED


def _refusal(status: int) -> tuple[str, Hint]:
    """Say what the status means, where it says more than the answer, and what to do."""
    if status == 404:
        return "", ("create it with ", Command("consume"))
    return refusal(status) or ("", SEE_CHECK)


def _item_answer(name: str, item: dict[str, Any]) -> ItemAnswer:
    status = item["status"]
    if status in (200, 201):
        return _STORED
    if status == 409:
        return _REPLAYED
    error = item.get("error", {})
    error_type, reason = error.get("type", f"status {status}"), error.get("reason", "")
    if _is_retriable(status, error_type):
        return ItemAnswer(Outcome.RETRIABLE, error_type, reason)
    if status in (401, 403, 404):
        meaning, remedy = _refusal(status)
        why = cause(error_type, reason)
        msg = f"index {name!r}: OpenSearch answered {status} {why}{meaning}"
        raise BulkError(msg, remedy)
    return ItemAnswer(Outcome.PERMANENT, error_type, reason)
