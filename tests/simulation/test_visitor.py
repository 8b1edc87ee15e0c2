"""A person among the readers, in virtual time."""

import threading
from collections import Counter
from itertools import pairwise

import pytest

from clickstream.errors import ConfigError
from clickstream.events import Event, EventType, id_ms
from clickstream.simulation import scenarios
from clickstream.simulation.articles import Article
from clickstream.simulation.visitor import IDLE_MS, MOST_EVENTS, Visitor, user_id_of
from tests.simulation.test_pacing import Site, assert_no_gap
from tests.support.errors import raises_shown


def visitor_of(site: Site, name: str = "ada", *, is_new: bool = True) -> Visitor:
    """A person who has just logged in."""
    visitor = Visitor(name, device="tablet", is_new=is_new)
    site.traffic.start(visitor)
    return visitor


def articles(site: Site) -> list[Article]:
    """Articles of the site, one for each section."""
    return [found[0] for _, found, _ in site.traffic.crowd.available_articles()]


def of(visitor: Visitor, found: list[Event]) -> list[Event]:
    """A person's own events."""
    return [event for event in found if event.user_id == visitor.user_id]


def types(found: list[Event]) -> list[EventType]:
    """The types of some events."""
    return [event.event_type for event in found]


def test_what_a_person_clicks_happens_in_that_order_among_the_crowd_and_all_scenarios() -> None:
    """Each click is one event of one session, without a label, in the order of event time."""
    site = Site(50)
    found = list(site.during(20))
    for name in scenarios.SCENARIOS:
        if name != "dirty-data":  # it breaks the order on purpose
            site.traffic.start(scenarios.make(name))
    visitor = visitor_of(site)
    first, second = articles(site)[:2]
    found += site.during(2)
    visitor.read(first)
    for reaction in ("like", "comment", "share"):
        found += site.during(1)
        visitor.react(reaction)
    visitor.go_back()
    visitor.read(second)
    found += site.during(1)
    visitor.log_out()
    found += site.during(1)
    assert visitor.name not in site.traffic.running
    found += [*site.during(2), *site.source.finish()]

    own = of(visitor, found)
    reactions = ["like", "comment", "share"]
    assert types(own) == ["register", "login", "page_view", *reactions, "page_view", "logout"]
    assert [event.article_id for event in own[2:]] == [first.article_id] * 4 + [
        second.article_id,
        None,
    ]
    assert own[2].article_title == first.title
    assert [event.referrer_type for event in own if event.event_type == "page_view"] == [
        "internal",
        "internal",
    ]
    assert own[5].share_channel == "link"
    assert {event.device_type for event in own} == {"tablet"}
    assert {event.session_id for event in own} == {visitor.session_id}
    assert {(event.scenario, event.variant) for event in own} == {(None, None)}
    assert_no_gap(found)
    assert len({event.event_id for event in found}) == len(found)
    assert all(before.timestamp <= after.timestamp for before, after in pairwise(found))
    assert all(id_ms(event.event_id) <= site.clock.now_ms() for event in own)
    assert {event.scenario for event in found} > {"bot", "ab-test", "breaking-news"}


def test_a_known_name_only_logs_in_and_a_second_session_has_its_own_id() -> None:
    """Whoever was there before does not register, and sessions can be told apart."""
    site = Site(20)
    first = visitor_of(site)
    found = list(site.during(1))
    first.log_out()
    found += site.during(1)
    second = visitor_of(site, is_new=False)
    found += site.during(1)

    assert types(of(first, found)) == ["register", "login", "logout", "login"]
    assert first.session_id != second.session_id
    assert_no_gap(found)


def test_one_article_can_be_liked_once_and_only_while_it_is_open() -> None:
    """A second like, a reaction on the front page and a click after the logout are refused."""
    site = Site(20)
    visitor, (article, *_) = visitor_of(site), articles(site)
    with raises_shown(ConfigError, match="no article is open; open one first"):
        visitor.react("comment")
    visitor.read(article)
    assert not visitor.has_liked
    with raises_shown(ConfigError, match="no such reaction; valid: like, comment, share"):
        visitor.react("logout")
    visitor.react("like")
    assert visitor.has_liked
    with pytest.raises(ConfigError, match="it is liked already"):
        visitor.react("like")
    visitor.react("comment")
    visitor.react("comment")
    visitor.go_back()
    visitor.log_out()
    visitor.log_out()
    for click in (lambda: visitor.read(article), lambda: visitor.react("like")):
        with raises_shown(ConfigError, match="has ended; log in again"):
            click()

    assert Counter(types(of(visitor, list(site.during(1))))) == {
        "register": 1,
        "login": 1,
        "page_view": 1,
        "like": 1,
        "comment": 2,
        "logout": 1,
    }


