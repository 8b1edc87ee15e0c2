"""Each scenario has its effect, labels its events, and changes nothing else."""

import math
import statistics
import threading
from collections import Counter, defaultdict
from itertools import groupby, islice, pairwise

import pytest
from scipy import stats

from clickstream import events
from clickstream.errors import ConfigError, EventError
from clickstream.events import Event, id_ms
from clickstream.simulation import personas, scenarios
from clickstream.simulation.simulator import Simulator, crowd_for
from clickstream.simulation.traffic import Traffic
from tests.support.errors import raises_shown

NOON_MS = events.parse_timestamp("2026-01-05T11:00:00.000Z")
BEGIN_MS = NOON_MS + 180_000
"""The start of scenarios, when the crowd has filled the site."""


def traffic(*, rate: float = 20.0, seed: int = 1) -> Traffic:
    """A crowd that starts at eleven."""
    return Traffic(Simulator(seed=seed, start_ms=NOON_MS, readers=crowd_for(rate)))


def play(*texts: str, minutes: float = 10, rate: float = 20.0, seed: int = 1) -> list[Event]:
    """Run this many minutes from eleven on, with scenarios from three minutes past."""
    on = traffic(rate=rate, seed=seed)
    found = list(on.events(until_ms=BEGIN_MS))
    for text in texts:
        on.start(scenarios.make(text))
    found += on.events(until_ms=NOON_MS + int(minutes * 60_000))
    return found + on.close()


@pytest.fixture(scope="module")
def alone() -> list[Event]:
    """The same ten minutes without a scenario."""
    return play()


def at_ms(event: Event) -> int:
    """Event time."""
    return id_ms(event.event_id)


def lines(found: list[Event]) -> list[bytes]:
    """The encoded events."""
    return [events.encode(event) for event in found]


def labelled(found: list[Event], name: str) -> list[Event]:
    """The events with a scenario's name."""
    return [event for event in found if event.scenario == name]


def within(found: list[Event], since_s: float, until_s: float) -> list[Event]:
    """The events of some seconds, counted from the scenario's start."""
    return [e for e in found if since_s * 1000 <= at_ms(e) - BEGIN_MS < until_s * 1000]


ADDING = ("breaking-news", "bot", "comment-storm")


@pytest.mark.parametrize("name", ADDING)
def test_what_adds_leaves_the_crowd_s_own_events_as_they_are(name: str, alone: list[Event]) -> None:
    """Added events carry the name, and the crowd's events do not change in bytes or order."""
    found = play(name)

    assert lines([event for event in found if event.scenario is None]) == lines(alone)
    assert len(labelled(found, name)) == len(found) - len(alone) > 200


def test_dirty_data_leaves_all_but_the_late_events_as_they_are(alone: list[Event]) -> None:
    """Dirty data only adds copies, and changes late events only by their label."""
    found = play("dirty-data")
    late = {event.event_id for event in found if event.variant == "late"}

    untouched = [event for event in alone if event.event_id not in late]
    assert lines([event for event in found if event.scenario is None]) == lines(untouched)
    by_id = {event.event_id: event for event in alone}
    for event in found:
        if event.variant == "late":
            event.scenario = event.variant = None
            assert event == by_id[event.event_id]


NOTICEABLE = {"ab-test": "ab-test:lift=5", "logout-wave": "logout-wave:seconds=60"}
EVERYTHING = (*NOTICEABLE.values(), "bot:per_minute=6000", "comment-storm")


