"""The OpenSearch client: its connection, and the translation of its errors into ours."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

from opensearchpy import ConnectionError as OpenSearchConnectionError
from opensearchpy import (
    ConnectionTimeout,
    OpenSearch,
    SerializationError,
    TransportError,
    Urllib3HttpConnection,
)
from opensearchpy.serializer import JSONSerializer

from clickstream import tls
from clickstream.errors import (
    GRANT_PERMISSIONS,
    SEE_CHECK,
    ClickstreamError,
    Command,
    ConfFile,
    ConfigError,
    Hint,
    MissingError,
    NoAnswerError,
    ServerError,
    when_unreachable,
)
from clickstream.settings import OpenSearchSettings

_Part = TypeVar("_Part")

_LONGEST_CAUSE = 600

_BLOCKS = {
    "5": "index.blocks.read_only",
    "6": "cluster.blocks.read_only",
    "7": "index.blocks.read",
    "8": "index.blocks.write",
    "9": "index.blocks.metadata",
    "10": "cluster.blocks.create_index",
    "13": "cluster.blocks.read_only_allow_delete",
}
"""The settings that block requests, by the number in OpenSearch's reason; source: the blocks of
its `IndexMetadata` and `Metadata`. Number 12 is a disk at its flood stage."""

_REMEDIES = {
    r"12/disk usage": "free disk space for OpenSearch, which then lifts the block by itself",
    r"SERVICE_UNAVAILABLE/": "wait until the cluster has started; its log says what is missing",
    r"index_closed_exception": "open the index with `POST INDEX/_open`",
    r"maximum .* open": "delete indices that nobody needs, or raise cluster.max_shards_per_node",
    r"the same priority": "give the existing template another priority",
    r"no data stream template": "give that template a lower priority than the kit's",
}
"""What to do, by what OpenSearch's reason contains."""


def connect(settings: OpenSearchSettings, *, connections: int = 4) -> Client:
    """Make a client that sends each request once; the caller decides about retries.

    Args:
        settings: the OpenSearch to connect to.
        connections: how many threads use the client at once.

    Raises:
        ConfigError: a certificate file is unusable.
    """
    is_tls = urlsplit(settings.url).scheme == "https"
    client = Client(
        settings.url,
        timeout=settings.timeout_s,
        max_retries=0,
        retry_on_timeout=False,
        pool_maxsize=connections,
        connection_class=_Connection,
        serializers={_Answers.mimetype: _Answers()},
        headers=_authorization(settings),
        **({"ssl_context": tls.for_opensearch(settings)} if is_tls else {}),
    )
    client.is_hosted = settings.is_hosted
    return client


class Client(OpenSearch):  # type: ignore[misc]
    """A client that knows whether somebody else runs its OpenSearch."""

    is_hosted = False


def _authorization(settings: OpenSearchSettings) -> dict[str, str]:
    if settings.username is None:
        return {}
    # OpenSearch expects UTF-8; the client would write Latin-1.
    both = f"{settings.username}:{settings.password}".encode()
    return {"authorization": f"Basic {b64encode(both).decode()}"}


class _Answers(JSONSerializer):  # type: ignore[misc]
    def loads(self, s: str) -> Any:
        # Without errors the items of a bulk add nothing; parsing them took an eighth of the CPU.
        if s.startswith('{"errors":false,"items":[') and s.endswith("}}]}"):
            return {"errors": False}
        return super().loads(s)


class _Connection(Urllib3HttpConnection):  # type: ignore[misc]
    def _raise_error(
        self, status_code: int, raw_data: str | bytes, content_type: str | None = None
    ) -> None:
        try:
            super()._raise_error(status_code, raw_data, content_type)
        except AttributeError as error:
            # The client expects the JSON of every error status to be an object.
            msg = f"status {status_code}, with JSON that is not an object"
            raise SerializationError(msg) from error


class NotOpenSearch(Exception):
    """The answer is not from OpenSearch; `translated_errors` turns this into a `ConfigError`."""


def part(answer: object, kind: type[_Part], *path: str) -> _Part:
    """Return the part of an answer's JSON under a path of nested keys.

    Raises:
        NotOpenSearch: the answer has another shape, or the part is not of this type.
    """
    for key in path:
        if not isinstance(answer, dict) or key not in answer:
            raise NotOpenSearch
        answer = answer[key]
    if not isinstance(answer, kind):
        raise NotOpenSearch
    return answer


