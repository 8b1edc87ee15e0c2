"""The control room's readers and consumer where a server is away or hangs."""

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from clickstream.errors import ServerError
from clickstream.settings import Settings
from clickstream.widgets.live_pipeline import Flow
from clickstream.widgets.reading import Reading
from tests.support.by_id import lag, stored, wait_until
from tests.support.delivery import another_member
from tests.support.outages import taken_down
from tests.widgets.conftest import threads


def all_is_counted(found: Reading) -> bool:
    """Whether each message is told as waiting, or as indexed."""
    return found.lag >= found.in_kafka - found.indexed


def test_trouble_is_a_line_and_what_can_goes_on(flow: Flow, made: Settings) -> None:
    """OpenSearch away: the lag grows and is seen; back again, it drains and the line is gone."""
    flow.start()
    wait_until(lambda: flow.read().indexed > 100, 20)
    with taken_down("opensearch"):
        wait_until(lambda: "OpenSearch" in flow.read().trouble, 20)
        wait_until(lambda: flow.read().lag > 400, 20)
        assert "\n" not in flow.read().trouble
        assert flow.read().is_running
    wait_until(lambda: flow.read().lag < 200 and not flow.read().trouble, 60)
    flow.stop()
    assert lag(made) == 0


@pytest.mark.slow
def test_kafka_away_is_a_line_and_all_goes_on_when_it_is_back(flow: Flow, made: Settings) -> None:
    """What readers did meanwhile waits in the producer; nothing that was acknowledged is lost."""
    flow.start()
    wait_until(lambda: flow.read().indexed > 100, 20)
    with taken_down("kafka"):
        wait_until(lambda: "Kafka" in flow.read().trouble, 10)  # twice what it should take
        assert "\n" not in flow.read().trouble
        before = flow.read().produced

    def is_back() -> bool:
        found = flow.read()
        # What Kafka hands out once more does not make the lag look smaller than it is.
        assert all_is_counted(found)
        return not found.trouble and found.produced > before + 500 and found.lag < 100

    ends_s = time.monotonic() + 60
    while not is_back():
        assert time.monotonic() < ends_s, (before, flow.read(), threads())
        time.sleep(0.05)
    flow.stop()
    found = flow.read()
    assert found.lag == 0
    assert found.in_kafka == found.indexed == stored(made) >= found.produced


@pytest.mark.slow
def test_an_opensearch_that_hangs_is_told_within_seconds(
    flow: Flow, made: Settings, frozen: Callable[[str], AbstractContextManager[None]]
) -> None:
    """Its client would wait half a minute; afterwards all goes on, and nothing is missing."""
    flow.start()
    wait_until(lambda: flow.read().indexed > 100, 20)
    with frozen("opensearch"):
        wait_until(lambda: "OpenSearch has not answered for" in flow.read().trouble, 10)
    wait_until(lambda: not flow.read().trouble and flow.read().lag < 100, 20)
    flow.stop()
    found = flow.read()
    assert found.trouble == ""
    assert found.produced == found.in_kafka == found.indexed == stored(made)


@pytest.mark.slow
def test_a_stop_without_kafka_tells_what_was_not_acknowledged(
    flow: Flow, made: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the number; once Kafka is back, Start goes on and all numbers agree."""
    monkeypatch.setattr("clickstream.producer._FLUSH_S", 1.0)
    flow.start()
    wait_until(lambda: flow.read().indexed > 100, 20)
    with taken_down("kafka"):
        wait_until(lambda: "Kafka" in flow.read().trouble, 10)
        wait_until(lambda: flow._sent.sent - flow._sent.delivered > 300, 20)
        with pytest.raises(ServerError, match="Kafka did not answer"):
            flow.stop()
        lost = re.search(r"([\d,]+) of [\d,]+ events were not acknowledged", flow.read().trouble)
        assert lost is not None, flow.read()
        assert int(lost[1].replace(",", "")) > 200
        assert threads() == []
    flow.start()
    # The consumer of before could not leave its seat; six seconds later it is free.
    wait_until(lambda: flow.read().produced > 500 and flow.read().lag < 100, 40)
    flow.stop()
    found = flow.read()
    assert found.produced <= found.in_kafka == found.indexed == stored(made)
    assert (found.lag, found.trouble) == (0, "")


def test_the_room_names_a_partition_that_its_owner_does_not_read(
    flow: Flow, made: Settings, frozen: Callable[[str], AbstractContextManager[None]]
) -> None:
    """After 10 s, with how much waits there; while OpenSearch does not answer, that instead."""
    flow.start()
    wait_until(lambda: flow.read().indexed > 100, 30)
    with another_member(made):
        wait_until(lambda: "messages wait though" in flow.read().trouble, 60)
        found = flow.read().trouble
        with frozen("opensearch"):
            wait_until(lambda: "OpenSearch has not answered" in flow.read().trouble, 30)
    wait_until(lambda: not flow.read().trouble and flow.read().lag < 1_000, 60)

    assert re.fullmatch(
        r"messages wait though their consumer is alive: [\d,]+ in partition \d; its committed "
        r"offset has not moved for 10 s; press Stop, then Start",
        found,
    )
