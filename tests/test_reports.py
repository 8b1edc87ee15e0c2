"""A consumer's report survives the metadata of a commit."""

from datetime import UTC, datetime

from clickstream.reports import BatchReport, IndexReport, Lag, members


def report() -> IndexReport:
    """A report after two batches."""
    made = IndexReport(index="clicks", in_flight=7)
    made.take(BatchReport(stored=90, replayed=5, bytes=1_000, latencies_ms=[10.0] * 98))
    made.take(BatchReport(dead_lettered=3, retried=2, bytes=500, latencies_ms=[500.0] * 2))
    return made


def test_counts_add_up_and_quantiles_are_those_of_the_samples() -> None:
    """Counts are sums over batches; quantiles are those of the samples."""
    found = report()

    assert (found.stored, found.replayed, found.dead_lettered, found.retried) == (90, 5, 3, 2)
    assert (found.messages, found.bytes) == (98, 1_500)
    assert found.latency_ms(0.5) == 10
    assert found.latency_ms(0.99) == 500
    assert IndexReport().latency_ms(0.5) is None


def test_a_report_comes_back_from_metadata() -> None:
    """All numbers are the same, and the metadata is within the broker's default of 4,096 bytes."""
    text = report().as_metadata()
    (found,) = members([text])

    assert len(text) < 400
    assert (found.stored, found.replayed, found.dead_lettered, found.retried) == (90, 5, 3, 2)
    assert (found.bytes, found.in_flight, found.p50_ms, found.p99_ms) == (1_500, 7, 10, 500)
    assert (datetime.now(UTC) - found.at).total_seconds() < 5
    assert "90 stored" in str(found)
    assert "p99 500 ms" in str(found)


def test_a_log_line_has_the_batch_and_how_things_stand_after_it() -> None:
    """A log line has `key=value` fields, with the longest lag of any partition."""
    made = report()
    made.lag = {0: Lag(3, 0.5), 1: Lag(4, 2.0)}
    line = made.line(BatchReport(stored=90, retried=1, bytes=1_000, seconds=0.25))

    assert dict(each.split("=") for each in line.split()) == {
        **{"index": "clicks", "stored": "90", "replayed": "0", "dead_lettered": "0"},
        **{"retried": "1", "bytes": "1000", "took_s": "0.250", "in_flight": "7"},
        **{"lag": "7", "lag_s": "2.0", "p50_ms": "10", "p99_ms": "500"},
    }


def test_each_consumer_stands_there_once_with_its_latest() -> None:
    """Each consumer appears once with its latest report; other metadata is ignored."""
    made = IndexReport(index="clicks")
    earlier = made.as_metadata().replace('"at":"2', '"at":"1')
    made.take(BatchReport(stored=1))
    found = members([earlier, made.as_metadata(), "", "somebody else's", '{"at": 1}', "[]"])

    assert [each.stored for each in found] == [1]
