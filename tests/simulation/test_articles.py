"""The articles of the site, which depend only on seed and hour."""

import pickle
from dataclasses import replace
from itertools import pairwise

import pytest

from clickstream.errors import ConfigError
from clickstream.events import CATEGORIES, parse_timestamp
from clickstream.simulation import sections
from clickstream.simulation.articles import (
    DAY_MS,
    HOUR_MS,
    LIFETIME_DAYS,
    MINUTE_MS,
    TABLE_MS,
    Catalog,
    published_in_hour,
)
from clickstream.simulation.sections import SECTIONS
from tests.support.errors import raises_shown

MONDAY_MS = 1_767_571_200_000
MONDAY_TABLE = MONDAY_MS // TABLE_MS


def test_the_same_seed_and_hour_publish_the_same_articles() -> None:
    """Another seed publishes other articles."""
    hour = MONDAY_MS // HOUR_MS + 9
    first, again, other = (
        [(a.article_id, a.title, a.published_ms) for a in published_in_hour(seed, hour)]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_articles_come_out_all_day_and_fewer_at_night() -> None:
    """About 120 articles appear per day, in every category, and fewer at night."""
    hours = range(MONDAY_MS // HOUR_MS, MONDAY_MS // HOUR_MS + 28 * 24)
    by_hour = [published_in_hour(3, hour) for hour in hours]
    articles = [article for hour in by_hour for article in hour]

    assert 110 < len(articles) / 28 < 130
    night = sum(len(by_hour[i]) for i in range(len(by_hour)) if i % 24 in (0, 1, 2, 3))
    noon = sum(len(by_hour[i]) for i in range(len(by_hour)) if i % 24 in (10, 11, 12, 13))
    assert night * 4 < noon
    assert {article.category for article in articles} == set(CATEGORIES)


def test_an_article_has_an_id_of_its_own_that_a_reader_can_read() -> None:
    """An article id is unique, with category and minute of publication."""
    hours = range(MONDAY_MS // HOUR_MS, MONDAY_MS // HOUR_MS + 14 * 24)
    articles = [article for hour in hours for article in published_in_hour(5, hour)]

    assert len({article.article_id for article in articles}) == len(articles)
    for article in articles:
        at = article.published_at
        assert article.article_id == (
            f"{article.category}-{at[2:4]}{at[5:7]}{at[8:10]}-{at[11:13]}{at[14:16]}"
        )
        assert parse_timestamp(at) == article.published_ms


def test_headlines_agree_in_number() -> None:
    """The verb of a headline agrees with its subject."""
    many, one = {"rugby women"}, {"Cult series", "Self-driving bus"}  # against their last letter
    for category, section in SECTIONS.items():
        are_many = {
            subject in many or (subject.endswith("s") and subject not in one)
            for subject in section.subjects
        }
        act_as_many = {
            not verb.endswith("s") or verb.endswith("ss")
            for verb in (action.split()[0] for action in section.actions)
        }
        assert len(are_many) == 1, category
        assert act_as_many == are_many, category


def test_the_catalog_is_full_at_the_start_and_holds_nothing_of_the_future() -> None:
    """The catalog starts with seven days in every category, and has no article of the future."""
    catalog = Catalog(seed=1, start_ms=MONDAY_MS)
    available = catalog.available(MONDAY_TABLE)

    assert len(available) == len(CATEGORIES)
    for category, (cumulative, articles, total) in zip(CATEGORIES, available, strict=True):
        assert {article.category for article in articles} == {category}
        assert cumulative == sorted(cumulative)
        assert cumulative[-1] == total
        ages_ms = [MONDAY_MS - a.published_ms for a in articles[: len(cumulative)]]
        assert min(ages_ms) >= 0
        assert 7 * DAY_MS < max(ages_ms) <= LIFETIME_DAYS * DAY_MS


def test_popularity_falls_with_age() -> None:
    """The popularity of an article falls with its age."""
    catalog = Catalog(seed=1, start_ms=MONDAY_MS)
    weights = []
    for hours in range(0, 24, 3):
        cumulative, articles, _ = catalog.available(MONDAY_TABLE + hours * HOUR_MS // TABLE_MS)[0]
        if hours == 0:
            article = articles[len(cumulative) - 1]
        place = articles.index(article)
        weights.append(cumulative[place] - cumulative[place - 1])
    assert all(later < earlier for earlier, later in pairwise(weights))


def test_every_article_is_told_once_and_in_order() -> None:
    """Every article since the start is published once and in order."""
    catalog = Catalog(seed=1, start_ms=MONDAY_MS)
    told = [
        article.published_ms
        for minute in range(0, 24 * 60, 7)
        for article in catalog.take_published(MONDAY_MS + minute * MINUTE_MS)
    ]
    hours = range(MONDAY_MS // HOUR_MS, MONDAY_MS // HOUR_MS + 24)
    published = [article.published_ms for hour in hours for article in published_in_hour(1, hour)]
    assert told == [
        at for at in published if MONDAY_MS < at <= MONDAY_MS + 24 * HOUR_MS - 2 * 60_000
    ]


def test_memory_stays_the_same_over_months() -> None:
    """Memory stays constant over months, even if nobody takes published articles."""
    catalog = Catalog(seed=1, start_ms=MONDAY_MS)

    def bytes_after(days: int) -> int:
        catalog.available((MONDAY_MS + days * DAY_MS) // TABLE_MS)
        return len(pickle.dumps(catalog))

    sizes = [bytes_after(days) for days in (10, 30, 60, 90)]
    assert max(sizes) < 1.25 * min(sizes)


@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("Tech!", {}, "use one word of the letters a to z"),
        ("tech", {"weight": 0}, "a weight of 0; it must be a number above 0"),
        ("tech", {"weight": float("nan")}, "a weight of nan"),
        ("tech", {"weight": "1"}, "a weight of 1; it must be a number"),
        ("tech", {"weight": 0.01}, "less than a 50th of all"),
        ("tech", {"subjects": ()}, r"subjects: \(\); it must be a tuple of strings"),
        ("tech", {"subjects": ("",)}, "subjects: "),
        ("tech", {"actions": "wins"}, "actions: 'wins'; it must be a tuple of strings"),
        ("tech", {"pattern": ""}, "it must contain {subject}, {action} and {place}, once each"),
        ("tech", {"pattern": "{subject.x} {action} {place}"}, "pattern "),
    ],
)
def test_a_wrong_section_is_named(name: str, changed: dict[str, object], said: str) -> None:
    """A wrong section is named with its valid values."""
    section = replace(SECTIONS["tech"], **changed)  # type: ignore[arg-type]
    with raises_shown(ConfigError, match=said):
        sections.check({**SECTIONS, name: section})
    with pytest.raises(ConfigError, match="no sections are defined"):
        sections.check({})


def test_a_section_may_be_one_of_fifty() -> None:
    """A section with a fiftieth of the articles is never empty."""
    names = [a + b for a in "abcdefghij" for b in "klmno"]
    sections.check(dict.fromkeys(names, SECTIONS["tech"]))
