"""The fault proxy in front of a real OpenSearch: the answers, and the stored documents."""

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from random import Random
from urllib.parse import urlsplit

import pytest
from opensearchpy import OpenSearch

from clickstream.errors import BulkError, ServerError
from clickstream.opensearch import bulk, index
from clickstream.opensearch.bulk import Outcome
from clickstream.widgets.outage_proxy import Answer
from tests.support.errors import raises_shown
from tests.support.faults import (
    Bulk,
    CutAnswer,
    Delay,
    FaultProxy,
    LoseAnswer,
    ProxyCounts,
    Refuse,
    RejectItems,
    Reset,
    Storm,
)
from tests.support.proxied import Stage, action, in_background, threads_of_proxies, wait_until


def test_without_a_fault_the_client_sees_what_opensearch_answers(stage: Stage) -> None:
    """Without a fault, status, headers and body are those of OpenSearch, for every method."""
    name = stage.name
    for method, path, body in (
        ("GET", "/?pretty", None),
        ("HEAD", f"/{name}", None),
        ("HEAD", "/none", None),
        ("GET", f"/{name}/_mapping?filter_path=*.mappings.dynamic", None),
        ("POST", f"/{name}/_count", b'{"query":{"term":{"user_id":"reader-0042"}}}'),
        ("POST", f"/{name}/_count?q=user_id:reader-0042", None),
        ("POST", f"/{name}/_count", b"{broken"),
        ("PUT", "/_cluster/settings", b'{"transient":{}}'),
        ("DELETE", "/none", None),
        ("POST", "/none/_bulk?filter_path=errors,items", action(1)),
        ("POST", f"/{name}/_bulk", b"no bulk body\n"),
    ):
        seen = []
        for url in (stage.upstream.url, stage.proxy.url):
            connection = http.client.HTTPConnection(urlsplit(url).netloc)
            headers = {"Content-Type": "application/json", "X-Opaque-Id": "mine"}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            told = sorted((name.lower(), value) for name, value in response.getheaders())
            seen.append((response.status, told, response.read()))
            connection.close()

        assert seen[0] == seen[1], (method, path)
        assert ("x-opaque-id", "mine") in seen[1][1]


def test_many_requests_take_one_connection(stage: Stage) -> None:
    """Many requests use one connection and one thread of the proxy."""
    connection = http.client.HTTPConnection(*stage.address())
    ports = set()
    for number in range(50):
        headers = {"Content-Type": "application/x-ndjson"}
        connection.request("POST", f"/{stage.name}/_bulk", action(number), headers)
        assert json.load(connection.getresponse())["errors"] is False
        connection.request("HEAD", f"/{stage.name}")
        assert connection.getresponse().read() == b""
        ports.add(connection.sock.getsockname()[1])

    assert len(ports) == 1
    assert len(threads_of_proxies()) == 2
    assert stage.proxy.counts.bulks == 50
    assert stage.stored() == list(range(50))
    connection.close()
    wait_until(lambda: len(threads_of_proxies()) == 1)


def test_rejected_items_stand_between_the_others_answers(stage: Stage) -> None:
    """Rejected items keep their position, and only the others are forwarded."""
    stage.bulk(action(3), action(4))
    stage.proxy.fault = RejectItems(share=0.3)
    sent = [action(n, **({"colour": "red"} if n % 10 == 0 else {})) for n in range(400)]
    answers = bulk.send(stage.client, stage.name, sent)
    outcomes = [answer.outcome for answer in answers]
    rejected = [n for n, outcome in enumerate(outcomes) if outcome is Outcome.RETRIABLE]

    assert 80 <= len(rejected) <= 160  # 4σ
    assert {answers[n].error_type for n in rejected} == {"rejected_execution_exception"}
    for number in set(range(400)) - set(rejected):
        refused = Outcome.PERMANENT if number % 10 == 0 else Outcome.STORED
        assert outcomes[number] is (Outcome.REPLAYED if number in (3, 4) else refused)
    kept = [n for n in range(400) if outcomes[n] is Outcome.STORED]
    assert stage.stored() == sorted({3, 4, *kept})
    assert stage.proxy.counts.documents_rejected == len(rejected)
    assert stage.proxy.counts.documents_passed_on == 2 + 400 - len(rejected)

    stage.proxy.fault = None
    again = stage.bulk(*(action(n) for n in rejected))
    assert set(again) <= {Outcome.STORED, Outcome.REPLAYED}
    stage.proxy.fault = RejectItems(share=0.3)
    stage.proxy.rng = Random(1)
    repeated = stage.bulk(*sent)
    assert [n for n in range(400) if repeated[n] is Outcome.RETRIABLE] == rejected


