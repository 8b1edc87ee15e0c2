"""Charts of readers and scenarios, compared with their tables."""

import json
import math
import statistics
from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

from clickstream.charts import theme
from clickstream.demo import reader_figures, rehearsal
from clickstream.errors import ConfigError
from clickstream.events import REACTIONS, format_timestamp, parse_timestamp
from clickstream.simulation import scenarios
from clickstream.simulation.articles import DAY_MS, HOUR_MS, MINUTE_MS
from clickstream.simulation.simulator import Simulator

FRIDAY_MS = parse_timestamp("2026-01-09T00:00:00.000Z")
ELEVEN_MS = FRIDAY_MS + 11 * HOUR_MS
CROWD = 4_000


@pytest.fixture(scope="module")
def two_days() -> pd.DataFrame:
    """A Friday and a Saturday of a small crowd."""
    crowd = Simulator(seed=5, start_ms=FRIDAY_MS, readers=300)
    return rehearsal.tabulate(crowd.events(until_ms=FRIDAY_MS + 2 * DAY_MS))


@pytest.fixture(scope="module")
def usual() -> pd.DataFrame:
    """Ten minutes without a scenario."""
    return rehearse("")


def rehearse(text: str, crowd: int = CROWD) -> pd.DataFrame:
    """Ten minutes of the same crowd, with a scenario."""
    return rehearsal.rehearse(text, seed=5, start_ms=ELEVEN_MS, readers=crowd)


def visit(*steps: tuple[str, int]) -> pd.DataFrame:
    """A hand-made session of event types and seconds after its start."""
    rows, page = [], 0
    for kind, second in steps:
        page += kind == "page_view"
        article = kind in ("page_view", *REACTIONS)
        rows.append(
            {
                "event_type": kind,
                "at_ms": ELEVEN_MS + 1000 * second,
                "user_id": "reader-0001",
                "device_type": "mobile",
                "article_category": "sports" if article else None,
                "article_title": f"page {page}" if article else None,
            }
        )
    return pd.DataFrame(rows)


def title(figure: go.Figure) -> str:
    """The text of the title's two lines, without tags."""
    text = str(figure.layout.title.text)
    heading, _, rest = text.removeprefix("<b>").partition("</b>")
    return f"{heading.replace('<br>', ' ')}{rest}".partition("</span>")[0]


def moment_ms(moment: Any) -> int:
    """An axis value in milliseconds since 1970."""
    return parse_timestamp(f"{pd.Timestamp(moment).isoformat(timespec='milliseconds')}Z")


def bars(figure: go.Figure) -> list[go.Bar]:
    """The bar traces of a figure."""
    return [trace for trace in figure.data if trace.type == "bar"]


def line(figure: go.Figure, name: str) -> go.Scatter:
    """The line trace of this name."""
    (found,) = [trace for trace in figure.data if trace.name == name]
    return found