def test_a_person_who_does_nothing_is_logged_out_after_half_an_hour() -> None:
    """The logout comes after 30 minutes without a click, not earlier; a click begins anew."""
    site = Site(1)
    visitor = visitor_of(site)
    found = list(site.during(IDLE_MS / 1000 - 60))
    visitor.read(articles(site)[0])
    found += site.during(IDLE_MS / 1000 - 60)
    assert visitor.is_open
    found += site.during(120)

    assert not visitor.is_open
    *_, view, logout = of(visitor, found)
    assert logout.event_type == "logout"
    assert id_ms(logout.event_id) - id_ms(view.event_id) == pytest.approx(IDLE_MS, abs=2_000)


@pytest.mark.parametrize("is_by_hand", [True, False])
def test_a_session_ends_with_its_200th_event(is_by_hand: bool) -> None:
    """The last event is a logout, whether it was clicked as the last or the one before."""
    site = Site(20)
    visitor, (article, *_) = visitor_of(site), articles(site)
    for _ in range(MOST_EVENTS - 4):
        visitor.read(article)
    found = list(site.during(1))
    assert visitor.is_open
    if is_by_hand:
        visitor.log_out()
    else:
        visitor.read(article)
    found += site.during(1)

    own = of(visitor, found)
    assert len(own) == MOST_EVENTS - is_by_hand
    assert types(own).count("logout") == 1
    assert own[-1].event_type == "logout"
    with pytest.raises(ConfigError, match="has ended"):
        visitor.read(article)


def test_a_stop_logs_out() -> None:
    """What was clicked last, and then the logout, are the last events of the traffic."""
    site = Site(20)
    visitor = visitor_of(site)
    found = list(site.during(1))
    visitor.read(articles(site)[0])
    last = site.source.finish()

    assert types(of(visitor, last)) == ["page_view", "logout"]
    assert not visitor.is_open
    assert_no_gap(of(visitor, found + last))


def test_a_login_right_before_a_stop_is_sent_and_logged_out() -> None:
    """No event of the crowd comes between the click and the stop."""
    site = Site(50)
    found = list(site.during(5))
    visitor = visitor_of(site)
    found += site.source.finish()
    assert types(of(visitor, found)) == ["register", "login", "logout"]
    assert all(before.timestamp <= after.timestamp for before, after in pairwise(found))


def test_a_clock_that_is_set_back_puts_no_event_before_the_crowd_s_last() -> None:
    """Event times never fall, also those of a person who comes just then."""
    site = Site(50)
    found = list(site.during(5))
    site.clock.at_s -= 3
    visitor = visitor_of(site)
    found += site.during(2)

    assert types(of(visitor, found)) == ["register", "login"]
    assert all(before.timestamp <= after.timestamp for before, after in pairwise(found))


def test_any_thread_may_click() -> None:
    """Clicks of many threads while events are taken become one event each, without a gap."""
    site = Site(2_000)
    found = list(site.during(0.1))
    visitor = visitor_of(site, is_new=False)
    page = articles(site)

    def click() -> None:
        for number in range(30):
            visitor.read(page[number % len(page)])

    threads = [threading.Thread(target=click) for _ in range(6)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        found += site.during(0.01)
    found += site.during(0.5)

    own = of(visitor, found)
    assert types(own) == ["login"] + ["page_view"] * 180
    assert_no_gap(own)


@pytest.mark.parametrize("name", ["ab", "ada", "a" * 16, "bots"])
def test_a_name_has_2_to_16_letters(name: str) -> None:
    """The reader is named after the person."""
    assert user_id_of(name) == f"reader-{name}"


@pytest.mark.parametrize(
    "name", ["", "a", "a" * 17, "Ada", "ada1", "ada lovelace", "bot", "äda", "ada\n", "<b>ada</b>"]
)
def test_any_other_name_is_refused(name: str) -> None:
    """The message says what a name is."""
    with pytest.raises(ConfigError, match="a name has 2 to 16 letters from a to z"):
        Visitor(name, device="desktop", is_new=True)