@pytest.mark.parametrize(("share", "outcome"), [(1, Outcome.RETRIABLE), (0, Outcome.STORED)])
def test_all_items_are_rejected_or_none(stage: Stage, share: float, outcome: Outcome) -> None:
    """A share of 1 rejects all documents, and a share of 0 none."""
    stage.proxy.fault = RejectItems(share=share)

    assert stage.bulk(action(1), action(2)) == [outcome] * 2
    assert stage.stored() == ([1, 2] if outcome is Outcome.STORED else [])
    assert stage.proxy.counts.documents_passed_on == 2 - 2 * share
    assert stage.proxy.counts.documents_rejected == 2 * share


def test_an_error_of_opensearch_is_not_mixed_with_rejections(stage: Stage) -> None:
    """An error of OpenSearch for the whole request passes unchanged."""
    stage.proxy.fault = RejectItems(share=0.5)

    with pytest.raises(BulkError, match="400 illegal_argument_exception"):
        stage.bulk(*[b'{"none":{}}\n{}\n'] * 20)
    assert stage.proxy.counts.documents_rejected == 0


@pytest.mark.parametrize("status", [429, 503])
def test_a_refused_request_is_not_stored(stage: Stage, status: int) -> None:
    """A refused request is not stored, and may be sent again."""
    stage.proxy.fault = Refuse(status)
    with pytest.raises(bulk.Unavailable, match=f"{status} rejected_execution_exception"):
        stage.bulk(action(1), action(2))

    assert stage.stored() == []
    assert stage.proxy.counts.documents_rejected == 2
    assert stage.proxy.counts.documents_passed_on == 0


def test_a_reset_connection_stores_nothing(stage: Stage) -> None:
    """A reset connection stores nothing, and the next request uses a new connection."""
    stage.proxy.fault = Reset()
    with pytest.raises(bulk.Unavailable, match="it reset the connection"):
        stage.bulk(action(1))

    assert stage.stored() == []
    assert stage.proxy.counts.connections_reset == 1
    stage.proxy.fault = None
    assert stage.bulk(action(1)) == [Outcome.STORED]


def test_a_lost_answer_leaves_the_documents_stored(stage: Stage) -> None:
    """After a lost answer the documents are stored, and a repeat is recognised."""
    stage.proxy.fault = LoseAnswer()
    with pytest.raises(bulk.Unavailable, match="it closed the connection"):
        stage.bulk(action(1), action(2))

    assert stage.stored() == [1, 2]
    assert stage.proxy.counts.answers_lost == 1
    assert stage.proxy.counts.bulks == 1  # the client did not send it again by itself
    stage.proxy.fault = None
    assert stage.bulk(action(1), action(2)) == [Outcome.REPLAYED] * 2


@pytest.mark.parametrize(
    ("honest_length", "told"), [(True, "IncompleteRead"), (False, "is unreadable")]
)
def test_a_cut_answer_leaves_the_documents_stored(
    stage: Stage, honest_length: bool, told: str
) -> None:
    """A truncated answer, or broken JSON, is not taken for an answer."""
    stage.proxy.fault = CutAnswer(honest_length=honest_length)
    with pytest.raises(bulk.Unavailable, match=told):
        stage.bulk(action(1), action(2))

    assert stage.stored() == [1, 2]
    assert stage.proxy.counts.answers_cut == 1
    stage.proxy.fault = None
    assert stage.bulk(action(1), action(2)) == [Outcome.REPLAYED] * 2


