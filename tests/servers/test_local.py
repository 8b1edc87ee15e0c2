"""The local pair: it starts once, is found again, is repaired, and stops on command."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from clickstream.demo import demo
from clickstream.errors import FetchError, ServerError, shown
from clickstream.kafka import offsets
from clickstream.opensearch import client as opensearch
from clickstream.servers import download, local, nodes
from clickstream.servers import processes as state
from clickstream.servers.free_space import FreeSpace
from tests.support.errors import raises_shown
from tests.support.outages import taken_down


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty state folder; its servers are stopped at the end.

    Its name has what Java, Kafka and OpenSearch read as something else where they can: lists,
    escapes, wildcards, options.
    """
    folder = tmp_path / 'jürgen\'s \\ 用户, Doe %41 $HOME {x} "q" a:b #;=& *'
    folder.mkdir()
    monkeypatch.setenv("CLICKSTREAM_STATE", str(folder))
    yield folder
    for name in local.NAMES:
        state.stop(name)


def processes(folder: Path) -> list[psutil.Process]:
    """All processes of a state folder, as the system lists them."""
    found = psutil.process_iter(["cmdline"])
    return [p for p in found if any(str(folder) in word for word in p.info["cmdline"] or ())]


def wait_until(is_so: Callable[[], object], *, timeout_s: float) -> None:
    """Poll a condition for at most `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def sleep(cwd: Path, *names: str, inherits: Collection[int] = ()) -> subprocess.Popen[bytes]:
    """Start a process that is recorded as Kafka."""
    words = [sys.executable, "-c", "import time; time.sleep(60)", *names]
    return state.spawn("kafka", words, cwd, inherits=inherits)


def pids() -> dict[str, int | None]:
    """The process ids of both servers."""
    return {server.name: server.pid for server in local.status()}


def up_elsewhere(state: Path) -> str:
    """Run `clickstream up` in a separate process."""
    done = subprocess.run(
        [sys.executable, "-m", "clickstream", "up"],
        env={**os.environ, "CLICKSTREAM_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(400)
def test_a_pair_lives_through_a_day_of_trouble(
    own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two simultaneous starts give one pair, which others find, and which is repaired and stopped.

    The servers ignore options for the user's Java. A slow server, or one with a broken index, is
    not restarted; a killed one is, even if another program took its port.

    This is one test, because every start of a server takes up to ten seconds.
    """
    monkeypatch.setenv("_JAVA_OPTIONS", "-Xmx2m")
    with ThreadPoolExecutor(2) as pool:  # two processes start at the same moment
        said = list(pool.map(up_elsewhere, [own_state, own_state]))
    assert said[0] == said[1]
    first = pids()
    assert None not in first.values()
    assert len(processes(own_state)) == 2

    (own_state.parent / "link").symlink_to(own_state)
    monkeypatch.setenv("CLICKSTREAM_STATE", str(own_state.parent / "link"))
    settings = local.up()  # and a third, later, finds them, under another name of the folder
    assert pids() == first
    assert settings == local.find()
    assert settings.kafka.bootstrap_servers in said[0]
    kit = demo.Demo(settings)
    kit.ensure()
    kit.produce(200, events_per_second=1_000)
    kit.consume()

    client = opensearch.connect(settings.opensearch)
    nowhere = {"index.routing.allocation.require._name": "nowhere", "number_of_replicas": 0}
    client.indices.create(
        index="broken", body={"settings": nowhere}, params={"wait_for_active_shards": 0}
    )
    assert client.cluster.health()["status"] == "red"
    kafka = psutil.Process(pids()["kafka"])
    kafka.suspend()
    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(up_elsewhere, own_state)
        time.sleep(5)  # longer than it is asked for once
        kafka.resume()
        assert str(settings.opensearch.url) in elsewhere.result()
    assert pids() == first

    kill_kafka()
    with raises_shown(
        ServerError, match=r"Kafka is not running; start both servers with `.*clickstream up`"
    ):
        local.find()
    assert local.up() == settings  # on its old port
    assert pids()["opensearch"] == first["opensearch"]
    assert offsets.count(settings.kafka) == 200

    monkeypatch.setattr(local, "_SETTLE_TIMEOUT_S", 3.0)
    with taken_down("opensearch"):
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
        again = local.up()
        assert again.kafka.bootstrap_servers != settings.kafka.bootstrap_servers
        assert again == local.find()
        assert offsets.count(again.kafka) == 200
        assert demo.Demo(again).documents() == 200
    assert local.down() == local.NAMES
    assert processes(own_state) == []


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["kafka", pytest.param("opensearch", marks=pytest.mark.slow)])
def test_a_port_that_is_taken_while_a_server_starts_is_given_up_for_another(
    own_state: Path, name: nodes.Name
) -> None:
    """If another program takes a port before Java binds it, the server starts on another port."""
    strangers = []

    def take_its_ports() -> None:
        wait_until(lambda: nodes.NODES[name].port_kinds[-1] in state.recorded(name), timeout_s=30)
        for kind in nodes.NODES[name].port_kinds:
            stranger = socket.create_server(("127.0.0.1", state.recorded(name)[kind]))
            strangers.append(stranger)

    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(take_its_ports)
        local.start(name)
        taking.result()
    taken = {stranger.getsockname()[1] for stranger in strangers}
    assert len(taken) == 2
    found = next(each for each in local.status() if each.name == name)
    assert found.state == "up"
    assert found.port not in taken
    for stranger in strangers:
        stranger.close()


