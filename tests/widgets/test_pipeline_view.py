"""The texts of the pipeline view, without a browser."""

from clickstream.reports import this_consumer
from clickstream.widgets.live_pipeline import Lane, Snapshot
from clickstream.widgets.pipeline_view import _thin, state


def lane(partition: int = 0, **values: object) -> Lane:
    """A quiet lane, read by this process, with some values changed."""
    usual = {
        "end_offset": 1_200,
        "per_second": 10.0,
        "lag": 3,
        "is_lag_growing": False,
        "owner": this_consumer(),
        "is_stalled": False,
    }
    return Lane(partition=partition, **(usual | values))  # type: ignore[arg-type]


def test_numbers_of_a_server_that_is_gone_are_stale_and_have_their_age() -> None:
    """Without Kafka all numbers are old, without OpenSearch those of the index."""
    fresh, no_kafka = Snapshot(produced=7, in_kafka=7), Snapshot(kafka_age_s=12.4)
    no_opensearch = Snapshot(opensearch_age_s=5.0)

    assert (state(fresh)["stale"], state(fresh)["age"]) == ([], "")
    assert state(no_opensearch)["stale"] == ["readers", "indexed", "repeats", "Kafka to index"]
    assert state(no_opensearch)["age"] == "grey numbers are 5 s old"
    assert len(state(no_kafka)["stale"]) == len(state(no_kafka)["numbers"]) == 9
    assert state(no_kafka)["age"] == "grey numbers are 12 s old"


def test_where_the_messages_in_kafka_come_from_is_shown() -> None:
    """The three sources add up."""
    reading = Snapshot(produced=1_250, in_kafka=2_300, there_before=1_000, by_others=60)

    assert state(reading)["sources"] == "1,000 there before + 1,240 produced here + 60 by others"


def test_times_are_shown_once_they_are_measured() -> None:
    """Before the first measurement there is a dash."""
    assert state(Snapshot())["index"] == "searchable –, p99 –"
    assert state(Snapshot())["numbers"]["Kafka to index"] == "–"
    measured = state(Snapshot(searchable_ms=(412.0, 1_266.0), latency_ms=86.4))
    assert measured["index"] == "searchable 0.4 s, p99 1.3 s"
    assert measured["numbers"]["Kafka to index"] == "86 ms"
    assert state(Snapshot(latency_ms=12_345))["numbers"]["Kafka to index"] == "12 s"


def test_each_partition_is_a_lane_and_each_consumer_has_its_partitions() -> None:
    """Consumers of this machine have the number of their process, others their client id's end."""
    other = this_consumer().rpartition(":")[0] + ":4711"
    owners = (this_consumer(), other, this_consumer(), "a-service-with-a-long-name-1")
    lanes = tuple(lane(partition, owner=owner) for partition, owner in enumerate(owners))
    shown = state(Snapshot(lanes=lanes))

    assert [each["partition"] for each in shown["lanes"]] == [0, 1, 2, 3]
    assert shown["owners"] == {
        "this notebook": [0, 2],
        "process 4711": [1],
        "th-a-long-name-1": [3],
    }
    assert shown["consumers"] == "consumers"


def test_of_many_consumers_the_own_one_and_the_first_are_shown() -> None:
    """Three fit; similar names differ in their ends, and control characters are visible."""
    similar = ("a-service-with-a-long-name-1", "a-service-with-a-long-name-2")
    owners = ("\u202e\x1b[2J", *similar, this_consumer())
    shown = state(Snapshot(lanes=tuple(lane(i, owner=owner) for i, owner in enumerate(owners))))

    assert shown["owners"] == {
        "this notebook": [3],
        "\\u202e\\x1b[2J": [0],
        "th-a-long-name-1": [1],
    }
    assert shown["consumers"] == "consumers · 1 more"


def test_a_lane_that_nobody_reads_or_whose_lag_grows_says_so() -> None:
    """The worst is named; a lane without messages needs no consumer."""
    lanes = (
        lane(0, owner="", lag=5),
        lane(1, owner="", lag=0),
        lane(2, is_lag_growing=True),
        lane(3, is_lag_growing=True, is_stalled=True),
    )
    troubles = [each["trouble"] for each in state(Snapshot(lanes=lanes))["lanes"]]
    assert troubles == ["no consumer", "", "lag grows", "not read"]


def test_of_many_partitions_those_in_trouble_and_the_first_are_shown() -> None:
    """Four lanes fit; they are the same whatever the lag is, unless it is trouble."""
    quiet = [lane(i, lag=i % 7) for i in range(12)]
    shown = state(Snapshot(lanes=tuple(quiet)))
    assert [each["partition"] for each in shown["lanes"]] == [0, 1, 2, 3]
    assert shown["partitions"] == 12
    quiet[7], quiet[9] = lane(7, owner=""), lane(9, lag=90, is_lag_growing=True)
    shown = state(Snapshot(lanes=tuple(quiet)))
    assert [each["partition"] for each in shown["lanes"]] == [0, 1, 7, 9]


def test_a_sparkline_has_about_sixty_points_and_ends_with_the_latest() -> None:
    """Shorter series are complete."""
    thin = _thin([0.0] * 239 + [8.0])
    assert thin[-1] == 8
    assert 50 <= len(thin) <= 70
    assert _thin([1, 2]) == [1, 2]
    assert _thin([]) == []