def test_a_fault_strikes_its_share_of_requests(stage: Stage) -> None:
    """A fault affects its share of requests, and counts them."""
    for fault, count in (
        (Refuse(503, share=0.3), "documents_rejected"),
        (Reset(share=0.3), "connections_reset"),
        (LoseAnswer(share=0.3), "answers_lost"),
        (CutAnswer(share=0.3), "answers_cut"),
    ):
        stage.proxy.fault = fault
        stage.proxy.counts = ProxyCounts()
        known = 0
        for number in range(60):
            with suppress(bulk.Unavailable):
                stage.bulk(action(number))
                known += 1

        struck = getattr(stage.proxy.counts, count)
        assert 4 <= struck <= 32, fault  # 4σ
        assert struck == 60 - known
        assert stage.proxy.counts.bulks == 60
        forwarded = 60 if isinstance(fault, (LoseAnswer, CutAnswer)) else known
        assert stage.proxy.counts.documents_passed_on == forwarded


def test_a_delayed_request_is_stored_after_the_wait(stage: Stage) -> None:
    """A delayed bulk is stored after the wait, and other requests are not delayed."""
    stage.proxy.fault = Delay(1.0)
    started_s = time.monotonic()
    sent = in_background(lambda: stage.bulk(action(1)))
    wait_until(lambda: stage.proxy.counts.bulks == 1)

    assert index.count(stage.new_client(), stage.name) == 0
    assert time.monotonic() - started_s < 1.0
    assert stage.stored() == []
    assert sent.result(timeout=10) == [Outcome.STORED]
    assert time.monotonic() - started_s >= 1.0


def test_a_storm_holds_faults_of_every_kind_and_loses_nothing(stage: Stage) -> None:
    """In a storm of faults, repeating unacknowledged documents stores all of them."""
    stage.proxy.fault = Storm(
        *(RejectItems(share=0.4), Refuse(429), Refuse(503), Reset(), LoseAnswer(), Delay(0.001)),
        *(CutAnswer(), CutAnswer(honest_length=False)),
    )
    still_open = list(range(600))
    for _ in range(400):
        if not still_open:
            break
        sent = still_open[:20]
        with suppress(bulk.Unavailable):
            answered = zip(sent, stage.bulk(*map(action, sent)), strict=True)
            rejected = [n for n, outcome in answered if outcome is Outcome.RETRIABLE]
            still_open = rejected + still_open[20:]

    counts = stage.proxy.counts
    assert still_open == []
    assert stage.stored() == list(range(600))
    assert min(counts.answers_lost, counts.answers_cut, counts.connections_reset) > 0
    assert counts.documents_rejected > 0
    assert counts.documents_passed_on > 600  # some went twice


def test_requests_at_once_are_counted_at_their_most(stage: Stage) -> None:
    """The highest number of parallel requests is counted, and can be restarted."""
    stage.proxy.fault = Delay(0.5)
    clients = [stage.new_client() for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda c: bulk.send(c, stage.name, [action(1)]), clients))

    assert stage.proxy.counts.most_at_once == 3
    stage.proxy.fault = None
    stage.proxy.counts.most_at_once = 0
    for client in clients * 30:
        bulk.send(client, stage.name, [action(1)])
    assert stage.proxy.counts.most_at_once == 1


def test_taken_down_it_refuses_and_brought_up_it_is_where_it_was(stage: Stage) -> None:
    """The proxy refuses while down, and returns on the same port; repeats are safe."""
    stage.bulk(action(1))
    stage.proxy.take_down()
    stage.proxy.take_down()
    with pytest.raises(bulk.Unavailable, match="Connection refused"):
        stage.bulk(action(2))
    with pytest.raises(ServerError, match="did not answer"):
        index.count(stage.client, stage.name)
    assert threads_of_proxies() == []

    stage.proxy.bring_up()
    stage.proxy.bring_up()
    assert stage.bulk(action(2), action(1)) == [Outcome.STORED, Outcome.REPLAYED]
    stage.proxy.take_down()
    stage.proxy.bring_up()
    assert stage.bulk(action(2)) == [Outcome.REPLAYED]  # it saw that its connection was cut


