"""The sums of a control room, in a model of the flow whose counts are read one after another."""

from random import Random

import pytest

from clickstream.widgets.balance import Balance, Counts


class Flow:
    """A topic, an index and a dead-letter topic; each step may be anything that can happen."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.sent = self.ours = 0
        self.messages: list[int | None] = []
        """The id of each event; None is no event."""
        self.settled = 0
        self.processed: set[int] = set()
        self.documents: set[int] = set()
        self.letters: set[int] = set()
        self.refused = 0

    def step(self, *, is_read_again: bool = True) -> None:
        """Send, write, index or commit something."""
        what = self.rng.random()
        if what < 0.3:
            self.sent += self.rng.randrange(3)
        elif what < 0.5 and self.sent > self.ours:
            self.ours += 1
            self.write()
        elif what < 0.55:
            self.write()
        elif what < 0.9:
            behind = range(self.settled, len(self.messages))
            waiting = [i for i in behind if is_read_again or i not in self.processed]
            self.index(*self.rng.sample(waiting, min(len(waiting), 2)))
        else:
            while self.settled in self.processed:
                self.settled += 1

    def write(self) -> None:
        """Append an event, a repeat of one, or something that is no event."""
        known = [each for each in self.messages if each is not None]
        what = self.rng.random()
        self.messages.append(
            None if what < 0.1 else self.rng.choice(known) if known and what < 0.3 else len(known)
        )

    def index(self, *places: int) -> None:
        """Index messages, perhaps again."""
        for i in places:
            self.processed.add(i)
            event = self.messages[i]
            if event is None:
                self.letters.add(i)
            elif event in self.documents:
                self.refused += 1
            else:
                self.documents.add(event)

    def look(self, steps: int) -> Counts:
        """Read the counts as the pipeline does, while things happen in between."""
        read = []
        for what in (
            lambda: self.settled,
            lambda: self.refused,
            lambda: len(self.documents),
            lambda: len(self.letters),
            lambda: len(self.messages),
            lambda: self.sent,
        ):
            read.append(what())
            for _ in range(self.rng.randrange(steps + 1)):
                self.step()
        settled, refused, documents, letters, written, produced = read
        return Counts(refused, documents, letters, written - settled, 0, written, produced)

    @property
    def repeats(self) -> int:
        """The true number."""
        return len(self.messages) - len(self.letters) - len(self.documents)


@pytest.mark.parametrize("seed", range(60))
def test_the_sums_hold_at_every_look_and_are_exact_when_all_is_read(seed: int) -> None:
    """No stage shows more than an earlier one, whatever is read again, and the end is exact."""
    flow = Flow(Random(seed))
    for _ in range(seed * 3):
        flow.step()
    flow.sent = flow.ours = 0  # what is there already was not sent from here
    there_before = len(flow.messages)
    balance = Balance(now := flow.look(steps=0))
    for _ in range(100):
        flow.step()
        now = flow.look(steps=3)
        before, by_others = balance.sources(now)
        outcomes = now.documents + balance.repeats(now) + now.dead_letters

        assert before == there_before
        assert 0 <= now.written - before - by_others <= now.produced
        assert now.written - now.unread <= outcomes <= now.written
    while flow.ours < flow.sent:
        flow.ours += 1
        flow.write()
    flow.index(*(i for i in range(len(flow.messages)) if i not in flow.processed))
    flow.settled = len(flow.messages)
    now = flow.look(steps=0)

    assert balance.sources(now) == (there_before, len(flow.messages) - there_before - flow.ours)
    assert balance.repeats(now) == flow.repeats


def test_a_lost_message_makes_the_sum_fall_short() -> None:
    """Repeats are those that were refused, so a message that is nowhere is not among them."""
    balance = Balance(Counts(0, 0, 0, 0, 0, 0, 0))
    now = Counts(3, 90, 2, 0, 0, 100, 100)

    assert balance.repeats(now) == 3


def test_deleted_messages_are_no_repeats() -> None:
    """Neither after a hosted reset nor under retention; repeats since the first look count."""
    emptied = Balance(Counts(0, 0, 0, 0, 500, 500, 0))
    kept = Balance(Counts(7, 493, 0, 0, 400, 500, 0))
    later = Counts(9, 591, 0, 0, 450, 600, 100)

    assert emptied.repeats(Counts(2, 98, 0, 0, 500, 600, 100)) == 2
    assert kept.repeats(later) == 2
    assert kept.sources(later) == (50, 0)
