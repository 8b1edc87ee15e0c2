"""The ledger never lets an offset be committed before everything below it is settled."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clickstream.ledger import Ledger, Span


def test_nothing_is_committable_before_the_first_span_settles() -> None:
    """A later span that settles first has to wait for the earlier one."""
    ledger = Ledger()
    first, second = ledger.deliver(0, 10), ledger.deliver(0, 20)

    second.is_settled = True
    assert ledger.committable() == {}
    first.is_settled = True
    assert ledger.committable() == {0: 20}
    assert ledger.committable() == {}


def test_partitions_do_not_wait_for_one_another() -> None:
    """A partition whose span hangs holds up only itself."""
    ledger = Ledger()
    ledger.deliver(0, 10)
    ledger.deliver(1, 7).is_settled = True

    assert ledger.committable() == {1: 7}


def test_offsets_that_were_never_delivered_leave_no_hole() -> None:
    """A gap, as after compaction or a transaction marker, costs nothing."""
    ledger = Ledger()
    ledger.deliver(0, 5).is_settled = True
    ledger.deliver(0, 5_000).is_settled = True

    assert ledger.committable() == {0: 5_000}


def test_a_forgotten_partition_is_never_committed() -> None:
    """What settles after its partition was taken away is another member's to commit."""
    ledger = Ledger()
    span = ledger.deliver(0, 10)

    ledger.forget(0)
    span.is_settled = True
    assert ledger.committable() == {}


class AnyOrder(RuleBasedStateMachine):
    """Deliveries with gaps, answers in any order, partitions taken away and given back."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger()
        self.ends = dict.fromkeys(range(3), 0)
        self.open: dict[int, list[Span]] = {0: [], 1: [], 2: []}
        self.spans: list[Span] = []

    @rule(partition=st.integers(0, 2), gap=st.integers(0, 1_000), messages=st.integers(1, 50))
    def deliver(self, partition: int, gap: int, messages: int) -> None:
        """A poll brings some messages, perhaps behind a gap."""
        self.ends[partition] += gap + messages
        span = self.ledger.deliver(partition, self.ends[partition], oldest_ms=self.ends[partition])
        self.open[partition].append(span)
        self.spans.append(span)

    @precondition(lambda self: self.spans)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """An answer comes, in any order, also for what was taken away meanwhile."""
        span = data.draw(st.sampled_from(self.spans))
        self.spans.remove(span)
        span.is_settled = True

    @rule(partition=st.integers(0, 2), committed=st.integers(0, 100))
    def revoke(self, partition: int, committed: int) -> None:
        """The partition goes to another member, and comes back from what that one committed."""
        self.ledger.forget(partition)
        self.open[partition] = []
        self.ends[partition] = min(committed, self.ends[partition])

    @rule()
    def commit(self) -> None:
        """What may be committed is the settled beginning of this assignment, and no more."""
        expected = {}
        for partition, spans in self.open.items():
            while spans and spans[0].is_settled:
                expected[partition] = spans.pop(0).next_offset

        assert self.ledger.committable() == expected
        assert self.ledger.committable() == {}

    @invariant()
    def the_oldest_is_the_first_that_is_not_committed(self) -> None:
        """It is what the lag in seconds is counted from."""
        for partition, spans in self.open.items():
            assert self.ledger.oldest_ms(partition) == (spans[0].oldest_ms if spans else None)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.__doc__ = "Whatever comes in whatever order, the mark never passes an open message."


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.data())
def test_the_mark_is_the_end_of_the_longest_settled_beginning(
    lengths: list[int], data: st.DataObject
) -> None:
    """Whatever the order of settling, the mark follows the unbroken settled beginning."""
    ledger, end, spans = Ledger(), 0, []
    for length in lengths:
        end += length
        spans.append(ledger.deliver(0, end))
    mark = None

    for span in data.draw(st.permutations(spans)):
        span.is_settled = True
        mark = ledger.committable().get(0, mark)
        settled = 0
        while settled < len(spans) and spans[settled].is_settled:
            settled += 1
        assert mark == (spans[settled - 1].next_offset if settled else None)
    assert mark == end


def test_the_end_of_a_partition_is_no_message_that_waits() -> None:
    """It has no age; what was delivered after it has."""
    ledger = Ledger()
    ledger.deliver(0, 5)
    assert ledger.oldest_ms(0) is None
    ledger.deliver(0, 7, 1_000)
    assert ledger.oldest_ms(0) == 1_000
