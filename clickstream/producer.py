"""Events → messages: pace them, produce them, count every delivery.

Delivery: idempotent and `acks=all`, so a retry inside the client neither doubles nor
reorders a message. A full local queue slows the producer; nothing is thrown away.

Pace: a Poisson process at the rate asked for, whose next point is drawn before it is due.
The k-th event of the crowd takes the time of the k-th point: the crowd's clock runs faster
or slower, the crowd itself stays as it is, and every open session goes on.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from numbers import Real
from random import Random

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from clickstream import events
from clickstream.errors import ConfigError, DeliveryError, Interrupted, command
from clickstream.kafka import topics
from clickstream.settings import DEAD_LETTER_BYTES, KafkaSettings
from clickstream.simulation.traffic import Stage

logger = logging.getLogger(__name__)

SLOWEST, FASTEST = 0.2, 5_000.0
"""The rates, in events per second, that the pace is promised for."""

_LONGEST_WAIT_S = 0.2
_SHORTEST_WAIT_S = 0.002
"""Shorter sleeps cost more than they give: at 5,000 events/s ten events share one."""
_FORGOTTEN_S = 1.0
"""Further behind than this (a sleeping laptop, a broker that stood still) is let go."""
_LOG_EVERY_S = 1.0
_FLUSH_S = 10.0
_QUEUE_MESSAGES = 90_000
"""Below librdkafka's own limit of 100,000: a full queue is met before it refuses an event."""

Headers = list[tuple[str, bytes | None]]
Raw = tuple[bytes, str, Headers | None]
"""Value, key, headers of a message."""


def parse_rate(text: str) -> float:
    """Read a rate as it is typed: events per second, or `max`.

    Raises:
        ConfigError: it is neither.
    """
    if text == "max":
        return math.inf
    try:
        return float(text)
    except ValueError as error:
        msg = f"--rate {text!r} is neither a number of events per second nor max"
        raise ConfigError(msg) from error


class Pace:
    """The points in time at which events are due; the rate may change between any two.

    Args:
        events_per_second: 0.2 to 5,000, or `math.inf` for as fast as the broker takes.
        rng: draws the gaps.

    Raises:
        ConfigError: the rate is out of range.
    """

    def __init__(self, events_per_second: float, *, rng: Random) -> None:
        self._rng = rng
        self._lock = threading.Lock()
        self._need = rng.expovariate(1.0)
        self._since_s = time.monotonic()
        self._rate = self._checked(events_per_second)

    @staticmethod
    def _checked(rate: float) -> float:
        is_number = isinstance(rate, Real)
        if not is_number or (rate != math.inf and not SLOWEST <= rate <= FASTEST):
            msg = (
                f"a rate of {f'{rate:g}' if is_number else repr(rate)} events/s: the pace goes "
                f"from {SLOWEST:g} to {FASTEST:,.0f}; choose one in between, or for as fast as "
                "Kafka takes `math.inf`, in a terminal `max`"
            )
            raise ConfigError(msg)
        return rate

    @property
    def events_per_second(self) -> float:
        """The rate asked for; setting it acts on the event that is waited for now."""
        return self._rate

    @events_per_second.setter
    def events_per_second(self, rate: float) -> None:
        rate = self._checked(rate)
        with self._lock:
            now_s = time.monotonic()
            if self._rate != math.inf:
                # What has been waited so far counts at the old rate.
                self._need = max(0.0, self._need - (now_s - self._since_s) * self._rate)
            self._since_s, self._rate = now_s, rate

    def begin(self) -> None:
        """Wait from now on for the next event; what passed before is not made up for."""
        with self._lock:
            self._since_s = time.monotonic()

    def wait_s(self) -> float:
        """Say how long until the next event is due: 0 or less when it is."""
        with self._lock:
            return self._since_s + self._need / self._rate - time.monotonic()

    def step(self) -> None:
        """Pass on to the next point; what is more than a second behind is let go."""
        with self._lock:
            if self._rate == math.inf:
                self._since_s = time.monotonic()
                return
            earliest = time.monotonic() - _FORGOTTEN_S
            self._since_s = max(self._since_s + self._need / self._rate, earliest)
            self._need = self._rng.expovariate(1.0)