def test_going_down_cuts_connections_that_are_kept_alive(stage: Stage) -> None:
    """Going down cuts idle connections at once."""
    with socket.create_connection(stage.address()) as idle:
        wait_until(lambda: len(threads_of_proxies()) == 2)
        stage.proxy.take_down()
        idle.settimeout(5)

        assert idle.recv(1) == b""


def test_a_port_that_somebody_took_meanwhile_is_told(stage: Stage) -> None:
    """If another program takes the port, the proxy raises an error and uses no other."""
    stage.proxy.take_down()
    with socket.create_server(stage.address()), raises_shown(ServerError, match="new proxy"):
        stage.proxy.bring_up()


def test_closing_ends_a_wait_and_forwards_nothing(stage: Stage) -> None:
    """Closing the proxy cuts a delayed request and forwards nothing."""
    stage.proxy.fault = Delay(60)
    sent = in_background(lambda: stage.bulk(action(1)))
    wait_until(lambda: stage.proxy.counts.bulks == 1)
    started_s = time.monotonic()
    stage.proxy.close()

    with pytest.raises(bulk.Unavailable):
        sent.result(timeout=5)
    assert time.monotonic() - started_s < 2
    assert threads_of_proxies() == []
    assert stage.stored() == []


def test_half_a_request_goes_no_further(stage: Stage) -> None:
    """An incomplete request is not forwarded."""
    whole = action(1) + action(2)
    head = f"POST /{stage.name}/_bulk HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n"
    with socket.create_connection(stage.address()) as dying:
        dying.sendall(f"{head}Content-Length: {len(whole)}\r\n\r\n".encode() + action(1))
        dying.shutdown(socket.SHUT_WR)
        dying.settimeout(5)

        assert dying.recv(1) == b""
    assert stage.stored() == []
    assert stage.proxy.counts.documents_passed_on == 0


def test_it_listens_on_loopback_alone(stage: Stage) -> None:
    """The proxy listens on 127.0.0.1 only."""
    host, port = stage.address()

    assert host == "127.0.0.1"
    with pytest.raises(OSError, match=r"refused|assign|timed out"):
        socket.create_connection(("127.0.0.2", port), timeout=1)


def test_an_opensearch_out_of_reach_is_a_bad_gateway() -> None:
    """An unreachable OpenSearch gives a retriable 502, for bulks and other requests."""
    with FaultProxy("http://127.0.0.1:9") as proxy:
        client = OpenSearch(proxy.url, max_retries=0)
        with pytest.raises(bulk.Unavailable, match="502 bad_gateway"):
            bulk.send(client, "any", [action(1)])
        with pytest.raises(ServerError, match="502"):
            index.count(client, "any")

        assert proxy.counts.documents_passed_on == 0
        client.close()


def test_an_answer_that_is_none_to_a_bulk_leaves_everything_open(stage: Stage) -> None:
    """An answer 200 that is not a bulk answer does not count as stored."""
    for content_type, body in (
        ("text/html", b"<html>Please log in</html>"),
        ("text/plain", b"ok"),
        ("application/json", b""),
        ("application/json", b"null"),
        ("application/json", b"[1]"),
        ("application/json", b'{"acknowledged": true}'),
        ("application/json", b'{"errors": true}'),
        ("application/json", b'{"errors": false, "items": [\xff'),
    ):
        stage.proxy.fault = partial(say, Answer(200, body, {"content-type": content_type}))
        with pytest.raises(bulk.Unavailable):
            stage.bulk(action(1))


def test_an_error_of_a_gateway_is_told_by_its_status(stage: Stage) -> None:
    """A gateway's error is judged by its status: overload is retriable, forbidden is not."""
    for status, body, told in (
        (503, b"[]", bulk.Unavailable),
        (503, b'"overloaded"', bulk.Unavailable),
        (503, b'{"error": {"code": 7}}', bulk.Unavailable),
        (503, b"<html>", bulk.Unavailable),
        (403, b'{"error": {"code": 7}}', BulkError),
        (403, b'{"message": "who are you"}', BulkError),
    ):
        stage.proxy.fault = partial(say, Answer(status, body))
        with pytest.raises(told):
            stage.bulk(action(1))


def say(answer: Answer, bulk: Bulk) -> Answer:
    """Return this answer to any request."""
    return answer