@pytest.mark.parametrize(
    "texts",
    [
        # Dirty data breaks the laws on purpose.
        *((NOTICEABLE.get(name, name),) for name in scenarios.SCENARIOS if name != "dirty-data"),
        ("device-outage:seconds=20", "breaking-news", *EVERYTHING),
    ],
    ids=lambda texts: texts[0] if len(texts) == 1 else "all",
)
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_the_laws_of_a_session_hold_whatever_plays(texts: tuple[str, ...], seed: int) -> None:
    """With any scenario, sessions keep their order, login, numbering and reactions."""
    found = play(*texts, seed=seed, minutes=7)

    assert all(a.timestamp <= b.timestamp for a, b in pairwise(found))
    assert len({event.event_id for event in found}) == len(found)
    sessions: dict[str, list[Event]] = defaultdict(list)
    for event in found:
        sessions[event.session_id].append(event)
        if event.article_published_at is not None:
            assert event.article_published_at <= event.timestamp
    for session in sessions.values():
        kinds = [event.event_type for event in session]
        logins = kinds[1:] if kinds[0] == "register" else kinds
        assert logins[:1] in (["login"], [])  # some registered a moment ago
        assert "logout" not in kinds[:-1]
        assert [event.session_seq for event in session] == list(range(len(session)))
        assert len({(event.user_id, event.device_type) for event in session}) == 1
        seen = set()
        for event in session:
            if event.event_type == "page_view":
                seen.add(event.article_id)
            assert event.article_id is None or event.article_id in seen
    spans = sorted((s[0].user_id, at_ms(s[0]), at_ms(s[-1])) for s in sessions.values())
    for (who, _, end), (other, begin, _) in pairwise(spans):
        assert who != other or begin >= end


def test_breaking_news_takes_a_third_of_the_views_and_multiplies_traffic(
    alone: list[Event],
) -> None:
    """Breaking news shows within ten seconds, ends, and is about one new article."""
    found = play("breaking-news")

    height, usual = within(found, 20, 80), within(alone, 20, 80)
    assert 2 < len(height) / len(usual) < 10
    views = Counter(e.article_id for e in height if e.event_type == "page_view")
    (article_id, most), *_ = views.most_common(1)
    assert most / views.total() >= 0.3
    whole = Counter(e.article_id for e in within(found, 0, 120) if e.event_type == "page_view")
    assert whole[article_id] / whole.total() >= 0.3

    assert len(within(found, 5, 10)) > 1.5 * len(within(alone, 5, 10))
    fading = [len(labelled(within(found, s, s + 30), "breaking-news")) for s in range(60, 180, 30)]
    assert fading == sorted(fading, reverse=True)
    assert within(found, 181, 400) == within(alone, 181, 400)
    first = next(event for event in found if event.article_id == article_id)
    assert first.article_title is not None
    assert first.article_title.startswith("Breaking: ")
    assert BEGIN_MS <= events.parse_timestamp(first.article_published_at or "") <= at_ms(first)


@pytest.mark.parametrize("peak", [2, 10])
def test_breaking_news_is_as_high_as_was_asked(peak: int, alone: list[Event]) -> None:
    """The peak is right within a tenth, with at least a third of the views."""
    height = within(play(f"breaking-news:peak={peak},seconds=300"), 60, 110)
    assert len(height) / len(within(alone, 60, 110)) == pytest.approx(peak, rel=0.1)
    views = Counter(e.article_id for e in height if e.event_type == "page_view")
    assert max(views.values()) / views.total() > 0.3


def test_a_bot_reads_fast_and_evenly() -> None:
    """A bot acts at the requested rate, with regular gaps, unlike any reader."""
    found = play("bot:per_minute=90,seconds=240", minutes=7.5)
    bot = labelled(found, "bot")

    assert {event.user_id for event in bot} == {"reader-bot"}
    assert len(within(bot, 0, 60)) == pytest.approx(90, abs=3)
    gaps = [at_ms(b) - at_ms(a) for a, b in pairwise(bot)]
    assert statistics.stdev(gaps) < 0.05 * statistics.mean(gaps)
    assert max(at_ms(event) for event in bot) < BEGIN_MS + 240_000
    assert len({event.article_id for event in bot}) > 100


