"""Membership in a consumer group, on a real Kafka: no delivered message is dropped."""

import time
from collections.abc import Callable, Iterator

import pytest

from clickstream import events
from clickstream.kafka import offsets
from clickstream.kafka.group_reader import GroupReader, Offsets
from clickstream.settings import Settings
from tests.support.by_id import lag, send, wait_until


class Member:
    """A member of the group, and the callbacks that it made."""

    def __init__(self, made: Settings) -> None:
        self.calls: list[str] = []
        self.reader = GroupReader(made.kafka)
        self.reader.join(
            on_revoke=lambda: self.calls.append("hand over"),
            forget=lambda partitions: self.calls.append(f"forget {sorted(partitions)}"),
        )
        self.ids: list[str] = []
        self.ends: Offsets = {}

    def poll(self) -> None:
        """Poll once, and record the result."""
        polled = self.reader.poll(100, 0.1)
        self.ids += [events.decode(each.value()).event_id for each in polled.messages]
        self.ends |= polled.next_offsets


@pytest.fixture
def join(made: Settings) -> Iterator[Callable[[], Member]]:
    """Joins the group, and leaves it at the end of the test."""
    members: list[Member] = []

    def make() -> Member:
        members.append(Member(made))
        return members[-1]

    yield make
    for each in members:
        each.reader.close()


@pytest.mark.parametrize("num_events", [0, 300])
def test_what_comes_while_it_stays_in_the_group_is_delivered_by_the_next_polls(
    made: Settings, join: Callable[[], Member], num_events: int
) -> None:
    """Messages and ends that arrive while staying in the group are returned by the next poll."""
    sent = send(made, num_events)
    member = join()

    def is_assigned() -> bool:
        member.reader.poll_paused()
        return len(member.reader._assigned) == 3

    wait_until(is_assigned, 30)
    for _ in range(100):
        member.reader.poll_paused()
        time.sleep(0.02)
    ends = {each.partition: each.end_offset for each in offsets.partitions(made.kafka)}

    wait_until(lambda: bool(member.poll() or member.ends == ends), 30)
    assert sorted(member.ids) == sent
    assert member.calls == []


def test_leaving_commits_what_was_stored_and_hands_nothing_over(
    made: Settings, join: Callable[[], Member]
) -> None:
    """A member that leaves calls no callback any more."""
    send(made, 300)
    member = join()
    wait_until(lambda: bool(member.poll() or len(member.ids) == 300), 30)

    member.reader.store(member.ends, "")
    member.reader.close()
    assert lag(made) == 0
    assert member.calls == []
