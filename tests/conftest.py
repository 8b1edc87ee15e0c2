"""One real pair for all tests, and for each test names of its own."""

import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from clickstream import index, servers, topics
from clickstream.settings import Settings

APART = ("test_readme.py", "test_servers.py", "test_simulator.py")
"""What takes long and needs no shared pair; the README's commands wait more than they compute."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Share the tests out to two workers of about equal length, the longest first."""
    items.sort(key=lambda item: item.path.name not in APART)
    for item in items:
        is_apart = item.path.name in APART or "pair_of_its_own" in item.name
        item.add_marker(pytest.mark.xdist_group("apart" if is_apart else "pair"))


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A pair in the state folder that `make test` names, or else in one of its own.

    Any other that is named may be a demo's.
    """
    with pytest.MonkeyPatch.context() as patch:
        named = Path(os.environ.get("CLICKSTREAM_STATE", "."))
        if not named.is_relative_to(Path(__file__).parent.parent / "build"):
            patch.setenv("CLICKSTREAM_STATE", str(tmp_path_factory.mktemp("state")))
        patch.setenv("CLICKSTREAM_CONF", str(tmp_path_factory.mktemp("no-conf")))
        yield servers.up()
        servers.down()


@pytest.fixture
def fresh(settings: Settings, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Names that only this test uses; nothing of them exists yet, nothing is left."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
    own = settings.in_namespace(f"{name}-{uuid.uuid4().hex[:8]}")
    yield own
    topics.delete_topics(own.kafka)
    index.delete_index(index.connect(own.opensearch), own.opensearch.index)


@pytest.fixture
def made(fresh: Settings) -> Settings:
    """The same, with topic, dead-letter topic and index made."""
    topics.ensure_topics(fresh.kafka)
    index.ensure_index(index.connect(fresh.opensearch), fresh.opensearch.index)
    return fresh
