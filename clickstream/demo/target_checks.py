"""Check a target step by step: settings, names, TLS, login, permissions, topic, index, round trip.

Each step depends on those before it. After a failed step, the same server is not checked further.
"""

from __future__ import annotations

from collections.abc import Iterator

from clickstream.demo.finding import Finding, failed, run_check
from clickstream.demo.round_trip import make_round_trip
from clickstream.errors import ClickstreamError, Command, ConfFile, MissingError
from clickstream.kafka import acls, offsets
from clickstream.kafka.admin import Admin
from clickstream.opensearch import client as opensearch
from clickstream.opensearch import index
from clickstream.settings import KafkaSettings, OpenSearchSettings, Settings
from clickstream.targets import conf_files, reachability
from clickstream.targets.target import Target

EVENTS = 10


def run(target: Target) -> Iterator[Finding]:
    """Check one step after another; the only change is ten events of the round trip.

    These stay in topic and index. It never raises a `ClickstreamError`: every error becomes a
    finding.
    """
    try:
        settings = target.read()
    except ClickstreamError as error:
        yield failed("settings", error)
        return
    yield Finding("settings", True, str(settings))
    if target.is_hosted:
        yield _secrets(target, settings)
    kafka, found = settings.kafka, settings.opensearch
    has_failed = False
    for checks in (
        [
            ("Kafka's name", lambda: reachability.resolve_kafka(kafka)),
            ("Kafka's TLS", lambda: reachability.probe_kafka(kafka)),
            ("Kafka's login", lambda: _kafka_login(kafka)),
            ("Kafka's permissions", lambda: acls.check(kafka)),
            ("topic", lambda: topic(kafka)),
        ],
        [
            ("OpenSearch's name", lambda: reachability.resolve_opensearch(found)),
            ("OpenSearch's TLS", lambda: reachability.probe_opensearch(found)),
            ("OpenSearch's login", lambda: _opensearch_login(found)),
            ("index", lambda: documents(found)),
        ],
    ):
        for subject, ask in checks:
            finding = run_check(subject, ask)
            yield finding
            if not finding.is_good:
                has_failed = True
                break
    if not has_failed:
        yield run_check("round trip", lambda: _round_trip(settings))


def _secrets(target: Target, settings: Settings) -> Finding:
    paths = conf_files.readable_by_others(target.folder, settings)
    if paths:
        # Not a reason to stop: some file systems have no such permissions.
        found = f"other users of this machine can read {', '.join(map(str, paths))}"
        return Finding("secrets", True, found, conf_files.chmod_remedy(paths))
    return Finding("secrets", True, f"no other user can read them in {target.folder}")


def _kafka_login(settings: KafkaSettings) -> str:
    seen = len(Admin(settings).partitions_by_topic())
    who = settings.security.get("sasl.username")
    by_certificate = "ssl.certificate.location" in settings.security
    how = f"as {who}" if who else "by certificate" if by_certificate else "without a login"
    return f"{how}, {seen} topics visible"


def _opensearch_login(settings: OpenSearchSettings) -> str:
    client = opensearch.connect(settings)
    with opensearch.translated_errors(client, "asking OpenSearch for its version"):
        number = opensearch.part(client.info(), str, "version", "number")
    who = "by certificate" if settings.cert else "without a user"
    return f"{f'as {settings.username}' if settings.username else who}, version {number}"


def topic(settings: KafkaSettings) -> str:
    """Describe the topic.

    Raises:
        ConfigError: no such topic.
        ServerError: Kafka did not answer.
    """
    found = offsets.partitions(settings)
    lag = sum(each.lag for each in found)
    return f"{settings.topic} has {len(found)} partitions, lag {lag:,}"


def documents(settings: OpenSearchSettings) -> str:
    """Describe the index.

    Raises:
        ConfigError: no such index, it has another mapping, or it is blocked.
        ServerError: OpenSearch did not answer.
    """
    client = opensearch.connect(settings)
    try:
        index.check_mapping(client, settings.index)
    except MissingError as error:
        # The name comes first: an index created under a misspelt name is hard to find.
        msg = f"there is no index {settings.index!r}"
        fix = "fix 'index' in ", ConfFile("opensearch.json"), " if it is misspelt"
        create = ", or ", Command("consume"), " creates it if you have the permission"
        raise MissingError(msg, (*fix, *create)) from error
    index.check_blocks(client, settings.index)
    return f"{settings.index} has {index.count(client, settings.index):,} documents"


def _round_trip(settings: Settings) -> str:
    found = make_round_trip(settings, EVENTS)
    return (
        f"{found.events} events acknowledged by Kafka in {1000 * found.acknowledged_s:,.0f} ms "
        "(connecting included), found by id in the index "
        f"{found.indexed_s + found.compared_s:.1f} s later"
    )