@dataclass
class ProduceReport:
    """What became of the events handed to Kafka, counted by its delivery reports."""

    topic: str
    sent: int = 0
    delivered: int = 0
    failed: int = 0
    bytes: int = 0
    """Of the values delivered."""
    seconds: float = 0.0
    first_error: str | None = field(default=None, repr=False)

    @property
    def events_per_second(self) -> float:
        """The rate that came about, over the whole run."""
        return self.sent / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        return (
            f"{self.delivered:,} of {self.sent:,} events delivered to {self.topic} "
            f"in {self.seconds:.1f} s ({self.events_per_second:,.1f} events/s, "
            f"{self.bytes / 1e6:.1f} MB, {self.failed:,} failed)"
        )

    def _repr_html_(self) -> str:
        return f"<b>{self}</b>"


def produce(
    settings: KafkaSettings,
    stage: Stage,
    *,
    pace: Pace,
    num_events: int | None = None,
    until_ms: int | None = None,
    duration_s: float | None = None,
    stop: threading.Event | None = None,
    on_second: Callable[[ProduceReport], None] | None = None,
    report: ProduceReport | None = None,
) -> ProduceReport:
    """Produce the crowd's events at a pace, until told to stop.

    A crowd that starts in the past is replayed with its own times, at the pace asked for,
    until it reaches now and goes on at its natural rate; from there, and for a crowd that
    starts live, every event carries the moment it was due. No event is ever in the future.

    Args:
        settings: where to; a topic that is missing is made.
        stage: where the events come from. What its scenarios add comes on top of the pace;
            at the end all of them are ended.
        pace: when each is due; set `pace.events_per_second` while running to change it.
        num_events: stop after so many of the crowd's own, scenarios aside.
        until_ms: stop before the first event of this simulated time (ms since 1970).
        duration_s: stop after so many seconds.
        stop: set it to stop within 0.2 s, and 10 s more where Kafka does not answer.
        on_second: called about once a second with the report so far.
        report: an empty one of the caller's, filled as it goes; any thread may look at it.

    Raises:
        ConfigError: no event, or no time at all, was asked for.
        DeliveryError: Kafka did not take all of them; the message says how many it did.
        Interrupted: by the notebook's stop button; what was sent has been flushed.
        ServerError: Kafka did not answer.
    """
    if num_events is not None and num_events < 1:
        msg = f"produce {num_events:,} events: ask for 1 or more"
        raise ConfigError(msg)
    if duration_s is not None and duration_s <= 0:
        msg = f"produce for {duration_s:g} seconds: ask for more than 0"
        raise ConfigError(msg)
    stop = stop or threading.Event()
    crowd = stage.crowd
    report = report or ProduceReport(settings.topic)
    client = _Client(settings, report)
    started_s = time.monotonic()
    next_log_s = started_s + _LOG_EVERY_S
    is_live = crowd.start_ms >= crowd.live_from_ms
    num_steps = 0
    was_interrupted = False
    pace.begin()
    try:
        try:
            while not stop.is_set() and (num_steps != num_events or stage.took_added):
                now_s = time.monotonic()
                if now_s >= next_log_s:
                    next_log_s = now_s + _LOG_EVERY_S
                    report.seconds = now_s - started_s
                    _log(report)
                    if on_second is not None:
                        on_second(report)
                if duration_s is not None and now_s - started_s >= duration_s:
                    break
                if until_ms is not None and crowd.peek_ms() >= until_ms:
                    break
                if not client.has_room():
                    client.serve(_LONGEST_WAIT_S)
                    continue
                # What a scenario put between takes none of the crowd's turns.
                wait_s = 0.0 if stage.took_added else pace.wait_s()
                if wait_s > 0:
                    if is_live and stage.running:
                        client.send_all(stage.added(int(time.time() * 1000)), stop.is_set)
                    client.serve()
                    stop.wait(min(max(wait_s, _SHORTEST_WAIT_S), _LONGEST_WAIT_S))
                    continue
                if not stage.took_added:
                    pace.step()
                    num_steps += 1
                now_ms = int(time.time() * 1000)
                if not is_live and crowd.peek_ms() >= now_ms:
                    is_live = True
                    pace.events_per_second = crowd.natural_rate
                    logger.info("reached now, goes on at rate=%.1f", crowd.natural_rate)
                due_ms = now_ms + min(0, round(wait_s * 1000)) if is_live else None
                client.send_all(stage.step(due_ms), stop.is_set)
        except KeyboardInterrupt:
            was_interrupted = True
        closing_s = time.monotonic() + _FLUSH_S
        client.send_all(stage.close(), lambda: time.monotonic() > closing_s)
    finally:
        client.finish(started_s)
    return _unless(was_interrupted, report)


