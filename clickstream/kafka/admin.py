"""Kafka's admin API: retries while a broker is starting, and one clear error per refusal.

Nothing here joins a consumer group, so no request can cause a rebalance.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, TypeVar

from confluent_kafka import OFFSET_END, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from clickstream.errors import (
    GRANT_PERMISSIONS,
    SEE_CHECK,
    Command,
    ConfFile,
    ConfigError,
    Hint,
    MissingError,
    NoAnswerError,
    ServerError,
    when_unreachable,
)
from clickstream.settings import KafkaSettings, split_brokers

_NAMES_SHOWN = 5
_LOGIN_CHECK_S = 0.5
_TOPICS_CHECK_S = 0.05
_RETRY_S = 0.1
_LIST_TIMEOUT_S = 2.0
_CONNECT_S = 3.0

_Key = TypeVar("_Key")
_Answer = TypeVar("_Answer")


class Refused(ServerError):
    """Kafka answered with an error."""

    def __init__(self, what: str, *hints: Hint, code: int) -> None:
        super().__init__(what, *hints)
        self.code = code
        """librdkafka's error code, a constant of `KafkaError`."""


class _LoginErrors:
    """Records that a login was refused: librdkafka calls this and keeps trying."""

    is_refused = False

    def __call__(self, error: KafkaError) -> None:
        self.is_refused = self.is_refused or error.code() == KafkaError._AUTHENTICATION


