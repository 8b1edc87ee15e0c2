"""Kafka's admin API: retries while a broker is starting, and one clear error per refusal.

Nothing here joins a consumer group, so no request can cause a rebalance.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from clickstream.errors import (
    SEE_CHECK,
    Command,
    ConfFile,
    ConfigError,
    Hint,
    MissingError,
    ServerError,
)
from clickstream.settings import KafkaSettings

_NAMES_SHOWN = 5
_LOGIN_CHECK_S = 0.5
_TOPICS_CHECK_S = 0.05
_RETRY_S = 0.1
_LIST_TIMEOUT_S = 2.0

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
        self._settings = settings
        self._login_errors = _LoginErrors()
        config = settings.client_config() | {"error_cb": self._login_errors}
        try:
            self._client = AdminClient(config)
        except KafkaException as error:
            msg = f"Kafka's client says: {error.args[0].str()}"
            raise ConfigError(msg, ("mend ", ConfFile("kafka.json"))) from error

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

        return self.retry(answers)

    def partitions_by_topic(self) -> dict[str, list[int]]:
        """List the existing topics, each with its partitions in order.

        Raises:
            ServerError: Kafka did not answer.
        """
        doing, ends_s = "listing topics", time.monotonic() + self._settings.timeout_s
        while True:
            try:
                found = self._client.list_topics(timeout=_LIST_TIMEOUT_S).topics
            except KafkaException as error:
                self._raise_if_login_refused(doing)
                if time.monotonic() > ends_s:
                    raise no_answer(self._settings, doing) from error
            else:
                return {name: sorted(topic.partitions) for name, topic in found.items()}

    def wait_until(self, doing: str, is_so: Callable[[dict[str, list[int]]], bool]) -> None:
        """Wait until a change to topics is visible: Kafka confirms it slightly earlier.

        Args:
            doing: the change, for the error message.
            is_so: checks the topics, each with its partitions.

        Raises:
            ServerError: the check failed for `timeout_s`, or Kafka did not answer.
        """
        ends_s = time.monotonic() + self._settings.timeout_s
        while not is_so(self.partitions_by_topic()):
            if time.monotonic() > ends_s:
                raise no_answer(self._settings, doing)
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

    def offsets(
        self, topic: str, spec: OffsetSpec, *, among: Iterable[int] | None = None
    ) -> dict[int, int]:
        """Return the first or the end offset of every partition of a topic.

        Args:
            topic: its name.
            spec: which offset.
            among: the partitions, if known; by default it asks Kafka.

        Raises:
            ConfigError: no such topic.
            ServerError: Kafka did not answer.
        """
        known = self.partitions(topic) if among is None else among
        wanted = {TopicPartition(topic, i): spec for i in known}
        answers = self.ask(
            f"asking offsets of {topic!r}", lambda client: client.list_offsets(wanted)
        )
        return {asked.partition: answer.offset for asked, answer in answers.items()}

    def consumers(self, group_id: str) -> int:
        """Count the members of a group; 0 if the group does not exist.

        Raises:
            ServerError: Kafka did not answer.
        """
        return len(self._members(group_id))

    def assigned(self, topic: str, group_id: str) -> set[int]:
        """Return the partitions of a topic that members of a group own now.

        Raises:
            ServerError: Kafka did not answer.
        """
        return {
            each.partition
            for member in self._members(group_id)
            for each in member.assignment.topic_partitions
            if each.topic == topic
        }

    def _members(self, group_id: str) -> Sequence[Any]:
        doing = f"describing group {group_id!r}"
        found = self.ask(doing, lambda client: client.describe_consumer_groups([group_id]))
        members: Sequence[Any] = found[group_id].members
        return members

    def _no_topic(self, topic: str, existing: Iterable[str]) -> MissingError:
        others = sorted(name for name in existing if not name.startswith("__"))
        shown = ", ".join(others[:_NAMES_SHOWN]) or "none"
        more = f" and {len(others) - _NAMES_SHOWN} more" if others[_NAMES_SHOWN:] else ""
        produce = Command("produce")
        remedy: Hint = (produce, " makes it")
        if self._settings.is_hosted:
            mend = "mend 'topic' in ", ConfFile("kafka.json")
            remedy = (*mend, ", or ", produce, " makes it, where you may")
        return MissingError(
            f"no topic {topic!r} on {self._settings.bootstrap_servers}, there is: {shown}{more}",
            remedy,
        )

    def retry(self, ask: Callable[[], _Answer]) -> _Answer:
        """Ask, and repeat while the broker is still electing a coordinator or a leader."""
        ends_s = time.monotonic() + self._settings.timeout_s
        while True:
            try:
                return ask()
            except Refused as refused:
                if refused.code not in _RETRIABLE or time.monotonic() > ends_s:
                    raise
            time.sleep(_RETRY_S)

    def _result(self, doing: str, future: Future[Any]) -> Any:
        ends_s = time.monotonic() + self._settings.timeout_s
        while True:
            try:
                return future.result(timeout=_LOGIN_CHECK_S)
            except TimeoutError as error:
                self._raise_if_login_refused(doing)
                if time.monotonic() > ends_s:
                    raise no_answer(self._settings, doing) from error
            except KafkaException as exception:
                raise self.error(doing, exception) from exception

    def _raise_if_login_refused(self, doing: str) -> None:
        self._client.poll(0)
        if self._login_errors.is_refused:
            msg = (
                f"{doing}: Kafka on {self._settings.bootstrap_servers} does not accept our "
                "user name or password"
            )
            raise ConfigError(
                msg,
                (
                    "mend 'sasl.username' and 'sasl.password' in ",
                    ConfFile("kafka.json"),
                    ", or the variable",
                ),
            )

    def error(self, doing: str, exception: KafkaException) -> ServerError:
        """Turn librdkafka's error into ours: `Refused`, or `ServerError` if unreachable."""
        cause: KafkaError = exception.args[0]
        if cause.code() in _UNREACHABLE:
            return no_answer(self._settings, doing)
        is_allowed = cause.code() not in NOT_ALLOWED
        remedy = SEE_CHECK if is_allowed else "give the user the rights that docs/hosted.md lists"
        return Refused(f"{doing}: Kafka answered {cause.str()!r}", remedy, code=cause.code())


