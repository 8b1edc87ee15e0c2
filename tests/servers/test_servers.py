"""The local pair: one pair whoever starts it, found again, healed, and gone when told."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from clickstream import demo, servers, topics
from clickstream.errors import ConfigError, ServerError
from clickstream.settings import Settings


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder with nothing in it; whatever runs there is stopped at the end."""
    monkeypatch.setenv("CLICKSTREAM_STATE", str(tmp_path))
    yield tmp_path
    servers.down()


def pids() -> dict[str, int | None]:
    """Both servers' processes."""
    return {server.name: server.pid for server in servers.status()}


def up_elsewhere(state: Path) -> str:
    """Run `clickstream up` in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "clickstream", "up"],
        env={**os.environ, "CLICKSTREAM_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout


@pytest.mark.timeout(300)
def test_a_pair_lives_through_a_day_of_trouble(
    own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started twice at once it is one pair, found by others, healed after a kill, then gone.

    Healed even beside a stranger on its port; gone when nobody is connected any longer.

    One test, because every start of a server takes up to ten seconds.
    """
    with ThreadPoolExecutor(2) as pool:  # two processes start at the same moment
        said = list(pool.map(up_elsewhere, [own_state, own_state]))
    assert said[0] == said[1]
    first = pids()
    assert None not in first.values()
    mine = [p for p in psutil.process_iter(["cmdline"]) if str(own_state) in str(p.info["cmdline"])]
    assert len(mine) == 2

    settings = servers.up()  # and a third, later, finds them
    assert pids() == first
    assert settings == servers.find()
    assert settings.kafka.bootstrap_servers in said[0]
    kit = demo.Demo(settings)
    kit.ensure()
    kit.produce(200, events_per_second=1_000)
    kit.consume()

    kill_kafka()
    with pytest.raises(ServerError, match="Kafka is not up; start both with `clickstream up`"):
        servers.find()
    assert servers.up() == settings  # on its old port
    assert pids()["opensearch"] == first["opensearch"]
    assert topics.count(settings.kafka) == 200

    with servers.taken_down("opensearch"):
        assert pids()["opensearch"] is None
        with pytest.raises(ServerError, match="OpenSearch did not answer"):
            kit.documents()
    assert kit.documents() == 200

    kill_kafka()
    port = settings.kafka.bootstrap_servers.rpartition(":")[2]
    with socket.socket() as stranger:  # somebody else takes Kafka's port over lunch
        # Connections that Kafka closed still linger on it.
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", int(port)))
        stranger.listen()
        monkeypatch.setenv("CLICKSTREAM_IDLE_STOP_MIN", "0.05")
        again = servers.up()
        assert again.kafka.bootstrap_servers != settings.kafka.bootstrap_servers
        assert again == servers.find()
        host, _, port = again.opensearch.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))):  # one client keeps both up
            assert topics.count(again.kafka) == 200
            assert demo.Demo(again).documents() == 200
            time.sleep(6)
            assert None not in pids().values()
    deadline_s = time.monotonic() + 40
    while any(pids().values()):
        assert time.monotonic() < deadline_s
        time.sleep(0.5)
    left = [p for p in psutil.process_iter(["cmdline"]) if str(own_state) in str(p.info["cmdline"])]
    assert left == []


def kill_kafka() -> None:
    """As a crash does."""
    kafka = psutil.Process(pids()["kafka"])
    kafka.kill()
    kafka.wait(10)


def test_no_number_of_minutes_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything is started."""
    monkeypatch.setenv("CLICKSTREAM_STATE", str(tmp_path))
    monkeypatch.setenv("CLICKSTREAM_IDLE_STOP_MIN", "soon")
    with pytest.raises(ConfigError, match="'soon' is no number of minutes"):
        servers.up()
    assert set(pids().values()) == {None}


def test_a_server_that_dies_while_starting_is_told_with_its_last_words(
    own_state: Path, settings: Settings
) -> None:
    """The exit code, the last log lines and the log's path; nothing is left running."""
    (own_state / "kafka").mkdir()
    # A data folder of another cluster: the broker refuses it and says so in its log.
    (own_state / "kafka" / "data").mkdir()
    (own_state / "kafka" / "data" / "meta.properties").write_text("version=99\n")
    with pytest.raises(ServerError) as told:
        servers.start("kafka")

    line = str(told.value)
    assert line.startswith("Kafka did not start: it exited with code 1; last log lines: ")
    assert "version" in line
    assert str(own_state / "kafka.log") in line
    assert "\n" not in line
    assert pids()["kafka"] is None


def test_data_of_another_version_is_left_alone(own_state: Path) -> None:
    """One line says which version's data lies there, and how to go on."""
    (own_state / "kafka.json").write_text(json.dumps({"version": "3.9.0", "port": 1}))
    with pytest.raises(ServerError, match=r"holds data of Kafka 3\.9\.0.*CLICKSTREAM_STATE"):
        servers.up()
    assert json.loads((own_state / "kafka.json").read_text())["version"] == "3.9.0"


def test_a_folder_that_cannot_be_made_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a file stands in its place, or the disk is read-only."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLICKSTREAM_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(ServerError, match=r"state folder .* make it writable, or name another"):
        servers.up()


def test_too_little_room_is_told_before_anything_starts(
    own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk and too little memory: how much there is, how much is needed."""
    monkeypatch.setattr(servers, "NEEDED_DISK_BYTES", 1 << 60)
    with pytest.raises(ServerError, match=r"GB free for .* are needed; free some"):
        servers.up()
    monkeypatch.setattr(servers, "NEEDED_DISK_BYTES", 0)
    monkeypatch.setattr(servers, "NEEDED_MEMORY_BYTES", 1 << 60)
    with pytest.raises(ServerError, match=r"GB of memory available, .* close some programs"):
        servers.up()
    assert set(pids().values()) == {None}


def test_an_unsupported_system_is_told_in_one_line(
    own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Native Windows: the way in is WSL2."""
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ServerError, match="use WSL2 with Ubuntu"):
        servers.up()


def test_a_pid_that_belongs_to_somebody_else_now_is_not_ours(own_state: Path) -> None:
    """Process numbers are used again; nobody else's process is stopped for ours."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        remembered = {"pid": sleeper.pid, "created": 1.0, "port": 1}
        (own_state / "kafka.json").write_text(json.dumps(remembered))
        assert pids()["kafka"] is None
        assert servers.down() == ()
        assert sleeper.poll() is None
    finally:
        sleeper.send_signal(signal.SIGKILL)
        sleeper.wait()