def kill_kafka() -> None:
    """Kill Kafka, as a crash would."""
    pid = pids()["kafka"]
    assert pid is not None  # psutil takes None for this very process
    kafka = psutil.Process(pid)
    kafka.kill()
    kafka.wait(10)


def test_down_leaves_no_process(own_state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`down` leaves no process of a single running server, which had the user's Java options."""
    monkeypatch.setenv("CLICKSTREAM_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1 -Dgiven=yes")
    local.start("kafka")
    # For a moment a process that has just been started shows no command line.
    wait_until(lambda: len(processes(own_state)) == 1, timeout_s=10)

    assert "-Dgiven=yes" in processes(own_state)[0].cmdline()
    assert local.down() == ("kafka",)
    assert processes(own_state) == []


def test_ctrl_c_stops_what_is_being_started(own_state: Path) -> None:
    """Ctrl-C during a start ends within seconds, in one line, without a process left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "clickstream", "up"], stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: len(processes(own_state)) == 2, timeout_s=60)
    process.send_signal(signal.SIGINT)
    pressed_s = time.monotonic()
    _, said = process.communicate(timeout=30)

    assert time.monotonic() - pressed_s < 20
    assert process.returncode == 130
    assert said.splitlines()[-1] == "clickstream: stopped"
    assert "Traceback" not in said
    assert processes(own_state) == []


def test_a_clock_that_was_set_loses_no_server(own_state: Path) -> None:
    """A changed clock does not hide a server, because its command line identifies it."""
    sleeper = sleep(own_state, str(own_state / "kafka"))
    moved = psutil.Process(sleeper.pid).create_time() + 3600
    state.record("kafka", created=moved)
    assert pids()["kafka"] == sleeper.pid
    assert local.down() == ("kafka",)


def test_a_server_that_dies_while_starting_is_told_with_its_last_words(
    own_state: Path,
) -> None:
    """A failed start reports exit code, last log lines, log path and remedy, and stops all."""
    (own_state / "kafka").mkdir()
    # A data folder of another cluster: the broker refuses it and says so in its log.
    (own_state / "kafka" / "data").mkdir()
    (own_state / "kafka" / "data" / "meta.properties").write_text("version=99\n")
    with pytest.raises(ServerError) as told:
        local.start("kafka")

    line = shown(told.value)
    assert line.startswith("Kafka did not start: it exited with code 1; last log lines: ")
    assert "version" in line
    assert str(own_state / "kafka.log") in line
    assert line.endswith(f"or move {own_state / 'kafka'} away to start without data")
    assert "\n" not in line
    assert pids()["kafka"] is None


def test_a_data_folder_that_cannot_be_made_is_told_in_one_line(own_state: Path) -> None:
    """A data folder that cannot be created is one line with the cause."""
    (own_state / "kafka").mkdir()
    (own_state / "kafka" / "data").write_text("")
    with pytest.raises(ServerError, match=r"could not create its data folder; last log") as told:
        local.start("kafka")
    assert "\n" not in shown(told.value)
    assert "format.log" in str(told.value)

    (own_state / "kafka").rename(own_state / "aside")
    (own_state / "kafka").write_text("")
    with raises_shown(ServerError, match=r"kafka: File exists; make it writable, or set"):
        local.start("kafka")


def test_another_version_is_left_alone(own_state: Path) -> None:
    """Data and processes of another version stay; one line names the version and the remedy."""
    sleeper = sleep(own_state, str(own_state / "kafka"))
    state.record("kafka", version="3.9.0")
    with raises_shown(ServerError, match=r"contains data of Kafka 3\.9\.0.*CLICKSTREAM_STATE"):
        local.up()
    assert state.recorded("kafka")["version"] == "3.9.0"
    assert sleeper.poll() is None


@pytest.mark.parametrize("content", ["", "[1]", '{"pid": '])
def test_a_damaged_memory_is_named(own_state: Path, content: str) -> None:
    """A damaged record is named with a remedy."""
    (own_state / "kafka.json").write_text(content)
    with raises_shown(ServerError, match=r"kafka\.json is damaged .* delete it, then `"):
        local.up()
    (own_state / "kafka.json").unlink()


def test_a_process_is_found_under_every_name_of_its_folder(
    own_state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A symlink, `..` and `~` name the same folder; on another mount a server is known by place."""
    (own_state / "kafka").mkdir()
    sleeper = sleep(own_state / "kafka", str(own_state))
    link = tmp_path / "link"
    link.symlink_to(own_state)
    monkeypatch.setenv("HOME", str(tmp_path))
    for other in (str(link), f"{own_state}/../link", "~/link"):
        monkeypatch.setenv("CLICKSTREAM_STATE", other)
        assert state.folder() == own_state
        assert pids()["kafka"] == sleeper.pid
    assert local.down() == ("kafka",)

    sleeper = sleep(own_state / "kafka")  # as if its command line had another name of the folder
    assert pids()["kafka"] == sleeper.pid
    assert local.down() == ("kafka",)


def test_two_servers_never_share_data(own_state: Path) -> None:
    """A data folder in use is refused until its server ends, even if its record was deleted."""
    data = own_state / "kafka"
    with state.data_lock(data) as lock:
        sleeper = sleep(data, inherits=[lock.fileno()])
        lock.write(str(sleeper.pid))
    (own_state / "kafka.json").unlink()
    with raises_shown(ServerError, match=f"process {sleeper.pid} already uses the data in .*stop"):
        local.start("kafka")
    sleeper.kill()
    sleeper.wait()
    with state.data_lock(data):
        pass


def test_only_the_user_can_read_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new or empty folder and the servers' data become private; a shared folder stays open."""

    def mode(path: Path) -> int:
        return path.stat().st_mode & 0o777

    (tmp_path / "empty").mkdir()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o755)
    (tmp_path / "shared" / "file").touch()
    for name, expected in (("new/state", 0o700), ("empty", 0o700), ("shared", 0o755)):
        monkeypatch.setenv("CLICKSTREAM_STATE", str(tmp_path / name))
        local.down()
        with state.data_lock(tmp_path / name / "kafka"):
            assert mode(tmp_path / name / "kafka") == 0o700
        assert mode(tmp_path / name) == expected