def text_sizes(part: Any) -> Iterator[float]:
    """Every text size in a figure."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key.endswith("font") and isinstance(value, dict) and "size" in value:
                yield value["size"]
            yield from text_sizes(value)
    elif isinstance(part, list):
        for each in part:
            yield from text_sizes(each)


@pytest.fixture(scope="module")
def figures(two_days: pd.DataFrame, usual: pd.DataFrame) -> dict[str, go.Figure]:
    """One figure of each kind."""
    session = two_days[two_days["session_id"] == two_days["session_id"].mode()[0]]
    texts = ["breaking-news", "logout-wave", "ab-test", "dirty-data"]
    return {
        "session": reader_figures.session(session),
        "day": reader_figures.day(two_days),
        "popularity": reader_figures.popularity(two_days),
        **{text: reader_figures.preview(text, rehearse(text), usual) for text in texts},
    }


def test_a_table_has_every_event_and_its_time(two_days: pd.DataFrame) -> None:
    """A table has one row per event, in order, with the time of its timestamp."""
    crowd = Simulator(seed=5, start_ms=FRIDAY_MS, readers=300)
    events = list(crowd.events(until_ms=FRIDAY_MS + 2 * DAY_MS))

    assert list(two_days["event_id"]) == [event.event_id for event in events]
    assert [format_timestamp(at_ms) for at_ms in two_days["at_ms"]] == list(two_days["timestamp"])
    assert list(rehearsal.tabulate([]).columns) == list(two_days.columns)


def test_a_session_is_drawn_as_long_as_its_pages_were_read() -> None:
    """Each bar lasts from a view to the next one or the logout; the title has the counts."""
    steps = ("login", 0), ("page_view", 2), ("like", 5), ("page_view", 62), ("logout", 92)
    figure = reader_figures.session(visit(*steps))

    spans = [(moment_ms(bar.base[0]) - ELEVEN_MS, bar.x[0], bar.y[0]) for bar in bars(figure)]
    assert spans == [(2_000, 60_000, 0), (62_000, 30_000, 1)]
    assert title(figure).startswith("2 pages in 1.5 minutes: 1 like<br>")
    notes = [note.text.strip() for note in figure.layout.annotations]
    assert notes == ["sports · 1:00", "sports · 0:30", "login", "logout"]
    assert [tick.strip() for tick in figure.layout.yaxis.ticktext] == ["page 1", "page 2"]


def test_a_reaction_is_marked_on_the_page_it_is_to() -> None:
    """A reaction is marked at its time, in the row of its page."""
    steps = ("page_view", 2), ("page_view", 40), ("share", 55), ("comment", 60), ("page_view", 70)
    figure = reader_figures.session(visit(("register", 0), ("login", 1), *steps))

    found = {
        trace.name: [(moment_ms(x) - ELEVEN_MS, y) for x, y in zip(trace.x, trace.y, strict=True)]
        for trace in figure.data
        if trace.type == "scatter"
    }
    assert found == {"like": [], "comment": [(60_000, 1)], "share": [(55_000, 1)]}
    assert len({trace.marker.symbol for trace in figure.data if trace.type == "scatter"}) == 3
    assert "register, login" in [note.text.strip() for note in figure.layout.annotations]


def test_a_session_left_without_logout_does_not_pretend_to_know_how_long() -> None:
    """Without a logout the last page has no reading time, and no logout is drawn."""
    figure = reader_figures.session(visit(("login", 0), ("page_view", 2), ("page_view", 30)))

    notes = [note.text.strip() for note in figure.layout.annotations]
    assert "sports · left without a logout" in notes
    assert "logout" not in notes


def test_a_day_is_the_average_of_its_half_of_the_week() -> None:
    """Weekdays and weekend days are averaged separately."""
    noons = [(0, 1), (-1, 2), (-2, 3), (2, 5)]  # days from Friday on, events
    at_ms = [FRIDAY_MS + days * DAY_MS + 12 * HOUR_MS for days, n in noons for _ in range(n)]
    figure = reader_figures.day(pd.DataFrame({"at_ms": at_ms, "device_type": "mobile"}))

    weekday, weekend = [trace for trace in figure.data if trace.name == "mobile"]
    assert [y for y in weekday.y if y] == [weekday.y[12]] == [2]
    assert [y for y in weekend.y if y] == [weekend.y[12]] == [5]
    assert title(figure).startswith("Busiest at 12:00, many times the quietest hour<br>")


def test_a_day_names_the_evening_of_mobile_only_where_there_is_one(two_days: pd.DataFrame) -> None:
    """The title and a mark name an evening peak of at least a tenth, and only then."""
    figure = reader_figures.day(two_days)
    mobile = two_days[two_days["device_type"] == "mobile"]
    hours = mobile[mobile["at_ms"] < FRIDAY_MS + DAY_MS]["at_ms"] % DAY_MS // HOUR_MS
    evening = hours[hours.between(18, 22)]
    flat = pd.DataFrame({"at_ms": [FRIDAY_MS + h * HOUR_MS for h in range(24)]})

    assert f"; on mobile again at {evening.mode()[0]}:00" in title(figure)
    assert "on mobile" not in title(reader_figures.day(flat.assign(device_type="mobile")))


def test_a_day_that_is_busiest_in_the_evening_is_not_busiest_again() -> None:
    """Where the evening is the busiest time of all devices, the title names it once."""
    hours = [*range(24), 20, 20]
    evening = pd.DataFrame({"at_ms": [FRIDAY_MS + hour * HOUR_MS for hour in hours]})
    figure = reader_figures.day(evening.assign(device_type="mobile"))

    assert title(figure).startswith("Busiest at 20:00, 3.0 × the quietest hour<br>")
    assert "mobile: 3.0 × its afternoon" in [note.text for note in figure.layout.annotations]


def test_a_half_of_the_week_without_a_day_is_left_out(two_days: pd.DataFrame) -> None:
    """A Friday alone draws nothing for the weekend."""
    figure = reader_figures.day(two_days[two_days["at_ms"] < FRIDAY_MS + DAY_MS])

    assert len(figure.data) == 3
    assert "Saturday" not in str(figure.layout.annotations)


def test_the_slope_in_the_title_is_that_of_the_views() -> None:
    """The title's slope is 1.00 for views of 1,000 ÷ rank, and half of that for 1,000 ÷ √rank."""
    for power, slope in ((1.0, "−1.00"), (0.5, "−0.50")):
        counts = {f"article {rank}": round(10_000 * rank**-power) for rank in range(1, 101)}
        counts |= {f"article {rank}": 1 for rank in range(101, 201)}  # too low to be looked at
        names = [name for name, count in counts.items() for _ in range(count)]
        views = pd.DataFrame({"article_id": names, "event_type": "page_view", "at_ms": ELEVEN_MS})
        figure = reader_figures.popularity(views)

        assert f"slope {slope}<br>" in title(figure)
        assert list(figure.data[0].y) == sorted(counts.values(), reverse=True)
        (x0, x1), (y0, y1) = figure.data[1].x, figure.data[1].y
        assert math.log(y1 / y0) / math.log(x1 / x0) == pytest.approx(-1)