def test_a_comment_storm_is_about_one_article_that_was_there_already(alone: list[Event]) -> None:
    """Comments multiply, and nearly all added ones are about one existing article."""
    found = play("comment-storm")
    comments = [e for e in within(found, 10, 60) if e.event_type == "comment"]
    usual = [e for e in within(alone, 10, 60) if e.event_type == "comment"]

    assert len(comments) > 5 * len(usual)
    added = Counter(e.article_id for e in labelled(comments, "comment-storm"))
    (article_id, most), *_ = added.most_common(1)
    assert most / added.total() > 0.75
    assert article_id in {event.article_id for event in alone if at_ms(event) < BEGIN_MS}


def test_an_outage_silences_one_device_and_nobody_else(alone: list[Event]) -> None:
    """An outage silences only one device, and later sessions do not change."""
    found = play("device-outage:device=tablet,seconds=120")

    silent = within(found, 0, 120)
    assert "tablet" not in {event.device_type for event in silent}
    assert "tablet" in {event.device_type for event in within(alone, 0, 120)}
    others = [event for event in alone if event.device_type != "tablet"]
    assert [event for event in found if event.device_type != "tablet"] == others
    begun = {e.session_id for e in within(alone, 120, 420) if e.session_seq == 0}
    assert [e for e in found if e.session_id in begun] == [
        e for e in alone if e.session_id in begun
    ]
    hit = {e.session_id for e in within(alone, 0, 120) if e.device_type == "tablet"}
    assert hit
    assert [e for e in within(found, 120, 420) if e.session_id in hit] == []


def test_who_could_not_register_during_an_outage_is_no_reader_later() -> None:
    """A newcomer who could not register during an outage never appears."""
    on = Traffic(Simulator(seed=4, start_ms=NOON_MS, readers=300))
    on.start(scenarios.make("device-outage:seconds=86400"))
    found = list(on.events(until_ms=NOON_MS + 3 * 86_400_000))
    first: dict[str, str] = {}
    for event in found:
        first.setdefault(event.user_id, event.event_type)
    newcomers = [kind for who, kind in first.items() if who.count("-") == 2]

    assert set(newcomers) == {"register"}
    again = [e for e in found if e.device_type == "mobile" and at_ms(e) > NOON_MS + 86_400_000]
    assert again


def test_a_logout_wave_logs_everybody_out_within_seconds(alone: list[Event]) -> None:
    """Every open session ends with a labelled logout, and later sessions do not change."""
    found = play("logout-wave:seconds=4")
    wave = labelled(found, "logout-wave")

    assert {event.event_type for event in wave} == {"logout"}
    assert all(BEGIN_MS <= at_ms(event) < BEGIN_MS + 5_500 for event in wave)
    begun_before = {e.session_id for e in alone if at_ms(e) < BEGIN_MS}
    still_open = {e.session_id for e in alone if at_ms(e) >= BEGIN_MS} & begun_before
    # Some would have gone on only after the ten minutes.
    assert still_open <= {event.session_id for event in wave} <= begun_before
    assert len(still_open) > 100
    rest = [e for e in alone if e.session_id not in still_open or at_ms(e) < BEGIN_MS]
    assert [event for event in found if event.scenario is None] == rest


@pytest.mark.parametrize("name", ["logout-wave", "device-outage"])
def test_what_takes_away_waits_until_somebody_is_there(name: str) -> None:
    """A removing scenario waits until the crowd has acted for ten seconds."""
    on = traffic()
    on.start(scenarios.make(name))
    found = list(on.events(until_ms=NOON_MS + 30_000))
    own = list(traffic().events(until_ms=NOON_MS + 30_000))
    early = [event for event in own if at_ms(event) < NOON_MS + 9_500]

    assert found[: len(early)] == early
    assert found != own
    if name == "logout-wave":
        assert len(labelled(found, name)) > 30


def test_a_logout_wave_may_take_some_of_them() -> None:
    """A logout wave affects the requested share."""
    waves = [len(labelled(play(f"logout-wave:share={s}"), "logout-wave")) for s in (0.25, 1)]
    assert waves[0] / waves[1] == pytest.approx(0.25, abs=0.08)


