"""One real pair for all tests, and for each test names of its own.

A file `test_*_disturbed.py` holds what stops, freezes or kills a server of that pair, or needs
what there is one of in its state folder; such files run in one worker. What measures seconds is
marked `timed` and runs alone; what only `make test-all` runs is marked `slow`.
"""

import os
import re
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from clickstream.kafka import topics
from clickstream.opensearch import client, index
from clickstream.servers import local
from clickstream.settings import Settings

BUILD = Path(__file__).parent.parent / "build"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make torture` asks for the long forms."""
    parser.addoption("--torture", action="store_true", help="the long forms: about an hour")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what disturbs, give the long forms their time, and let the longest files begin."""
    for item in items:
        if item.path.stem.endswith("_disturbed"):
            item.add_marker("disturbed")
        if config.getoption("--torture"):
            item.add_marker(pytest.mark.timeout(3_600))
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether the long forms are asked for."""
    return bool(request.config.getoption("--torture"))


@pytest.fixture
def is_whole(request: pytest.FixtureRequest) -> bool:
    """Whether what takes long is asked for, too; `make test` leaves it out."""
    return "not slow" not in request.config.option.markexpr


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A pair in the state folder that `make test` names and ends, or else one of its own.

    Any other that is named may be a demo's.
    """
    is_given = Path(os.environ.get("CLICKSTREAM_STATE", ".")).is_relative_to(BUILD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLICKSTREAM_CONF", str(tmp_path_factory.mktemp("no-conf")))
        if is_given:
            yield local.up()  # beside another worker, so that neither may end it
            return
        patch.setenv("CLICKSTREAM_STATE", str(tmp_path_factory.mktemp("state")))
        yield local.up()
        local.down()


@pytest.fixture
def fresh(settings: Settings, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Names that only this test uses; nothing of them exists yet, nothing is left."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
    own = settings.in_namespace(f"{name}-{uuid.uuid4().hex[:8]}")
    yield own
    if request.node.get_closest_marker("disturbed"):
        local.up()  # a test that failed may have left one down, and the next one needs both
    topics.delete_topics(own.kafka)
    index.delete(client.connect(own.opensearch), own.opensearch.index)


@pytest.fixture
def made(fresh: Settings) -> Settings:
    """The same, with topic, dead-letter topic and index made."""
    topics.ensure_topics(fresh.kafka)
    index.ensure(client.connect(fresh.opensearch), fresh.opensearch.index)
    return fresh


@pytest.fixture
def frozen() -> Callable[[str], AbstractContextManager[None]]:
    """Let a server take connections and requests and answer none, for the length of a block."""

    @contextmanager
    def freeze(name: str) -> Iterator[None]:
        (pid,) = [server.pid for server in local.status() if server.name == name]
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    return freeze
