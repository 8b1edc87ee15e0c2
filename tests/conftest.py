"""One real pair for all tests, and for each test names of its own."""

import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from clickstream import index, opensearch, servers, topics
from clickstream.settings import Settings

APART = (
    *("test_readme.py", "test_servers.py", "test_simulator.py", "test_cli.py"),
    *("test_offline.py", "test_walk.py"),
    "pair_of_its_own",
)
"""What takes long and needs no shared pair; the README's commands wait more than they compute."""

SHARED = ("tests/browser/", "tests/notebooks/", "tests/servers/")
"""Whose tests need the shared pair, but for those apart."""


class Shares(LoadScopeScheduling):
    """Shares the tests out to two workers, one of them with the pair.

    Not by xdist's own groups: those of 3.8 are not seen by pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        if any(name in nodeid for name in APART):
            return "apart"
        if nodeid.startswith(SHARED):
            return "pair"
        # For whichever worker is through first: `hosted` has a pair of its own, and the rest
        # only computes, away from what is timed.
        return "hosted" if nodeid.startswith("tests/hosted/") else "reckoning"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares:
    """Let xdist use it, the shares in the order in which they are found."""
    config.option.loadscopereorder = False
    return Shares(config, log)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make torture` asks for the long forms."""
    parser.addoption("--torture", action="store_true", help="the long forms: about an hour")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give the long forms their time."""
    if config.getoption("--torture"):
        for item in items:
            item.add_marker(pytest.mark.timeout(3_600))


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether the long forms are asked for."""
    return bool(request.config.getoption("--torture"))


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
    index.delete_index(opensearch.connect(own.opensearch), own.opensearch.index)


@pytest.fixture
def made(fresh: Settings) -> Settings:
    """The same, with topic, dead-letter topic and index made."""
    topics.ensure_topics(fresh.kafka)
    index.ensure_index(opensearch.connect(fresh.opensearch), fresh.opensearch.index)
    return fresh


@pytest.fixture
def frozen() -> Callable[[str], AbstractContextManager[None]]:
    """Let a server take connections and requests and answer none, for the length of a block."""

    @contextmanager
    def freeze(name: str) -> Iterator[None]:
        (pid,) = [server.pid for server in servers.status() if server.name == name]
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    return freeze