def by_arm(found: list[Event]) -> dict[str, dict[str, list[int]]]:
    """Views and likes of each reader, by arm."""
    counts: dict[str, dict[str, list[int]]] = {"A": {}, "B": {}}
    for event in found:
        if event.variant is not None and event.event_type in ("page_view", "like"):
            one = counts[event.variant].setdefault(event.user_id, [0, 0])
            one[event.event_type == "like"] += 1
    return counts


def likes_per_view(arm: dict[str, list[int]]) -> tuple[float, float]:
    """The rate and its variance, with readers as units (delta method for a ratio)."""
    views, likes = sum(v for v, _ in arm.values()), sum(n for _, n in arm.values())
    rate, number = likes / views, len(arm)
    spread = statistics.fmean((n - rate * v) ** 2 for v, n in arm.values())
    return rate, spread / (number * (views / number) ** 2)


def ab_test(seed: int, lift: float) -> tuple[float, float]:
    """The lift of one day, and the p-value of no lift."""
    on = Traffic(Simulator(seed=seed, start_ms=NOON_MS, readers=crowd_for(0.8)))
    on.start(scenarios.make(f"ab-test:lift={lift}"))
    counts = by_arm(list(on.events(until_ms=NOON_MS + 86_400_000)))
    (a, var_a), (b, var_b) = (likes_per_view(counts[arm]) for arm in "AB")
    z = (b - a) / math.sqrt(var_a + var_b)
    return b / a - 1, 2 * float(stats.norm.sf(abs(z)))


def test_an_ab_test_shows_the_lift_that_was_set() -> None:
    """The lift is found at p < 0.01, within two fifths of its value."""
    for seed, lift in ((1, 0.5), (2, -0.5)):
        found, p = ab_test(seed, lift)
        assert p < 0.01
        assert found == pytest.approx(lift, rel=0.4)


@pytest.mark.slow
def test_an_ab_test_without_a_lift_finds_none() -> None:
    """Without a lift, the p-values of 20 seeds are uniform."""
    found = [ab_test(seed, 0)[1] for seed in range(20, 40)]
    assert stats.kstest(found, "uniform").pvalue > 0.001


def test_an_ab_test_touches_arm_b_alone_and_every_reader_has_one_arm(
    alone: list[Event],
) -> None:
    """Arm A changes only labels; arm B also changes reactions and their numbers."""
    on = traffic()
    found = list(on.events(until_ms=BEGIN_MS))
    on.start(scenarios.make("ab-test:lift=2"))
    found += on.events(until_ms=BEGIN_MS + 240_000)
    on.stop("ab-test")
    found += on.events(until_ms=NOON_MS + 600_000)

    arms: dict[str, set[str]] = defaultdict(set)
    for event in labelled(found, "ab-test"):
        assert event.variant is not None
        arms[event.user_id].add(event.variant)
    assert {len(arm) for arm in arms.values()} == {1}
    assert Counter(next(iter(arm)) for arm in arms.values())["A"] / len(arms) == pytest.approx(
        0.5, abs=0.05
    )
    assert within(found, 240, 1_000)[0].scenario is None
    late = labelled(within(found, 241, 1_000), "ab-test")  # reactions that had been begun
    assert {(event.event_type, event.variant) for event in late} <= {("like", "B")}

    def bare(event: Event, *, numbered: bool) -> bytes:
        bytes_ = events.encode(event)
        copied = events.decode(bytes_)
        copied.scenario = copied.variant = None
        if not numbered:
            copied.event_id, copied.session_seq = "0" * 36, 0
        return events.encode(copied)

    in_b = {who for who, arm in arms.items() if arm == {"B"}}
    assert [bare(e, numbered=True) for e in found if e.user_id not in in_b] == lines(
        [e for e in alone if e.user_id not in in_b]
    )
    b, b_alone = (
        Counter(bare(e, numbered=False) for e in each if e.user_id in in_b)
        for each in (found, alone)
    )
    assert not b_alone - b
    assert {events.decode(line).event_type for line in b - b_alone} == {"like"}
    likes = [
        sum(e.event_type == "like" for e in each if e.scenario is None)
        for each in (within(found, 240, 1_000), within(alone, 240, 1_000))
    ]
    assert likes[0] == likes[1]
    assert [e for e in found if at_ms(e) > BEGIN_MS + 240_000 and e.session_seq == 0] == [
        e for e in alone if at_ms(e) > BEGIN_MS + 240_000 and e.session_seq == 0
    ]


