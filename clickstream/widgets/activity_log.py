"""What happened in a control room, and when: starts and stops, rates, scenarios, failures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from clickstream.charts.marks import Marks
from clickstream.simulation.scenarios import SCENARIOS

_SETTLED: Final = timedelta(seconds=1)
"""A slider passes other rates on its way to the one that is meant."""


@dataclass(frozen=True)
class Play:
    """One run of a scenario."""

    scenario: str
    began: datetime
    ended: datetime | None = None
    """None while it runs."""


class ActivityLog:
    """Turns what it is told into marks; any thread may tell it.

    What lasts, such as a rate or a scenario, is told again and again: only a change is a mark.

    Args:
        natural_rate: that of the events of the past.
        now: the clock.
    """

    def __init__(
        self, natural_rate: float, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.marks = Marks()
        self._natural_rate, self._now = natural_rate, now
        self._lock = threading.Lock()
        self._rate = self._asked_rate = natural_rate
        self._asked = now()
        self._is_running = self._is_in_past = False
        self._plays: dict[str, Play] = {}
        """The latest run of each scenario, in the order of their beginnings."""
        self._gone: set[str] = set()

    def start(self, rate: float, *, is_in_past: bool = False) -> None:
        """Note that the readers start, at this rate, perhaps with events of the past."""
        with self._lock:
            self._is_running, self._is_in_past = True, is_in_past
            self._rate = self._asked_rate = rate
            self.marks.add(self._now(), "Start")

    def stop(self) -> None:
        """Note that the readers stop, and with them every scenario."""
        with self._lock:
            self._end_plays(running=())
            self._is_running = self._is_in_past = False
            self.marks.add(self._now(), "Stop")

    def note(self, *, running: Collection[str], rate: float, is_in_past: bool) -> None:
        """Note which scenarios run, the rate, and whether events of the past are being sent.

        From stop to start nothing is noted: the stop has ended them all.
        """
        with self._lock:
            if not self._is_running:
                return
            for name in self._end_plays(running):
                self.marks.add(self._now(), f"{SCENARIOS[name].title} ends")
            for name in () if is_in_past else running:  # scenarios act from now on
                play = self._plays.get(name)
                if name in SCENARIOS and (play is None or play.ended):
                    self._plays.pop(name, None)
                    self._plays[name] = Play(name, self._now())
                    self.marks.add(self._now(), SCENARIOS[name].title)
            if self._is_in_past and not is_in_past and rate != self._natural_rate:
                self.marks.add(self._now(), f"live, {rate:,g}/s")
            self._is_in_past = is_in_past
            self._note_rate(rate)

    def _end_plays(self, running: Collection[str]) -> list[str]:
        over = [each for each in self._plays.values() if not each.ended]
        over = [each for each in over if each.scenario not in running]
        for play in over:
            self._plays[play.scenario] = replace(play, ended=self._now())
        return [play.scenario for play in over]

    def _note_rate(self, rate: float) -> None:
        if rate != self._asked_rate:
            self._asked_rate, self._asked = rate, self._now()
        elif rate != self._rate and self._now() - self._asked >= _SETTLED:
            self._rate = rate
            self.marks.add(self._asked, f"{rate:,g}/s")

    def note_action(self, what: str) -> None:
        """Note what was done by hand, such as a kill."""
        self.marks.add(self._now(), what)

    def note_answer(self, server: str) -> None:
        """Note that a server answered."""
        with self._lock:
            if server in self._gone:
                self._gone.remove(server)
                self.marks.add(self._now(), f"{server} back")

    def note_no_answer(self, server: str, *, for_s: float) -> None:
        """Note that a server has not answered for some seconds."""
        with self._lock:
            if server not in self._gone:
                self._gone.add(server)
                self.marks.add(self._now() - timedelta(seconds=for_s), f"{server} gone")

    def latest_play(self, *, over_s: float) -> Play | None:
        """Return the scenario that began last, of those that run or ended `over_s` ago at most."""
        since = self._now() - timedelta(seconds=over_s)
        with self._lock:
            plays = [each for each in self._plays.values() if not each.ended or each.ended > since]
        return plays[-1] if plays else None