def test_the_articles_of_the_first_day_alone_are_ranked(two_days: pd.DataFrame) -> None:
    """Only views of the first day count, and only ranks up to 100."""
    first = two_days[two_days["at_ms"] < FRIDAY_MS + DAY_MS]
    figure = reader_figures.popularity(two_days)
    points = figure.data[0]
    x, y = ([math.log(value) for value in values[:100]] for values in (points.x, points.y))
    slope = statistics.linear_regression(x, y).slope

    assert sum(figure.data[0].y) == (first["event_type"] == "page_view").sum()
    assert "Friday 09 January 2026" in title(figure)
    assert f"slope −{-slope:.2f}<br>" in title(figure)


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_every_scenario_has_strengths_that_it_takes(name: str) -> None:
    """Every scenario has five different valid strengths, from weak to strong."""
    texts = rehearsal.strengths(name)
    values = [list(scenarios.make(text).values.values()) for text in texts]
    numbers = [[value for value in row if not isinstance(value, str)] for row in values]

    assert len(texts) == 5
    assert {text.partition(":")[0] for text in texts} == {name}
    assert numbers == sorted(numbers)
    assert len({tuple(row) for row in numbers}) == 5


def test_a_rehearsal_is_the_same_every_time_and_the_crowd_the_same_in_all(
    usual: pd.DataFrame,
) -> None:
    """Without the added events, a rehearsal equals one without the scenario."""
    played = rehearse("breaking-news:seconds=60")

    assert played.equals(rehearse("breaking-news:seconds=60"))
    own = played["scenario"].notna()
    assert own.any()
    assert list(played[~own]["event_id"]) == list(usual["event_id"])
    assert usual["at_ms"].between(ELEVEN_MS, ELEVEN_MS + 10 * MINUTE_MS).all()
    assert (usual["at_ms"] < ELEVEN_MS + 2 * MINUTE_MS).sum() > 0.7 * len(usual) / 5
    begins_ms = ELEVEN_MS + rehearsal.LEAD_MS
    assert begins_ms <= played[own]["at_ms"].min() < begins_ms + 10_000


def test_a_preview_shows_every_event_once(usual: pd.DataFrame) -> None:
    """The bars add up to the events of crowd and scenario, and the title has their number."""
    played = rehearse("comment-storm:peak=5")
    own = played["scenario"].notna()
    figure = reader_figures.preview("comment-storm:peak=5", played, usual)

    crowd, labelled = bars(figure)
    assert (sum(crowd.y), sum(labelled.y)) == ((~own).sum(), own.sum())
    assert title(figure).startswith(f"comment-storm: {own.sum():,} more, ")
    assert "comment-storm:peak=5 from 11:02 on" in title(figure)
    assert "without it" not in [trace.name for trace in figure.data]
    starts_ms = [moment_ms(x) - 5_000 for x in labelled.x]
    assert starts_ms == [ELEVEN_MS + 10_000 * number for number in range(60)]
    assert all(y == 0 for y in labelled.y[:12])