@pytest.mark.parametrize("dial", ["late", "duplicate", "malformed"])
def test_dirty_data_is_as_dirty_as_its_dial_says(dial: str) -> None:
    """The share is right within half a point, and other defects are off."""
    found = play(f"dirty-data:{dial}=0.05", minutes=20)
    after = [event for event in found if at_ms(event) >= BEGIN_MS]
    dirty = Counter(event.variant for event in after)

    assert set(dirty) == {None, dial}
    own = dirty[None] + (dirty[dial] if dial == "late" else 0)
    assert dirty[dial] / own == pytest.approx(0.05, abs=0.005)


def test_late_events_come_late_and_none_is_lost_by_a_stop() -> None:
    """Late events have the requested delay, and a stop sends them at once."""
    on = traffic()
    list(on.events(until_ms=BEGIN_MS))
    on.start(scenarios.make("dirty-data:late=1,delay=3"))
    held: list[Event] = []
    while on.crowd.peek_ms() < BEGIN_MS + 60_000:
        now_ms = on.crowd.peek_ms()
        for event in on.step():
            assert 3_000 <= now_ms - at_ms(event) < 4_000
            held.append(event)
    on.stop("dirty-data")
    held += on.added(on.crowd.peek_ms())
    own = list(traffic().events(until_ms=BEGIN_MS + 60_000))
    assert sorted(e.event_id for e in held) == sorted(
        e.event_id for e in own if at_ms(e) >= BEGIN_MS
    )


def test_duplicates_have_the_same_id_and_broken_copies_one_of_their_own() -> None:
    """Duplicates share their id and are stored once; broken copies fail the type check."""
    found = play("dirty-data:duplicate=0.05,malformed=0.05")
    ids = {event.event_id for event in found if event.scenario is None}
    twice = [event for event in found if event.variant == "duplicate"]
    broken = [event for event in found if event.variant == "malformed"]

    assert len({event.event_id for event in twice}) == len(twice)
    assert {event.event_id for event in twice} <= ids
    assert {event.event_id for event in broken}.isdisjoint(ids)
    assert {len(event.event_id) for event in broken} == {36}
    for event in broken:
        with pytest.raises(EventError, match="not an event"):
            events.decode(events.encode(event))


def test_several_play_at_once_and_each_stops_by_itself_or_when_told() -> None:
    """Several scenarios run at once, with separate labels and ends."""
    on = traffic()
    found = list(on.events(until_ms=BEGIN_MS))
    on.start(scenarios.make("bot"))
    on.start(scenarios.make("breaking-news:seconds=30"))
    assert on.running == ("bot", "breaking-news")
    found += on.events(until_ms=BEGIN_MS + 60_000)
    assert on.running == ("bot",)
    on.stop("bot")
    on.stop("nothing-of-that-name")
    assert on.running == ()
    found += on.events(until_ms=BEGIN_MS + 120_000)

    names = {name: labelled(found, name) for name in ("bot", "breaking-news")}
    assert max(at_ms(event) for event in names["breaking-news"]) <= BEGIN_MS + 30_200
    assert max(at_ms(event) for event in names["bot"]) <= BEGIN_MS + 61_000
    own = [event for event in found if event.scenario is None]
    assert own == list(traffic().events(until_ms=BEGIN_MS + 120_000))


def test_what_ends_by_itself_has_given_all_it_had() -> None:
    """A scenario that ends by itself loses no event, even if the crowd is slow."""
    on = Traffic(Simulator(seed=3, start_ms=NOON_MS, readers=20))
    on.start(scenarios.make("bot:per_minute=6000,seconds=10"))
    found = list(on.events(until_ms=NOON_MS + 3_600_000))
    assert len(labelled(found, "bot")) == pytest.approx(1_000, abs=5)
    bounded = list(on.events(until_ms=NOON_MS + 2 * 3_600_000))
    assert all(at_ms(event) < NOON_MS + 2 * 3_600_000 for event in bounded)


