"""The ledger never lets an offset be committed before everything below it is settled."""

from hypothesis import given
from hypothesis import strategies as st

from clickstream.ledger import Ledger


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
    assert ledger.unsettled == 1


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

    ledger.forget([0])
    span.is_settled = True
    assert ledger.committable() == {}


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