@pytest.mark.parametrize("text", ["device-outage:seconds=240", "logout-wave"])
def test_what_is_taken_away_is_seen_as_a_dip_below_a_line(text: str, usual: pd.DataFrame) -> None:
    """The line shows the crowd without the scenario, and is equal until the scenario begins."""
    figure = reader_figures.preview(text, rehearse(text), usual)
    crowd, without = bars(figure)[0], line(figure, "without it")

    assert sum(without.y) == len(usual)
    assert list(crowd.y[:12]) == list(without.y[:12])
    assert sum(crowd.y[13:25]) < 0.8 * sum(without.y[13:25])
    assert f"{sum(without.y) - sum(crowd.y):,} " in title(figure)
    assert "fewer, down to 0." in title(figure)


def test_bad_data_is_counted_below_the_title(usual: pd.DataFrame) -> None:
    """Late, duplicate and malformed messages are counted by label, and no event is missing."""
    text = "dirty-data:late=0.1,duplicate=0.2,malformed=0.1"
    played = rehearse(text)
    figure = reader_figures.preview(text, played, usual)

    for kind, number in played["variant"].value_counts().items():
        assert f"{number:,} {kind}" in title(figure)
    assert sum(bars(figure)[1].y) == played["variant"].notna().sum()
    late = played["variant"] == "late"
    assert set(played[played["scenario"].isna() | late]["event_id"]) == set(usual["event_id"])


def test_an_ab_test_is_drawn_as_reactions_to_100_views_in_each_arm(usual: pd.DataFrame) -> None:
    """The drawn rates are those of the events, and B leads in the lifted reaction."""
    played = rehearse("ab-test:lift=3,event=comment")
    figure = reader_figures.preview("ab-test:lift=3,event=comment", played, usual)

    for bar, arm in zip(bars(figure), "AB", strict=True):
        kinds = played[played["variant"] == arm]["event_type"].value_counts()
        rates = [100 * kinds[kind] / kinds["page_view"] for kind in REACTIONS]
        assert list(bar.y) == pytest.approx(rates)
        assert bar.error_y.array[0] == pytest.approx(
            196 * math.sqrt(kinds["like"]) / kinds["page_view"]
        )
    comment = REACTIONS.index("comment")
    a, b = (bar.y[comment] for bar in bars(figure))
    assert b > 2 * a
    assert title(figure).startswith(f"{a:.1f} comments per 100 views in arm A, {b:.1f} in B<br>")


def test_text_is_read_from_the_back_of_the_room(figures: dict[str, go.Figure]) -> None:
    """No text is below 18 pixels, and every figure has at least the usual height."""
    for name, figure in figures.items():
        drawn = json.loads(figure.to_json())
        sizes = list(text_sizes(drawn))
        assert len(sizes) >= 1, name
        assert min(sizes) >= theme.TEXT_PX, name
        assert drawn["layout"]["height"] >= theme.HEIGHT_PX, name


def test_colour_never_tells_alone(figures: dict[str, go.Figure]) -> None:
    """Different colours also have different patterns or symbols."""
    for name, figure in figures.items():
        styles = [
            {"pattern": {}, "symbol": None, **trace.get("line", {}), **trace["marker"]}
            for trace in json.loads(figure.to_json())["data"]
            if "marker" in trace
        ]
        colours = {style.get("color") for style in styles}
        cues = {(style["pattern"].get("shape"), style["symbol"]) for style in styles}
        assert len(cues) >= len(colours), name
        assert len(colours) > 1 or name == "popularity", name


def test_where_there_is_nothing_to_draw_the_title_says_so(usual: pd.DataFrame) -> None:
    """Without events the figure is empty, and its title says so."""
    none = rehearsal.tabulate([])
    drawn = [
        reader_figures.session(none),
        reader_figures.session(visit(("login", 0), ("logout", 9))),
        reader_figures.day(none),
        reader_figures.popularity(none),
        reader_figures.preview("bot", none, none),
        reader_figures.preview("ab-test", usual, usual),
    ]

    assert [len(figure.data) for figure in drawn] == [0] * 6
    assert [title(figure) for figure in drawn] == [
        "No page views",
        "No page views",
        "No visits",
        "Fewer than two articles were viewed",
        "No visits",
        "No page views in one of the arms",
    ]


def test_a_scenario_that_is_none_is_told() -> None:
    """Both functions refuse an unknown scenario and list the valid names."""
    with pytest.raises(ConfigError, match="valid: breaking-news"):
        rehearsal.strengths("rain")
    with pytest.raises(ConfigError, match="it must be a number from"):
        rehearse("bot:per_minute=1", crowd=1)