def test_what_is_held_back_is_seen_by_the_others_all_the_same() -> None:
    """Other scenarios also react to events that one holds back."""
    counts = [
        len(labelled(play(*texts, minutes=5), "breaking-news"))
        for texts in (
            ("breaking-news", "dirty-data:late=1"),
            ("dirty-data:late=1", "breaking-news"),
        )
    ]
    assert counts[0] == counts[1] > 1_000


def test_what_two_would_keep_back_is_kept_by_one() -> None:
    """An event that two scenarios hold back is returned once."""
    on = traffic(rate=5)
    list(on.events(until_ms=BEGIN_MS))
    on.start(scenarios.make("logout-wave:seconds=60"))
    on.start(scenarios.make("dirty-data:late=1,delay=1"))
    now_ms, found = BEGIN_MS, list[Event]()
    for _ in range(20_000):  # a minute in which the crowd's clock runs fast, so that they do
        now_ms += 3
        found += on.step(now_ms)
    found += on.close()
    assert len({event.event_id for event in found}) == len(found) > 15_000


def test_a_scenario_started_a_second_time_begins_anew() -> None:
    """A restarted scenario begins again without remains of its first run."""
    on = traffic()
    bot = scenarios.make("bot:per_minute=6000,seconds=600")
    on.start(bot)
    list(on.events(until_ms=NOON_MS + 2_000))
    on.stop("bot")
    list(on.events(until_ms=BEGIN_MS))
    on.start(bot)
    again = labelled(list(on.events(until_ms=BEGIN_MS + 1_000)), "bot")
    assert min(at_ms(event) for event in again) >= BEGIN_MS
    assert again[0].event_type == "login"


def test_starting_one_again_replaces_it() -> None:
    """Starting a scenario again replaces it."""
    on = traffic()
    list(on.events(until_ms=BEGIN_MS))
    on.start(scenarios.make("bot:per_minute=600"))
    list(on.events(until_ms=BEGIN_MS + 30_000))
    on.start(scenarios.make("bot:per_minute=60"))
    found = labelled(list(on.events(until_ms=BEGIN_MS + 60_000)), "bot")
    assert 28 <= len(found) <= 33


def test_a_scenario_may_be_started_and_stopped_while_another_thread_takes_events() -> None:
    """Another thread may start and stop a scenario between events."""
    on = traffic()
    seen: list[Event] = []
    is_over = threading.Event()

    def take() -> None:
        while not is_over.is_set():
            seen.extend(on.step())

    taker = threading.Thread(target=take)
    taker.start()
    try:
        for _ in range(20):
            on.start(scenarios.make("bot:per_minute=6000"))
            before = len(seen)
            while not labelled(seen[before:], "bot"):
                assert taker.is_alive()
            on.stop("bot")
            before = len(seen)
            while len(seen) < before + 200:
                assert taker.is_alive()
            assert labelled(seen[-100:], "bot") == []
    finally:
        is_over.set()
        taker.join()


def test_the_same_seed_and_moment_play_the_same() -> None:
    """The same seed and time give the same bytes, even with several scenarios."""
    texts = ("breaking-news", "bot", "ab-test:lift=1", "dirty-data")
    assert lines(play(*texts, minutes=5)) == lines(play(*texts, minutes=5))


