"""The consumer commits in the order of the polls, although answers arrive in any order.

No servers: the tests replace `GroupReader` and `BulkSender` and decide what Kafka delivers and
what OpenSearch answers.
"""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clickstream.consumer import BULKS_IN_FLIGHT, MOST_UNCOMMITTED, _Indexer
from clickstream.errors import BulkError, ServerError
from clickstream.kafka.group_reader import Offsets, Polled
from clickstream.opensearch.bulk_sender import Batch
from clickstream.reports import BatchReport, IndexReport


class Reader:
    """Delivers the test's messages, and records the offsets that the consumer stores."""

    def __init__(self) -> None:
        self.stored: Offsets = {}
        self.polls: list[Callable[[], Polled]] = []
        self.forget: Callable[[Iterable[int]], None]

    def join(
        self, *, on_revoke: Callable[[], None], forget: Callable[[Iterable[int]], None]
    ) -> None:
        """Do nothing: the partitions are already assigned."""
        self.forget = forget

    def poll(self, most: int, timeout_s: float) -> Polled:
        """Return the next poll of the test."""
        return self.polls.pop(0)()

    def poll_paused(self) -> None:
        """Do nothing: no other member exists."""

    def store(self, offsets: Offsets, metadata: str) -> None:
        """Record the latest offset by partition."""
        self.stored |= offsets

    def commit(self) -> None:
        """Do nothing: stored offsets count as committed."""

    def end_offset(self, partition: int) -> int:
        """Return an end offset that is far away."""
        return 1_000_000

    def close(self) -> None:
        """Do nothing."""


class Sender:
    """Accepts batches; the test decides their outcome."""

    rejection = ""

    def __init__(self) -> None:
        self.answers: list[Future[BatchReport]] = []

    def submit(self, batch: Batch) -> Future[BatchReport]:
        """Return a future that the test completes."""
        self.answers.append(Future())
        return self.answers[-1]


class Run:
    """A run of the consumer, step by step."""

    def __init__(self, **options: Any) -> None:
        self.reader, self.sender, self.report = Reader(), Sender(), IndexReport()
        self.indexer = _Indexer(self.reader, self.sender, self.report, **options)  # type: ignore[arg-type]
        self.indexer._reader.join(on_revoke=self.indexer._drain, forget=self.indexer._forget)

    def send(self, ends: Offsets, *, messages: int = 1) -> Future[BatchReport]:
        """Poll this many messages of each partition, up to these ends, and send them."""
        polled = polled_up_to(ends, messages)
        self.indexer._send(polled)
        return self.sender.answers[-1]

    def answer(self, *answers: Future[BatchReport]) -> None:
        """Answer these batches: one document of each is stored."""
        for each in answers:
            each.set_result(BatchReport(stored=1))
        self.indexer._settle()


def polled_up_to(ends: Offsets, messages: int = 1) -> Polled:
    """The result of a poll; its messages have no value, so no event is needed."""
    found = [
        Message(topic="t", partition=i, offset=offset, timestamp=(1, 1_000 + offset))
        for i, end in ends.items()
        for offset in range(end - messages, end)
    ]
    first = {each.partition(): each for each in reversed(found)}
    return Polled(found, first, dict(ends))


def test_nothing_is_stored_before_the_first_batch_is_answered() -> None:
    """A later batch that is answered first is counted at once, but its offset waits."""
    run = Run()
    first, second = run.send({0: 10}), run.send({0: 20})

    run.answer(second)
    assert (run.reader.stored, run.report.stored, run.report.in_flight) == ({}, 1, 1)
    run.answer(first)
    assert (run.reader.stored, run.report.stored, run.report.in_flight) == ({0: 20}, 2, 0)
    assert run.report.settled == {0: 20}


def test_offsets_that_were_never_delivered_leave_no_hole() -> None:
    """A gap in the offsets, as after compaction, does not block a commit."""
    run = Run()
    run.answer(run.send({0: 5}), run.send({0: 5_000}))

    assert run.reader.stored == {0: 5_000}


def test_a_partition_that_was_taken_away_is_never_stored() -> None:
    """After a revoke, no offset and no lag of the partition is recorded any more."""
    run = Run()
    first, second = run.send({0: 5, 1: 5}), run.send({0: 10, 1: 10})
    run.answer(first)
    assert run.report.lag.keys() == run.report.settled.keys() == {0, 1}

    run.reader.forget([0])
    assert run.report.lag.keys() == run.report.settled.keys() == {1}
    run.answer(second)
    assert run.reader.stored == {0: 5, 1: 10}
    assert run.report.lag.keys() == run.report.settled.keys() == {1}


def test_an_end_alone_waits_for_what_was_sent_before_it() -> None:
    """An end is stored with the batch before it, or at once without one; it is no progress."""
    run = Run(patience_s=50)
    progress_s = run.indexer._progress_s
    run.indexer._send(Polled(next_offsets={0: 7}))
    assert run.reader.stored == {0: 7}
    assert run.indexer._progress_s == progress_s
    assert run.report.lag[0].seconds == 0

    answer = run.send({0: 10})
    progress_s = run.indexer._progress_s
    run.indexer._send(Polled(next_offsets={0: 12, 1: 3}))
    assert run.reader.stored == {0: 7}
    assert run.indexer._progress_s == progress_s
    run.answer(answer)
    assert run.reader.stored == {0: 12, 1: 3}


def test_any_answer_is_progress() -> None:
    """Patience only ends if no bulk at all is answered."""
    run = Run(patience_s=50)
    run.send({0: 10})
    second = run.send({0: 20})

    run.indexer._progress_s -= 100
    run.answer(second)
    run.indexer._check_patience()
    run.indexer._progress_s -= 100
    with pytest.raises(
        ServerError, match=r"OpenSearch accepted nothing for 100 s .1 messages settled"
    ):
        run.indexer._check_patience()