@contextmanager
def translated_errors(client: Client, doing: str) -> Iterator[None]:
    """Translate the client's errors inside the block into ours; the message starts with `doing`.

    Any other exception, such as a bug in the kit, passes through unchanged.

    Raises:
        NoAnswerError: OpenSearch did not answer.
        ServerError: it is overloaded, or failed.
        ConfigError: there is no such index, OpenSearch did not accept our login, a setting
            blocks the request, or OpenSearch refuses it for another reason, which is given.
    """
    try:
        yield
    except OpenSearchConnectionError as error:
        if found := tls.explain(error):
            msg = f"{doing}: TLS with OpenSearch failed: {found[0]}"
            raise ConfigError(msg, found[1]) from error
        (host,) = client.transport.hosts
        msg = (
            f"{doing}: OpenSearch did not answer on {host['host']}:{host.get('port', 443)} "
            f"({no_answer(error)})"
        )
        hints = when_unreachable(is_hosted=client.is_hosted)
        raise NoAnswerError("OpenSearch", msg, *hints) from error
    except (SerializationError, NotOpenSearch) as error:
        raise _not_opensearch(doing) from error
    except TransportError as error:
        raise _translated(doing, error) from error


def _translated(doing: str, error: TransportError) -> ClickstreamError:
    """Make our error for an answer with an error status."""
    status, kind = error.status_code, str(error.error)
    if kind == "index_not_found_exception":
        return MissingError(f"{doing}: there is no such index", (Command("consume"), " creates it"))
    if status == 404 and not kind.endswith("_exception"):
        return _not_opensearch(doing)
    cause = status_and_cause(error)
    msg = f"{doing}: OpenSearch answered {cause}"
    is_temporary = status in (409, 429) or status >= 500
    if found := remedy(cause):
        return (ServerError if is_temporary else ConfigError)(msg, found)
    if refused := refusal(status):
        return Forbidden(msg + refused[0], refused[1])
    if "certificate" in cause:
        msg = f"{doing}: a proxy in front of OpenSearch answered: {cause}"
        conf = ConfFile("opensearch.json")
        return Forbidden(msg, ("set 'cert' and 'key' of a user that it accepts in ", conf))
    return (ServerError if is_temporary else ConfigError)(msg, SEE_CHECK)


def _not_opensearch(doing: str) -> ConfigError:
    hint = "use the address of its API, not that of Dashboards or of a login page"
    return ConfigError(f"{doing}: the server is not OpenSearch", hint)


def no_answer(error: OpenSearchConnectionError) -> str:
    """Describe briefly why there was no answer."""
    cause = str(error.error)
    if isinstance(error, ConnectionTimeout):
        return "it took too long"
    if words := re.search(r"\[Errno -?\d+\] ([^)'\"]+)", cause):
        return words[1].strip()
    if "ConnectionResetError" in cause:
        return "it reset the connection"
    return "it closed the connection" if "RemoteDisconnected" in cause else cause


def status_and_cause(error: TransportError) -> str:
    """Return the status and OpenSearch's reason in one line; for a proxy, its page's title."""
    text = str(error.error)
    if causes := "; ".join(dict.fromkeys(_causes(error.info))):
        return f"{error.status_code} {causes[:_LONGEST_CAUSE]}"
    if title := re.search(r"<title>(.*?)</title>", text):
        return title[1]
    first, *_ = text.splitlines() or [""]
    return f"{error.status_code} {first[:_LONGEST_CAUSE]}".strip()


_CAUSES = (
    "_shards",
    "error",
    "root_cause",
    "failed_shards",
    "failures",
    "reason",
    "cause",
    "caused_by",
)


def _causes(answer: object) -> Iterator[str]:
    """Yield type and reason of each error in an answer, the outermost first."""
    for error in answer if isinstance(answer, list) else [answer]:
        if isinstance(error, dict):
            if "type" in error:
                yield cause(error["type"], error.get("reason"))
            # A search names the causes by shard, `_delete_by_query` by document.
            for key in _CAUSES:
                yield from _causes(error.get(key))


def cause(error_type: str, reason: str | None) -> str:
    """Return type and reason of an error of OpenSearch in one line."""
    return " ".join(f"{error_type}: {reason or ''}".split()).rstrip(":;")


def remedy(reason: str) -> str:
    """Say how to remove a block or a limit that the reason names; empty for other reasons."""
    for pattern, what in _REMEDIES.items():
        if re.search(pattern, reason):
            return what
    index = re.search(r"index \[([^\]]+)\]", reason)
    lifts = []
    for number in dict.fromkeys(re.findall(r"[\[/](\d+)/", reason)):
        if setting := _BLOCKS.get(number):
            body = f'{{"{setting}": null}}'
            if setting.startswith("cluster."):
                lifts.append(f'`PUT _cluster/settings {{"persistent": {body}}}`')
            else:
                lifts.append(f"`PUT {index[1] if index else 'INDEX'}/_settings {body}`")
    if lifts:
        return f"lift the block with {' and '.join(lifts)}"
    return "ask OpenSearch's administrator to lift the block" if "blocked by" in reason else ""


class Forbidden(ConfigError):
    """OpenSearch rejected our login, or we lack a permission."""


def refusal(status: int) -> tuple[str, Hint] | None:
    """Return what a refused login or permission means, and what to do; None for another status."""
    if status == 401:
        fix = ("fix ", ConfFile("opensearch.json"), ", or the variable")
        return "; wrong or missing user name or password", fix
    return ("", GRANT_PERMISSIONS) if status == 403 else None