def test_a_path_that_java_cannot_use_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a path would be misread, the error names the variable; nothing is written."""
    monkeypatch.setenv("CLICKSTREAM_STATE", str(tmp_path / "${x}"))
    with raises_shown(ServerError, match=r"cannot use a path with '\$\{'; set another with CLICK"):
        local.up()
    monkeypatch.setenv("CLICKSTREAM_STATE", str(tmp_path / "long" / "/".join(["x" * 200] * 25)))
    with raises_shown(ServerError, match="File name too long; make it writable, or set another"):
        local.up()
    for unusable in ("a:b", "a=b", "${a}"):
        monkeypatch.setenv("CLICKSTREAM_CACHE", str(tmp_path / unusable))
        with raises_shown(FetchError, match="cannot use a path with .*with CLICKSTREAM_CACHE"):
            download.ensure_server_files()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state folder that cannot be created is one line."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLICKSTREAM_STATE", str(tmp_path / "file" / "state"))
    for look in (local.up, local.find, local.status, local.down):
        with raises_shown(ServerError, match=r"state folder .* make it writable, or set another"):
            look()


def test_too_little_room_is_told_before_anything_starts(own_state: Path) -> None:
    """A full disk and too little memory: how much there is, how much is needed."""
    with raises_shown(ServerError, match=r"GB free in .* are needed; free some space"):
        local.up(needed=FreeSpace(disk_bytes=1 << 60, memory_bytes=0))
    with raises_shown(ServerError, match=r"GB of memory available, .* close other programs"):
        local.up(needed=FreeSpace(disk_bytes=0, memory_bytes=1 << 60))
    assert set(pids().values()) == {None}


def test_an_unsupported_system_is_told_in_one_line(
    own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Native Windows is refused with a pointer to WSL2."""
    monkeypatch.setattr(sys, "platform", "win32")
    with raises_shown(ServerError, match="use WSL2 with Ubuntu"):
        local.up()


def test_a_pid_that_belongs_to_somebody_else_now_is_not_ours(own_state: Path) -> None:
    """A reused pid is not taken for our process and not stopped."""
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        remembered = {"pid": sleeper.pid, "port": 1}
        (own_state / "kafka.json").write_text(json.dumps(remembered))
        assert pids()["kafka"] is None
        assert local.down() == ()
        assert sleeper.poll() is None
    finally:
        sleeper.send_signal(signal.SIGKILL)
        sleeper.wait()
