"""The sections of the site as data: how much each publishes, and its headlines.

A section is a category of articles. To add one, add a word to `events.Category` and an entry here;
mapping, readers and charts follow. `articles.py` publishes from the entries.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from clickstream.errors import ConfigError
from clickstream.events import CATEGORIES


@dataclass(frozen=True)
class Section:
    """One section; each headline consists of three parts, drawn independently."""

    weight: float
    """How much it publishes, relative to the others; it also scales how much readers read."""
    pattern: str
    """A headline built from `{subject}`, `{action}` and `{place}`."""
    subjects: tuple[str, ...]
    """All singular or all plural; the verbs of the actions agree."""
    actions: tuple[str, ...]


SECTIONS: Final[dict[str, Section]] = {
    "politics": Section(
        weight=0.25,
        pattern="{subject} {action} in {place}",
        subjects=(
            "Council", "Mayor", "Opposition", "Finance minister", "Youth parliament", "Coalition",
            "Transport committee", "Regional court", "Farmers' party", "Border agency",
            "Housing board", "Electoral office",
        ),
        actions=(
            "backs new tram line", "delays budget vote", "calls early election",
            "rejects harbour tax", "promises cheaper rents", "loses key debate",
            "opens inquiry", "signs water treaty", "wins recount", "drops parking plan",
            "faces tough questions", "unveils school reform",
        ),
    ),
    "tech": Section(
        weight=0.16,
        pattern="{subject} {action} in {place}",
        subjects=(
            "Chip maker", "Robot start-up", "Battery lab", "Open-source team", "Drone firm",
            "Satellite crew", "Game studio", "Cloud provider", "Phone repair shop",
            "Quantum group", "Self-driving bus", "Data centre",
        ),
        actions=(
            "doubles its speed", "recalls first model", "hires a thousand", "goes solar",
            "fixes old bug", "beats delivery record", "shares its blueprints",
            "survives power cut", "learns local dialect", "opens test track",
            "halves its prices", "passes safety check",
        ),
    ),
    "sports": Section(
        weight=0.22,
        pattern="{place} {subject} {action}",
        subjects=(
            "rowers", "strikers", "goalkeepers", "cyclists", "hockey players", "sprinters",
            "rugby women", "swimmers", "chess players", "climbers", "marathon runners", "fencers",
        ),
        actions=(
            "reach the final", "stun the champions", "win in extra time",
            "miss out by a second", "break a ten-year record", "return after injury",
            "draw in the rain", "sign for three seasons", "protest the result",
            "fight back from two down", "lead at half-way", "train at dawn",
        ),
    ),
    "health": Section(
        weight=0.14,
        pattern="{subject} {action}, {place} study finds",
        subjects=(
            "Short walks", "Afternoon naps", "Cold showers", "Rye sandwiches", "Choir evenings",
            "Screen-free days", "Garden hours", "School breakfasts", "Early nights",
            "Steep stairs", "Herbal teas", "Quiet wards",
        ),
        actions=(
            "lower blood pressure", "help memory", "improve sleep", "ease back pain",
            "cut stress", "strengthen bones", "lift the mood", "speed recovery",
            "matter more than thought", "help older hearts", "change appetite",
            "protect the lungs",
        ),
    ),
    "entertainment": Section(
        weight=0.23,
        pattern="{subject} {action} at {place} festival",
        subjects=(
            "Silent film", "Brass band", "Puppet opera", "Debut novel", "Street magician",
            "Comedy duo", "Animated short", "Folk singer", "Dance troupe", "Cult series",
            "Radio play", "Lost recording",
        ),
        actions=(
            "wins top prize", "sells out", "divides critics", "returns after a decade",
            "surprises everyone", "gets standing ovation", "breaks the fourth wall",
            "premieres in the rain", "finds a new ending", "tours by bicycle",
            "moves to tears", "steals the show",
        ),
    ),
}  # fmt: skip
"""By category, in the order in which charts show them."""

PLACES: Final = (
    "Almere Point", "Brackwater", "Castle Orrin", "Dunmarsh", "Eastholm", "Fennick", "Glenmoor",
    "Harrow Quay", "Inverlee", "Juniper Falls", "Kestrel Bay", "Larkfield", "Merrow", "Northgate",
    "Oldbridge", "Pinehaven",
)  # fmt: skip

MOST_SECTIONS: Final = 50


def check(sections: dict[str, Section]) -> None:
    """Validate the sections.

    Raises:
        ConfigError: an entry is wrong; the message names it.
    """
    require(sections, "no sections are defined", "define at least one")
    for name, section in sections.items():
        where = f"section {name!r}"
        is_word = name.isascii() and name.isalpha() and name.islower()
        require(
            is_word,
            f"{where}: the name is part of ids and charts",
            "use one word of the letters a to z",
        )
        require_positive(section.weight, f"{where}: a weight of {section.weight}")
        for what, parts in (("subjects", section.subjects), ("actions", section.actions)):
            has_texts = isinstance(parts, tuple) and parts and all(parts)
            require(has_texts, f"{where}, {what}: {parts!r}", "it must be a tuple of strings")
        has_parts = sorted(re.findall(r"{.*?}", section.pattern)) == _PARTS
        takes = "it must contain {subject}, {action} and {place}, once each"
        require(has_parts, f"{where}: pattern {section.pattern!r}", takes)
    least = sum(section.weight for section in sections.values()) / MOST_SECTIONS
    for name, section in sections.items():
        found = (
            f"section {name!r}: a weight of {section.weight:g} is less than a "
            f"{MOST_SECTIONS}th of all, {least:g}, so it would have nothing to read"
        )
        require(section.weight >= 0.999 * least, found)


_PARTS: Final = ["{action}", "{place}", "{subject}"]


def require(is_right: object, found: str, *remedy: str) -> None:
    """Raise a ConfigError unless an entry is right; it says what was found, and what to do."""
    if not is_right:
        raise ConfigError(found, *remedy)


def require_positive(number: object, found: str) -> None:
    """Raise a ConfigError unless an entry is a finite number over 0."""
    is_positive = isinstance(number, int | float) and 0 < number < math.inf
    require(is_positive, found, "it must be a number above 0")


check(SECTIONS)
for _name in SECTIONS.keys() ^ set(CATEGORIES):
    _msg = f"category {_name!r} is in only one of `events.Category` and `sections.SECTIONS`"
    raise ConfigError(_msg, "add it to the other, too")
