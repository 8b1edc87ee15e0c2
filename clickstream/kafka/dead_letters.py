"""The dead-letter topic: where a message goes that can never become a document."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from clickstream.errors import DeliveryError, GivenUp
from clickstream.settings import DEAD_LETTER_BYTES, KafkaSettings

logger = logging.getLogger(__name__)

_TELL_EVERY_S = 10.0

Letter = tuple[Message, str, str]
"""Message, error type, reason."""


class DeadLetters:
    """Sends messages that can never be documents on, as they were, with where from and why.

    Headers of their own stay; `clickstream.topic`, `.partition`, `.offset`, `.error.type` and
    `.error.reason` come on top.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._topic = settings.dead_letter_topic
        self._lock = threading.Lock()
        self._producer = Producer(
            settings.client_config()
            | {
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": 0,
                # The largest message of its topic, with our headers on top.
                "message.max.bytes": DEAD_LETTER_BYTES,
            }
        )

    def send(self, dead: list[Letter], give_up: threading.Event) -> None:
        """Return once every letter is acknowledged. Any thread may call it.

        A Kafka that does not answer is waited for, as long as it takes.

        Args:
            dead: message, error type, reason.
            give_up: set it to end the wait for acknowledgements.

        Raises:
            DeliveryError: Kafka refused one, so none may be committed.
            GivenUp: the wait was ended; none may be committed.
        """
        failures: list[KafkaError] = []

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failures.append(error)

        with self._lock:  # so that a flush waits for this batch's letters alone
            for letter in dead:
                try:
                    self._produce(*letter, on_delivery)
                except KafkaException as exception:
                    failures.append(exception.args[0])
            tell_s = time.monotonic() + _TELL_EVERY_S
            while left := self._producer.flush(0.5):
                if give_up.is_set():
                    self._producer.purge()
                    raise GivenUp
                if time.monotonic() > tell_s:
                    tell_s += _TELL_EVERY_S
                    logger.warning(
                        "kafka does not answer, still waiting topic=%s letters=%d",
                        *(self._topic, left),
                    )
        if failures:
            msg = (
                f"dead-letter topic {self._topic!r}: {len(failures):,} of {len(dead):,} letters "
                f"were refused ({failures[0].str()}); their offsets are not committed, and the "
                "consumer stands still; mend the topic and consume again: nothing is lost"
            )
            raise DeliveryError(msg)

    def _produce(
        self,
        message: Message,
        error_type: str,
        reason: str,
        on_delivery: Callable[[KafkaError | None, Message], None],
    ) -> None:
        headers = [
            *(message.headers() or ()),
            ("clickstream.topic", message.topic().encode()),
            ("clickstream.partition", str(message.partition()).encode()),
            ("clickstream.offset", str(message.offset()).encode()),
            ("clickstream.error.type", error_type.encode()),
            ("clickstream.error.reason", reason.encode()[:1_000]),
        ]
        value, key = message.value(), message.key()
        self._producer.produce(self._topic, value, key, headers=headers, on_delivery=on_delivery)

    def close(self) -> None:
        """Leave; nothing is waited for that `send` has not waited for."""
        self._producer.close()