def test_live_scenarios_run_by_the_clock_however_fast_the_crowd_does() -> None:
    """At 25 times the speed a bot keeps its pace, and no event is in the future."""
    on = traffic(rate=20)
    now_ms, seen = NOON_MS, list[Event]()
    on.start(scenarios.make("bot:per_minute=120"))
    for step in range(30_000):  # a minute at 500 events a second
        now_ms = NOON_MS + 2 * step
        for event in on.step(now_ms):
            assert at_ms(event) <= now_ms
            seen.append(event)
    assert all(a.timestamp <= b.timestamp for a, b in pairwise(seen))
    assert len(labelled(seen, "bot")) == pytest.approx(120, abs=3)
    assert len(seen) - len(labelled(seen, "bot")) == 30_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bots", "valid: breaking-news, bot, ab-test"),
        ("bot:rate=9", "unknown key 'rate'; valid: per_minute, seconds"),
        ("bot:per_minute=59", "per_minute=59: it must be a number from 60 to 6,000"),
        ("bot:per_minute=nan", "per_minute=nan: it must be a number"),
        ("bot:per_minute=fast", "per_minute=fast: it must be a number"),
        ("bot:per_minute", "'per_minute' must be key=value"),
        ("bot:seconds=5,seconds=6", "'seconds=6' must be key=value, with each key once"),
        ("breaking-news:peak=11", "peak=11: it must be a number from 2 to 10"),
        ("device-outage:device=watch", "device=watch: it must be one of mobile, desktop, tablet"),
        ("dirty-data:late=1.2", "late=1.2: it must be a number from 0 to 1"),
        ("dirty-data:late=-0.1", "late=-0.1: it must be a number from 0 to 1"),
        ("ab-test:event=page_view", "event=page_view: it must be one of like, comment, share"),
        ("logout-wave:share=0", "share=0: it must be a number from 0.01 to 1"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(text: str, said: str) -> None:
    """The error names the key, the value and what is valid; nothing is clamped."""
    with raises_shown(ConfigError, match=said.replace("(", "\\(")):
        scenarios.make(text)


def test_every_scenario_says_what_it_does_and_where_it_is_seen() -> None:
    """Every scenario has texts for effect and chart, and valid defaults."""
    for name, kind in scenarios.SCENARIOS.items():
        assert kind.name == name
        assert kind.what
        assert kind.watch
        assert kind.title.lower().replace("/", "").replace(" ", "-") in (name, "ab-test")
        assert "seconds" in kind.keys
        for key in kind.keys.values():
            assert key.what
            assert key.read(key.default) is not None
        assert len({repr(scenarios.make(f"{name}:{values}")) for values in kind.strengths}) == 5


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_a_scenario_says_which_events_carry_its_name(name: str) -> None:
    """`marks` says whether a scenario labels added events, the crowd's events, or none."""
    alone, on = (
        Traffic(Simulator(seed=3, start_ms=NOON_MS, readers=10_000, live_from_ms=NOON_MS))
        for _ in range(2)
    )
    own = {event.event_id for event in islice(alone.events(), 2_000)}
    found = list(islice(on.events(), 500))
    on.start(scenarios.make(name))
    found += islice(on.events(), 1_000)
    carry = [event.event_id in own for event in found if event.scenario == name]

    expected = {
        "added": not any(carry) and len(carry) > 10,
        "own": sum(carry) > 0.5 * len(carry),
        "nothing": not carry,
    }
    assert expected[scenarios.SCENARIOS[name].marks]


def test_the_rate_of_a_reaction_follows_from_the_rows() -> None:
    """The computed share of views with a like equals the counted one, for each persona."""
    crowd = Simulator(seed=9, start_ms=NOON_MS, readers=crowd_for(3.0))
    views: Counter[str] = Counter()
    liked: Counter[str] = Counter()
    found = sorted(crowd.events(until_ms=NOON_MS + 86_400_000), key=lambda e: e.session_id)
    for _, session in groupby(found, key=lambda event: event.session_id):
        is_liked = True
        for event in session:
            name = personas.persona_of(9, crowd.number_of(event.user_id))
            if event.event_type == "page_view":
                views[name] += 1
                is_liked = False
            elif event.event_type == "like" and not is_liked:
                liked[name] += 1
                is_liked = True
    for name, persona in personas.PERSONAS.items():
        rate = personas.reaction_rate(persona, "like")
        assert liked[name] / views[name] == pytest.approx(rate, rel=0.1)
