"""A real pair of servers, and separate names for each test.

A file `test_*_disturbed.py` contains tests that stop, freeze or kill a server, or need the state
folder for themselves; these files run in one worker, on a pair of their own. Tests that measure
seconds are marked `timed` and run alone; tests that only `make test-all` runs are marked `slow`.
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
    """Add the option with which `make torture` selects the long forms."""
    parser.addoption("--torture", action="store_true", help="the long forms: about an hour")


def pytest_configure() -> None:
    """Let Ctrl-C reach this run and what it starts; a background job of a shell ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark disturbing tests, set time limits of long forms, and start the longest files first."""
    for item in items:
        if item.path.stem.endswith("_disturbed"):
            item.add_marker("disturbed")
        if config.getoption("--torture"):
            item.add_marker(pytest.mark.timeout(3_600))
    items.sort(key=lambda item: "end_to_end" not in item.path.parts)


@pytest.fixture
def is_long(request: pytest.FixtureRequest) -> bool:
    """Whether the long forms are selected."""
    return bool(request.config.getoption("--torture"))


@pytest.fixture
def is_whole(request: pytest.FixtureRequest) -> bool:
    """Whether slow tests are selected; `make test` leaves them out."""
    return "not slow" not in request.config.option.markexpr


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The pair in the state folder of `make test`, which also stops it, or else a separate pair.

    Any other configured state folder may belong to a demo.
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
    """Names that only this test uses; nothing exists under them before or after."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-")
    own = settings.in_namespace(f"{name}-{uuid.uuid4().hex[:8]}")
    yield own
    if request.node.get_closest_marker("disturbed"):
        local.up()  # a test that failed may have left one down, and the next one needs both
    topics.delete_topics(own.kafka)
    index.delete(client.connect(own.opensearch), own.opensearch.index)


@pytest.fixture
def made(fresh: Settings) -> Settings:
    """The same names, with topic, dead-letter topic and index created."""
    topics.ensure_topics(fresh.kafka)
    index.ensure(client.connect(fresh.opensearch), fresh.opensearch.index)
    return fresh


@pytest.fixture
def frozen() -> Callable[[str], AbstractContextManager[None]]:
    """Freeze a server during a block: it accepts connections and requests but never answers."""

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