def send(settings: KafkaSettings, batch: Iterable[events.Event]) -> ProduceReport:
    """Send events as they are, as fast as Kafka takes them; a topic that is missing is made.

    Raises:
        DeliveryError: Kafka did not take all of them; the message says how many it did.
        Interrupted: by the notebook's stop button; what was sent has been flushed.
        ServerError: Kafka did not answer.
    """
    return send_raw(settings, ((events.encode(event), event.user_id, None) for event in batch))


def send_raw(settings: KafkaSettings, batch: Iterable[Raw]) -> ProduceReport:
    """Send values as they are, with keys and headers; what they hold is the caller's to check.

    Raises:
        DeliveryError, Interrupted, ServerError: as `send`.
    """
    client = _Client(settings, ProduceReport(settings.topic))
    started_s = time.monotonic()
    was_interrupted = False
    try:
        for value, key, headers in batch:
            client.wait_for_room(lambda: False)
            client.send(value, key, headers)
    except KeyboardInterrupt:
        was_interrupted = True
    finally:
        client.finish(started_s)
    return _unless(was_interrupted, client.report)


def _unless(was_interrupted: bool, report: ProduceReport) -> ProduceReport:
    if was_interrupted:
        msg = f"stopped by interrupt; {report}; run the cell again to go on"
        raise Interrupted(msg)
    return report


class _Client:
    """A librdkafka producer that counts its delivery reports."""

    def __init__(self, settings: KafkaSettings, report: ProduceReport) -> None:
        topics.ensure_topics(settings)
        self.report = report
        self._topic = settings.topic
        self._producer = Producer(
            settings.client_config()
            | {
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 20,
                # How large a message may be is the topic's to say: what once lay in it may
                # come back with a header more.
                "message.max.bytes": DEAD_LETTER_BYTES,
                # A broker that is away is waited for, as long as it takes.
                "message.timeout.ms": 0,
                # The partition a Java producer would choose for the same key.
                "partitioner": "murmur2_random",
            }
        )

    def has_room(self) -> bool:
        """Say whether the local queue takes another event; `serve` until it does."""
        return len(self._producer) < _QUEUE_MESSAGES

    def send(self, value: bytes, key: str, headers: Headers | None = None) -> None:
        try:
            self._producer.produce(
                self._topic, value, key, headers=headers, on_delivery=self._on_delivery
            )
        except KafkaException as exception:
            msg = (
                f"topic {self._topic!r}: Kafka's client took no more events "
                f"({exception.args[0].str()}) after {self.report.sent:,}; see {command('status')}"
            )
            raise DeliveryError(msg) from exception
        self.report.sent += 1
        if self.report.sent % 500 == 0:
            self.serve()
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("sent %s", value.decode(errors="backslashreplace"))

    def send_all(self, batch: Iterable[events.Event], is_over: Callable[[], bool]) -> None:
        """Send them, and wait for room where there is none, until told that it is over."""
        for event in batch:
            self.wait_for_room(is_over)
            self.send(events.encode(event), event.user_id)

    def wait_for_room(self, is_over: Callable[[], bool]) -> None:
        while not self.has_room() and not is_over():
            self.serve(_LONGEST_WAIT_S)

    def serve(self, wait_s: float = 0) -> None:
        """Take in delivery reports, and wait for one as long as that."""
        self._producer.poll(wait_s)

    def finish(self, started_s: float) -> None:
        """Wait for every delivery report, and raise unless all of them are good."""
        report = self.report
        waiting, ends_s = len(self._producer), time.monotonic() + _FLUSH_S
        while waiting and time.monotonic() < ends_s:
            if (left := self._producer.flush(_LONGEST_WAIT_S)) < waiting:
                waiting, ends_s = left, time.monotonic() + _FLUSH_S
        if waiting:
            self._producer.purge()  # what nobody acknowledged by now is told as failed
            self._producer.flush(1)
        self._producer.close()
        report.seconds = time.monotonic() - started_s
        _log(report)
        if report.failed or report.delivered < report.sent:
            why = report.first_error or "no answer in time"
            msg = (
                f"topic {self._topic!r}: {report.sent - report.delivered:,} of {report.sent:,} "
                f"events were not acknowledged ({why}); see {command('status')}, then send again"
            )
            raise DeliveryError(msg)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.report.delivered += 1
            self.report.bytes += len(message)
        else:
            self.report.failed += 1
            self.report.first_error = self.report.first_error or error.str()


def _log(report: ProduceReport) -> None:
    logger.info(
        "produced topic=%s sent=%d delivered=%d failed=%d bytes=%d rate=%.1f",
        report.topic,
        report.sent,
        report.delivered,
        report.failed,
        report.bytes,
        report.events_per_second,
    )
