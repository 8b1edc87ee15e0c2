"""Events → messages: hand them to Kafka, and count every delivery.

Delivery: the producer is idempotent and uses `acks=all`, so a retry inside the client neither
duplicates nor reorders a message. The key is the reader, so one reader's events stay in order.
A full local queue slows the source down; no event is dropped.

The source decides when an event is due; `simulation/pacing.py` has a source of paced readers.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from clickstream.errors import Command, ConfigError, DeliveryError, Interrupted
from clickstream.events import Event, encode
from clickstream.kafka import topics
from clickstream.kafka.dead_letters import DELIVERY_PROPERTIES
from clickstream.reports import ProduceReport
from clickstream.settings import KafkaSettings

logger = logging.getLogger(__name__)

PROPERTIES = {
    **DELIVERY_PROPERTIES,
    "compression.type": "lz4",
    "linger.ms": 20,
    # The partition a Java producer would choose for the same key.
    "partitioner": "murmur2_random",
}
"""librdkafka's own property names, on top of `KafkaSettings.client_config`."""

_POLL_S = 0.2
_REPORT_EVERY_S = 1.0
_FLUSH_S = 10.0
_QUEUE_MESSAGES = 90_000
"""Below librdkafka's own limit of 100,000, so that we wait before it refuses an event."""

Headers = list[tuple[str, bytes | None]]
Raw = tuple[bytes, str, Headers | None]
"""Value, key, headers of a message."""


class Source(Protocol):
    """A source of events."""

    def __iter__(self) -> Iterator[Event | None]:
        """Yield each event when it is due, and None at least every 0.2 s while none is due."""

    def finish(self) -> Iterable[Event]:
        """Return the events that are still held back after iteration has stopped."""


def produce(
    settings: KafkaSettings,
    source: Source,
    *,
    duration_s: float | None = None,
    stop: threading.Event | None = None,
    on_second: Callable[[ProduceReport], None] | None = None,
    report: ProduceReport | None = None,
) -> ProduceReport:
    """Send a source's events when they are due, until the source ends or `stop` is set.

    Every event that was taken from the source is sent, and so are the events that it held back.

    Args:
        settings: the Kafka and the topic; a missing topic is created.
        source: the events; `simulation.pacing.PacedEvents` is a source of simulated readers.
        duration_s: stop after this many seconds.
        stop: set it to stop within 0.2 s, or 10 s later if Kafka does not answer.
        on_second: called about once per second with the report so far.
        report: an empty report to fill during the run; any thread may read it.

    Raises:
        ConfigError: `duration_s` is not above 0, or not finite.
        DeliveryError: Kafka did not accept all events; the message says how many it did.
        Interrupted: the notebook's stop button; everything sent has been flushed.
        ServerError: Kafka did not answer.
    """
    if duration_s is not None and not 0 < duration_s < math.inf:
        msg = f"produce for {duration_s} seconds: the duration must be more than 0, and finite"
        raise ConfigError(msg)
    stop = stop or threading.Event()
    with _CountingProducer(settings, report, on_second) as kafka:

        def is_over() -> bool:
            is_late = duration_s is not None and kafka.seconds() >= duration_s
            return is_late or stop.is_set()

        try:
            for event in source:
                if event is None:
                    kafka.poll()
                else:
                    kafka.send(encode(event), event.user_id)
                # Check for stop, and wait for room, only after the event was sent.
                if is_over() or not kafka.has_room(give_up=is_over):
                    break
        except KeyboardInterrupt:
            kafka.send_last(source.finish())
            raise
        kafka.send_last(source.finish())
    return kafka.report


def send(settings: KafkaSettings, batch: Iterable[Event]) -> ProduceReport:
    """Send events as they are, as fast as Kafka accepts them; a missing topic is created.

    Raises:
        DeliveryError: Kafka did not accept all events; the message says how many it did.
        Interrupted: the notebook's stop button; everything sent has been flushed.
        ServerError: Kafka did not answer.
    """
    return send_raw(settings, ((encode(event), event.user_id, None) for event in batch))


def send_raw(settings: KafkaSettings, batch: Iterable[Raw]) -> ProduceReport:
    """Send values as they are, with keys and headers; the caller checks their content.

    Raises:
        DeliveryError, Interrupted, ServerError: as `send`.
    """
    with _CountingProducer(settings) as kafka:
        for value, key, headers in batch:
            kafka.has_room()
            kafka.send(value, key, headers)
    return kafka.report