def test_the_age_of_the_lag_is_that_of_the_oldest_message_that_is_not_settled() -> None:
    """The age counts by partition; batches answered after an open one are not settled."""
    run = Run()
    first, second = run.send({0: 10}, messages=3), run.send({0: 20, 1: 20})

    run.answer(second)
    now_s = time.time()
    assert run.report.lag[0].seconds == pytest.approx(now_s - 1.007, abs=5)
    assert run.report.lag[1].seconds == pytest.approx(now_s - 1.019, abs=5)
    run.answer(first)
    assert [each.seconds for each in run.report.lag.values()] == [0, 0]


def test_what_is_sent_and_not_committed_is_bounded() -> None:
    """An unanswered batch stops the polls only after `MOST_UNCOMMITTED` batches."""
    run = Run()
    head = run.send({0: 1})
    for end in range(2, MOST_UNCOMMITTED + 1):
        assert run.indexer._has_room()
        run.answer(run.send({0: end}))

    assert not run.indexer._has_room()
    run.answer(head)
    assert run.indexer._has_room()
    assert run.reader.stored == {0: MOST_UNCOMMITTED}


def test_one_batch_at_most_stands_in_line() -> None:
    """With one batch more than senders there is no room for another poll."""
    run = Run()
    answers = [run.send({0: end}) for end in range(1, BULKS_IN_FLIGHT + 2)]
    assert not run.indexer._has_room()

    run.answer(answers[-1])
    assert run.indexer._has_room()


def test_a_failure_is_raised_at_once_and_what_stands_before_it_is_stored() -> None:
    """A failure is raised at once; earlier answers still count, later batches are read again."""
    run = Run()

    def fail() -> Polled:
        head, middle, last = run.sender.answers
        last.set_result(BatchReport(stored=1))
        middle.set_exception(BulkError("no permission"))
        threading.Timer(0.3, head.set_result, [BatchReport(stored=1)]).start()
        return Polled()

    run.reader.polls = [lambda end=end: polled_up_to({0: end}) for end in (10, 20, 30)]
    run.reader.polls.append(fail)
    with pytest.raises(BulkError, match="no permission"):
        run.indexer.run(threading.Event(), None)

    assert run.reader.polls == []
    assert run.reader.stored == {0: 10}
    assert run.report.in_flight == 0


class AnyOrder(RuleBasedStateMachine):
    """Deliveries with gaps, answers in any order, and partitions revoked and assigned again."""

    def __init__(self) -> None:
        super().__init__()
        self.run = Run()
        self.ends = dict.fromkeys(range(3), 0)
        self.sent: list[tuple[Offsets, Future[BatchReport]]] = []
        """In the order of the polls: the offsets to commit, and the answer."""
        self.expected: Offsets = {}

    @rule(
        partitions=st.sets(st.integers(0, 2), min_size=1),
        gap=st.integers(0, 1_000),
        messages=st.integers(1, 5),
    )
    def poll(self, partitions: set[int], gap: int, messages: int) -> None:
        """A poll returns some messages, perhaps after a gap."""
        for i in partitions:
            self.ends[i] += gap + messages
        ends = {i: self.ends[i] for i in partitions}
        self.sent.append((ends, self.run.send(ends, messages=messages)))

    @rule(partition=st.integers(0, 2), gap=st.integers(0, 10))
    def end(self, partition: int, gap: int) -> None:
        """A poll returns only the end of a partition."""
        self.ends[partition] += gap
        ends = {partition: self.ends[partition]}
        self.run.indexer._send(Polled(next_offsets=dict(ends)))
        if self.sent:
            self.sent[-1][0].update(ends)
        else:
            self.expected |= ends

    @precondition(lambda self: any(not answer.done() for _, answer in self.sent))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """An answer arrives, in any order, even for a partition revoked in the meantime."""
        pending = [answer for _, answer in self.sent if not answer.done()]
        self.run.answer(data.draw(st.sampled_from(pending)))
        while self.sent and self.sent[0][1].done():
            self.expected |= self.sent.pop(0)[0]

    @rule(partition=st.integers(0, 2), committed=st.integers(0, 100))
    def revoke(self, partition: int, committed: int) -> None:
        """The partition moves to another member, and returns at the offset that it committed."""
        self.run.reader.forget([partition])
        for ends, _ in self.sent:
            ends.pop(partition, None)
        self.ends[partition] = min(committed, self.ends[partition])

    @invariant()
    def only_the_answered_beginning_is_stored(self) -> None:
        """No stored offset ever passes an unanswered message."""
        assert self.run.reader.stored == self.expected

    @invariant()
    def what_is_in_flight_is_what_is_not_answered(self) -> None:
        """Messages in flight are exactly those not answered, even if a commit is pending."""
        unanswered = sum(not answer.done() for _, answer in self.sent)
        assert sum(not each.is_counted for each in self.run.indexer._sent) == unanswered
        assert (self.run.report.in_flight > 0) == (unanswered > 0)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.__doc__ = "No offset is stored over a message that is neither stored nor dead."


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.data())
def test_what_is_stored_is_the_end_of_the_longest_answered_beginning(
    lengths: list[int], data: st.DataObject
) -> None:
    """The stored offset always ends the answered prefix, in any order of answers."""
    run, end, ends, answers = Run(), 0, [], []
    for length in lengths:
        end += length
        ends.append(end)
        answers.append(run.send({0: end}, messages=length))

    for answer in data.draw(st.permutations(answers)):
        run.answer(answer)
        done = 0
        while done < len(answers) and answers[done].done():
            done += 1
        assert run.reader.stored == ({0: ends[done - 1]} if done else {})
    assert run.reader.stored == {0: end}