class GroupOffsets:
    """Reads and sets the offsets of a consumer group, without joining it.

    It does not use the admin client, whose requests for group offsets crash the process while
    the broker has not elected the group's coordinator yet (librdkafka issue 5040).
    """

    def __init__(self, admin: Admin, settings: KafkaSettings) -> None:
        self._admin, self._settings = admin, settings
        config = {"group.id": settings.group_id, "enable.auto.commit": False}
        self._client = Consumer(settings.client_config() | config)
        self._has_answered = False

    def committed(self, topic: str, partitions: Iterable[int]) -> list[TopicPartition]:
        """Return the committed offsets and metadata; a negative offset means none.

        Raises:
            ServerError: Kafka did not answer, or refused.
        """
        wanted = [TopicPartition(topic, i) for i in partitions]
        found: list[TopicPartition] = self._ask(
            "asking offsets", lambda: self._client.committed(wanted, self._settings.timeout_s)
        )
        return found

    def commit(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Set the offsets of a group without members.

        Raises:
            ServerError: Kafka did not answer, or somebody is reading as the group.
        """
        wanted = [TopicPartition(topic, i, offset) for i, offset in offsets.items()]
        self._ask(
            "setting the offsets",
            lambda: self._client.commit(offsets=wanted, asynchronous=False),
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _ask(self, doing: str, request: Callable[[], _Answer]) -> _Answer:
        doing = f"{doing} of group {self._settings.group_id!r}"

        def answer() -> _Answer:
            try:
                return request()
            except KafkaException as exception:
                raise self._admin.error(doing, exception) from exception

        try:
            found = self._admin.retry(answer)
        except Refused:
            raise
        except ServerError:
            if not self._has_answered:
                # A user without permissions on the group gets no answer here, only "no
                # coordinator". A request to describe the group is refused with the reason.
                self._admin.consumers(self._settings.group_id)
            raise
        self._has_answered = True
        return found


def no_answer(settings: KafkaSettings, doing: str) -> ServerError:
    """Make the error for a Kafka that did not answer."""
    hints: tuple[Hint, ...] = (SEE_CHECK, (Command("up"), " starts local servers"))
    if settings.is_hosted:
        hints = ("see in the service's console whether it runs, and lets this machine in",)
    return ServerError(
        f"{doing}: Kafka did not answer on {settings.bootstrap_servers} within "
        f"{settings.timeout_s:g} s",
        *hints,
    )


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
