"""A client for OpenSearch: how it connects, and its errors turned into ours."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from opensearchpy import ConnectionError as OpenSearchConnectionError
from opensearchpy import (
    ConnectionTimeout,
    NotFoundError,
    OpenSearch,
    SerializationError,
    TransportError,
)
from opensearchpy.serializer import JSONSerializer

from clickstream import tls
from clickstream.errors import ConfigError, MissingError, ServerError, command, conf_file
from clickstream.settings import OpenSearchSettings

_MOST_SAID = 200
_NO_OPENSEARCH = (
    "what answers is no OpenSearch; name the address of its API, not that of Dashboards or of a "
    "login page"
)


def connect(settings: OpenSearchSettings, *, connections: int = 4) -> OpenSearch:
    """Make a client that tries once: who retries, and how long, is the caller's to say.

    Args:
        settings: where to.
        connections: how many threads ask at once.

    Raises:
        ConfigError: a certificate's file is unusable.
    """
    is_tls = urlsplit(settings.url).scheme == "https"
    client = _Client(
        settings.url,
        timeout=settings.timeout_s,
        max_retries=0,
        retry_on_timeout=False,
        pool_maxsize=connections,
        serializers={_Answers.mimetype: _Answers()},
        headers=_authorization(settings),
        **({"ssl_context": tls.for_opensearch(settings)} if is_tls else {}),
    )
    client.is_hosted = settings.is_hosted
    return client


class _Client(OpenSearch):  # type: ignore[misc]
    is_hosted = False


def _authorization(settings: OpenSearchSettings) -> dict[str, str]:
    if settings.username is None:
        return {}
    # UTF-8, as OpenSearch reads it; the client would write Latin-1.
    both = f"{settings.username}:{settings.password}".encode()
    return {"authorization": f"Basic {b64encode(both).decode()}"}


class _Answers(JSONSerializer):  # type: ignore[misc]
    def loads(self, s: str) -> Any:
        # Without errors a bulk's items say nothing more; to parse them was an eighth of the CPU.
        if s.startswith('{"errors":false,"items":[') and s.endswith("}}]}"):
            return {"errors": False}
        return super().loads(s)


@contextmanager
def answering(client: OpenSearch, doing: str) -> Iterator[None]:
    """Turn the client's errors inside the block into ours, with what was being done.

    Raises:
        ServerError: OpenSearch did not answer, or answered with an error.
        ConfigError: there is no such index, or who we are was not accepted.
    """
    try:
        yield
    except OpenSearchConnectionError as error:
        if found := tls.explain(error):
            msg = f"{doing}: no TLS with OpenSearch: {found[0]}; {found[1]}"
            raise ConfigError(msg) from error
        (host,) = client.transport.hosts
        hint = f"see {command('check')}; {command('up')} starts local servers"
        if is_hosted(client):
            hint = "see in the service's console whether it runs, and lets this machine in"
        msg = (
            f"{doing}: OpenSearch did not answer on {host['host']}:{host.get('port', 443)} "
            f"({silence(error)}); {hint}"
        )
        raise ServerError(msg) from error
    except (SerializationError, AttributeError, LookupError, TypeError, ValueError) as error:
        # All but the first where JSON of another shape came.
        raise ConfigError(f"{doing}: {_NO_OPENSEARCH}") from error
    except NotFoundError as error:
        if not str(error.error).endswith("_exception"):
            raise ConfigError(f"{doing}: {_NO_OPENSEARCH}") from error
        msg = f"{doing}: there is no such index; {command('consume')} makes it"
        raise MissingError(msg) from error
    except TransportError as error:
        if remedy := remedy_for(error.status_code):
            msg = f"{doing}: OpenSearch answered {error.status_code}; {remedy}"
            raise Forbidden(msg) from error
        said = _said(error)
        if "certificate" in said:
            msg = (
                f"{doing}: what stands before OpenSearch says: {said}; name 'cert' and 'key' of a "
                f"user whom it knows in {conf_file('opensearch.json')}"
            )
            raise Forbidden(msg) from error
        msg = f"{doing}: OpenSearch answered {said}; see {command('check')}"
        raise ServerError(msg) from error


def is_hosted(client: OpenSearch) -> bool:
    """Say whether somebody else runs what this client asks, as its settings said."""
    return isinstance(client, _Client) and client.is_hosted


def silence(error: OpenSearchConnectionError) -> str:
    """Say in some words why there was no answer."""
    said = str(error.error)
    if isinstance(error, ConnectionTimeout):
        return "it took too long"
    if words := re.search(r"\[Errno -?\d+\] ([^)'\"]+)", said):
        return words[1].strip()
    if "ConnectionResetError" in said:
        return "it reset the connection"
    return "it closed the connection" if "RemoteDisconnected" in said else said


def _said(error: TransportError) -> str:
    """Give status and cause in one line; a proxy's are the title of a page."""
    title = re.search(r"<title>(.*?)</title>", str(error.error))
    if title:
        return title[1]
    first, *_ = str(error.error).splitlines() or [""]
    return f"{error.status_code} {first[:_MOST_SAID]}".strip()


class Forbidden(ConfigError):
    """OpenSearch does not know us, or does not let us."""


def remedy_for(status: int) -> str | None:
    """Say what to do where OpenSearch refuses us; None where the status says nothing of that."""
    if status == 401:
        mend = f"mend {conf_file('opensearch.json')}, or the variable"
        return f"wrong or missing user name or password; {mend}"
    if status == 403:
        return "give the user the rights that the README lists"
    return None