class Admin:
    """Sends admin requests to one Kafka; no answer within `timeout_s` is a `ServerError`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self._login_errors = _LoginErrors()
        self._brokers: list[tuple[str, int]] = []
        """Host and port that each broker advertises; empty before the topics were listed."""
        config = settings.client_config() | {"error_cb": self._login_errors}
        try:
            self._client = AdminClient(config)
        except KafkaException as error:
            msg = f"Kafka's client reports: {error.args[0].str()}"
            raise ConfigError(msg, ("fix ", ConfFile("kafka.json"))) from error

    def ask(
        self, doing: str, request: Callable[[AdminClient], dict[_Key, Future[Any]]]
    ) -> dict[_Key, Any]:
        """Send a request and return its answers; raise the first error among them.

        The request is repeated while the broker is still electing a coordinator or a leader.

        Args:
            doing: the purpose of the request, for the error message.
            request: sends the request and returns one future per answer.

        Raises:
            Refused: Kafka answered with an error.
            ServerError: Kafka did not answer.
        """

        def answers() -> dict[_Key, Any]:
            futures = request(self._client)
            return {key: self._result(doing, future) for key, future in futures.items()}

        return self.retry(doing, answers)

    def partitions_by_topic(self) -> dict[str, list[int]]:
        """List the existing topics, each with its partitions in order.

        Raises:
            ServerError: Kafka did not answer, or this machine reaches none of its brokers at the
                addresses that they advertise.
        """
        doing, ends_s = "listing topics", time.monotonic() + self.settings.timeout_s
        while True:
            try:
                found = self._client.list_topics(timeout=_LIST_TIMEOUT_S)
            except KafkaException as error:
                self._raise_if_login_refused(doing)
                if time.monotonic() > ends_s:
                    raise self.no_answer(doing) from error
            else:
                break
        if not self._brokers:
            self._brokers = [(each.host, each.port) for each in found.brokers.values()]
            if self._brokers and all(map(_why_unreachable, self._brokers)):
                raise self.no_answer(doing)
        return {name: sorted(topic.partitions) for name, topic in found.topics.items()}

    def wait_until(self, doing: str, is_visible: Callable[[dict[str, list[int]]], bool]) -> None:
        """Wait until a change to topics is visible: Kafka confirms it slightly earlier.

        Args:
            doing: the change, for the error message.
            is_visible: checks the topics, each with its partitions.

        Raises:
            ServerError: the check failed for `timeout_s`, or Kafka did not answer.
        """
        ends_s = time.monotonic() + self.settings.timeout_s
        while not is_visible(self.partitions_by_topic()):
            if time.monotonic() > ends_s:
                raise self.no_answer(doing)
            time.sleep(_TOPICS_CHECK_S)

    def partitions(self, topic: str) -> list[int]:
        """Return the partitions of a topic, in order.

        Raises:
            ConfigError: no such topic; the message names some that exist.
            ServerError: Kafka did not answer.
        """
        found = self.partitions_by_topic()
        if topic not in found:
            raise self._no_topic(topic, found)
        return found[topic]

    def first_offsets(self, topic: str) -> dict[int, int]:
        """Return the first offset that still exists, by partition of a topic.

        Raises:
            ConfigError: no such topic.
            ServerError: Kafka did not answer.
        """
        return self._offsets(topic, self.partitions(topic), OffsetSpec.earliest())

    def end_offsets(self, topic: str, partitions: Iterable[int]) -> dict[int, int]:
        """Return the offset that the next message will get, by partition of a topic.

        Raises:
            ServerError: Kafka did not answer.
        """
        return self._offsets(topic, partitions, OffsetSpec.latest())

    def offsets_at(self, topic: str, at: datetime) -> dict[int, int]:
        """Return the offset of the first message that Kafka got at this time or later.

        Returns:
            One key per partition of the topic; its end offset if there is no such message.

        Raises:
            ConfigError: no such topic.
            ServerError: Kafka did not answer.
        """
        partitions = self.partitions(topic)
        ends = self.end_offsets(topic, partitions)  # first, so that no later message is left out
        spec = OffsetSpec.for_timestamp(round(1000 * at.timestamp()))
        found = self._offsets(topic, partitions, spec, least=OFFSET_END)
        return {i: ends[i] if offset == OFFSET_END else offset for i, offset in found.items()}

    def _offsets(
        self, topic: str, partitions: Iterable[int], spec: OffsetSpec, *, least: int = 0
    ) -> dict[int, int]:
        wanted = {TopicPartition(topic, i): spec for i in partitions}
        doing = f"reading the offsets of {topic!r}"

        def answers() -> dict[int, int]:
            futures = self._client.list_offsets(wanted)
            found = {
                asked.partition: self._result(doing, future).offset
                for asked, future in futures.items()
            }
            if any(offset < least for offset in found.values()):
                # librdkafka leaves the offset invalid, without an error, where a partition has no
                # leader, as in a broker that has just started.
                raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
            return found

        return self.retry(doing, answers)

    def consumers(self, group_id: str) -> int:
        """Count the members of a group; 0 if the group does not exist.

        Raises:
            ServerError: Kafka did not answer.
        """
        return len(self._members(group_id))

    def owners(self, topic: str, group_id: str) -> dict[int, str]:
        """Return the partitions of a topic that members of a group own now, with the client id.

        Raises:
            ServerError: Kafka did not answer.
        """
        return {
            each.partition: member.client_id
            for member in self._members(group_id)
            for each in member.assignment.topic_partitions
            if each.topic == topic
        }

    def _members(self, group_id: str) -> Sequence[Any]:
        if not self._brokers:
            self.partitions_by_topic()  # finds brokers that cannot be reached
        doing = f"describing group {group_id!r}"
        found = self.ask(doing, lambda client: client.describe_consumer_groups([group_id]))
        members: Sequence[Any] = found[group_id].members
        return members

    def _no_topic(self, topic: str, existing: Iterable[str]) -> MissingError:
        others = sorted(name for name in existing if not name.startswith("__"))
        shown = ", ".join(others[:_NAMES_SHOWN]) or "none"
        more = f" and {len(others) - _NAMES_SHOWN} more" if others[_NAMES_SHOWN:] else ""
        produce = Command("produce")
        remedy: Hint = (produce, " creates it")
        if self.settings.is_hosted:
            conf = ConfFile("kafka.json")
            fix = "fix 'topic' in ", conf, " if it is misspelt, or "
            remedy = (*fix, produce, " creates it if you have the permission")
        return MissingError(
            f"no topic {topic!r} on {self.settings.bootstrap_servers}, existing topics: "
            f"{shown}{more}",
            remedy,
        )

    def retry(self, doing: str, ask: Callable[[], _Answer]) -> _Answer:
        """Ask, and repeat while the broker is still electing a coordinator or a leader.

        Raises:
            Refused: Kafka answered with an error.
            ServerError: Kafka did not answer.
        """
        ends_s = time.monotonic() + self.settings.timeout_s
        while True:
            try:
                return ask()
            except KafkaException as exception:
                cause: KafkaError = exception.args[0]
                code = cause.code()
                if code in _UNREACHABLE:
                    raise self.no_answer(doing) from exception
                if code not in _RETRIABLE or time.monotonic() > ends_s:
                    hint = GRANT_PERMISSIONS if code in NOT_ALLOWED else SEE_CHECK
                    msg = f"{doing}: Kafka answered {cause.str()!r}"
                    raise Refused(msg, hint, code=code) from exception
            time.sleep(_RETRY_S)

    def no_answer(self, doing: str) -> ServerError:
        """Make the error for a Kafka that did not answer, here or where it told us to ask."""
        settings = self.settings
        found = {each: why for each in self._brokers if (why := _why_unreachable(each))}
        if found and not all(map(_why_unreachable, split_brokers(settings.bootstrap_servers))):
            ((host, port), why), *_ = found.items()
            return ServerError(
                f"{doing}: Kafka on {settings.bootstrap_servers} advertises {host}:{port}, which "
                f"this machine cannot reach ({why})",
                "set `advertised.listeners` of that broker to an address that clients can reach",
            )
        return NoAnswerError(
            "Kafka",
            f"{doing}: Kafka did not answer on {settings.bootstrap_servers} within "
            f"{settings.timeout_s:g} s",
            *when_unreachable(is_hosted=settings.is_hosted),
        )

    def _result(self, doing: str, future: Future[Any]) -> Any:
        ends_s = time.monotonic() + self.settings.timeout_s
        while True:
            try:
                return future.result(timeout=_LOGIN_CHECK_S)
            except TimeoutError as error:
                self._raise_if_login_refused(doing)
                if time.monotonic() > ends_s:
                    raise self.no_answer(doing) from error

    def _raise_if_login_refused(self, doing: str) -> None:
        self._client.poll(0)
        if self._login_errors.is_refused:
            msg = (
                f"{doing}: Kafka on {self.settings.bootstrap_servers} rejected our user "
                "name or password"
            )
            conf = ConfFile("kafka.json")
            hint = "fix 'sasl.username' and 'sasl.password' in ", conf, ", or the variable"
            raise ConfigError(msg, hint)


def _why_unreachable(address: tuple[str, int]) -> str:
    """Say why no connection can be made; empty if one can."""
    try:
        socket.create_connection(address, timeout=_CONNECT_S).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


_RETRIABLE = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        # A broker that has just restarted.
        KafkaError._NOENT,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.FENCED_LEADER_EPOCH,
    }
)
_UNREACHABLE = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._RESOLVE,
    }
)
NOT_ALLOWED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    }
)
"""Error codes for missing permissions."""