class _CountingProducer:
    """A librdkafka producer that counts its delivery reports; its exit waits for all of them."""

    def __init__(
        self,
        settings: KafkaSettings,
        report: ProduceReport | None = None,
        on_second: Callable[[ProduceReport], None] | None = None,
    ) -> None:
        topics.ensure_topics(settings)
        self.report = report or ProduceReport(settings.topic)
        self._on_second = on_second
        self._is_closing = False
        self._producer = Producer(settings.client_config() | PROPERTIES)
        self._started_s = self._reported_s = self._answered_s = time.monotonic()

    def seconds(self) -> float:
        """Return how long the producer has been open."""
        return time.monotonic() - self._started_s

    def send(self, value: bytes, key: str, headers: Headers | None = None) -> None:
        """Hand one message to librdkafka; call `has_room` before."""
        self.report.sent += 1  # before Kafka can have it, so that Kafka never has more
        try:
            self._producer.produce(
                self.report.topic, value, key, headers=headers, on_delivery=self._on_delivery
            )
        except KafkaException as exception:
            self.report.sent -= 1
            msg = (
                f"topic {self.report.topic!r}: Kafka's client accepted no more events "
                f"({exception.args[0].str()}) after {self.report.sent:,}"
            )
            raise DeliveryError(msg, ("see ", Command("status"))) from exception
        if self.report.sent % 500 == 0:
            self.poll()
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("sent %s", value.decode(errors="backslashreplace"))

    def has_room(self, give_up: Callable[[], bool] = lambda: False) -> bool:
        """Wait until the local queue accepts another message; False if `give_up` says so."""
        self._report_each_second()
        while len(self._producer) >= _QUEUE_MESSAGES:
            if give_up():
                return False
            self.poll(_POLL_S)
            self._report_each_second()
        return True

    def poll(self, wait_s: float = 0) -> None:
        """Process delivery reports, and wait up to `wait_s` for one."""
        self._producer.poll(wait_s)

    def send_last(self, batch: Iterable[Event]) -> None:
        """Send the held-back events; while the queue is full, wait as long as Kafka answers."""
        self._start_closing()
        for event in batch:
            if self.has_room(give_up=self._has_no_answer):
                self.send(encode(event), event.user_id)
            else:
                self.report.sent += 1
                self._count_failure("no answer in time")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for every delivery report; raise unless all messages were delivered.

        An error from the block, except an interrupt, takes precedence: it says more.
        """
        self._flush()
        self._take_time()
        if kind is not None and kind is not KeyboardInterrupt:
            return
        report = self.report
        if report.failed or report.delivered < report.sent:
            msg = (
                f"topic {report.topic!r}: {report.sent - report.delivered:,} of {report.sent:,} "
                f"events were not acknowledged ({report.first_error or 'no answer in time'})"
            )
            raise DeliveryError(msg, ("see ", Command("status"), ", then send again"))
        if kind is KeyboardInterrupt:
            msg = f"stopped by interrupt; {report}"
            raise Interrupted(msg, "run the cell again to continue")

    def _flush(self) -> None:
        """Wait for answers, ten seconds at most for the next; drop the messages without one."""
        self._start_closing()
        while len(self._producer) and not self._has_no_answer():
            self._producer.flush(_POLL_S)
        if len(self._producer):
            self._producer.purge()  # unacknowledged messages are reported as failed
            self._producer.flush(1)
        self._producer.close()

    def _start_closing(self) -> None:
        """Give Kafka ten seconds from now, even if it has been silent for longer."""
        if not self._is_closing:
            self._is_closing, self._answered_s = True, time.monotonic()

    def _has_no_answer(self) -> bool:
        return time.monotonic() - self._answered_s >= _FLUSH_S

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        self._answered_s = time.monotonic()
        if error is None:
            self.report.delivered += 1
            self.report.bytes += len(message)
        else:
            self._count_failure(error.str())

    def _count_failure(self, reason: str) -> None:
        self.report.failed += 1
        self.report.first_error = self.report.first_error or reason

    def _report_each_second(self) -> None:
        if time.monotonic() - self._reported_s < _REPORT_EVERY_S:
            return
        self._reported_s = time.monotonic()
        self._take_time()
        if self._on_second is not None:
            self._on_second(self.report)

    def _take_time(self) -> None:
        """Record the time so far, and log the report."""
        report = self.report
        report.seconds = self.seconds()
        logger.info(
            "produced topic=%s sent=%d delivered=%d failed=%d bytes=%d rate=%.1f",
            report.topic,
            report.sent,
            report.delivered,
            report.failed,
            report.bytes,
            report.events_per_second,
        )
