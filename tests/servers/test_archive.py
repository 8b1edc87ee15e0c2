"""The cache in one file: whole and checked in the other room, or one line and nothing."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from clickstream import archive, cli_cache, fetch, listed
from clickstream.errors import FetchError

ROOT = Path(__file__).parent.parent.parent
HOME = f"servers/opensearch-{fetch.OPENSEARCH_VERSION}"
RUNTIME = "requirements.lock-0123456789abcdef-cpython-311-linux-x86_64"
DEV = "requirements-dev.lock-0123456789abcdef-cpython-311-linux-x86_64"
WHEELS = [RUNTIME, DEV]
FILES = {
    "servers/broker-1.0.jar": b"a jar of a broker\n" * 4_000,
    "servers/clients-2.0.jar": b"another jar\n" * 4_000,
    f"{HOME}/lib/core.jar": b"what searches\n" * 4_000,
    f"wheels/{RUNTIME}/plotly-6-py3-none-any.whl": b"what draws\n" * 4_000,
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which everything is that a list of three small files names, with a wheel."""
    folder = tmp_path / "cache"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / HOME / "plugins").mkdir()  # OpenSearch does not start without
    lines = [f"{'0' * 64} 99 {fetch._OPENSEARCH}\n"]
    for name, coordinate in {
        "servers/broker-1.0.jar": "com.example:broker:jar:1.0",
        "servers/clients-2.0.jar": "com.example:clients:jar:2.0",
    }.items():
        sha256 = hashlib.sha256(FILES[name]).hexdigest()
        lines.append(f"{sha256} {len(FILES[name])} {coordinate}\n")
    path = tmp_path / "servers.sha256"
    path.write_text("".join(lines))
    (folder / "servers" / listed.marker(path)).touch()
    monkeypatch.setattr(archive, "_LIST", path)
    monkeypatch.setattr(fetch, "_LIST", path)
    return folder


@pytest.fixture
def stick(cache: Path, tmp_path: Path) -> Path:
    """What was exported from it."""
    file = tmp_path / "stick" / "clickstream.tar"
    file.parent.mkdir()
    archive.export(file, cache, WHEELS)
    return file


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """The cache of another machine, where nothing is yet."""
    return tmp_path / "room"


def tree(folder: Path) -> dict[str, bytes | None]:
    """All files with their content, and all folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != "servers.lock"
    }


def refused(file: Path, room: Path) -> str:
    """The one line with which a file is refused; nothing of it is in the cache."""
    with pytest.raises(FetchError) as told:
        archive.use(file, room, WHEELS)
    assert set(tree(room)) <= {"servers", "wheels"}
    assert "\n" not in str(told.value)
    return str(told.value)


def test_what_was_exported_is_used_in_another_room(
    cache: Path, stick: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, empty folders too, and then nothing is left to fetch."""
    assert archive.use(stick, room, WHEELS) == [f"0 MB of {stick} are now in {room}"]
    assert tree(room) == tree(cache)
    assert os.listdir(stick.parent) == [stick.name]
    monkeypatch.setenv("CLICKSTREAM_CACHE", str(room))
    monkeypatch.setenv("CLICKSTREAM_MAVEN_MIRROR", "http://127.0.0.1:9")  # nobody is there
    assert fetch.ensure_server_files().opensearch_home == room / HOME


def test_the_test_tools_come_along_where_they_were_prepared(
    cache: Path, room: Path, tmp_path: Path
) -> None:
    """And nothing else that lies in a cache, such as wheels of older locks."""
    for name in (DEV, "requirements.lock-fedcba9876543210-cpython-311-linux-x86_64"):
        (cache / "wheels" / name).mkdir()
        (cache / "wheels" / name / "pytest-9-py3-none-any.whl").write_bytes(b"what tests")
    (cache / "servers" / "older-0.9.jar").write_bytes(b"of an older list")
    archive.export(tmp_path / "clickstream.tar", cache, WHEELS)
    archive.use(tmp_path / "clickstream.tar", room, WHEELS)

    assert sorted(os.listdir(room / "wheels")) == [DEV, RUNTIME]
    assert not (room / "servers" / "older-0.9.jar").exists()


def test_the_same_cache_gives_the_same_file(cache: Path, stick: Path) -> None:
    """A second export replaces the first; neither says when or by whom it was made."""
    first = stick.read_bytes()
    for path in cache.rglob("*"):
        os.utime(path, (1, 1))
    assert archive.export(stick, cache, WHEELS) == len(first)
    assert stick.read_bytes() == first


def test_what_is_there_already_is_left(stick: Path, room: Path) -> None:
    """A second use is harmless, and one jar that was lost comes back alone."""
    archive.use(stick, room, WHEELS)
    wheel = room / "wheels" / RUNTIME / "plotly-6-py3-none-any.whl"
    wheel.write_bytes(b"ours")
    (room / "servers" / "broker-1.0.jar").unlink()
    (room / "servers" / "staging-killed").mkdir()

    archive.use(stick, room, WHEELS)
    assert archive.use(stick, room, WHEELS) == [f"{stick} has nothing that was not in {room}"]
    assert wheel.read_bytes() == b"ours"
    assert (room / "servers" / "broker-1.0.jar").exists()
    assert not (room / "servers" / "staging-killed").exists()


@pytest.mark.parametrize(
    "part",
    ["servers/broker-1.0.jar", HOME, "servers/complete-", f"wheels/{RUNTIME}"],
    ids=["a jar", "OpenSearch", "the marker", "the wheels"],
)
def test_what_is_not_in_the_cache_is_named_and_nothing_is_written(
    cache: Path, stick: Path, part: str
) -> None:
    """With the remedy; a file of an earlier export stays."""
    before = stick.read_bytes()
    (path,) = cache.glob(f"{part}*")
    path.rename(path.with_name("aside"))
    with pytest.raises(FetchError, match=f"{part}.* is not there; run `make prepare`, then"):
        archive.export(stick, cache, WHEELS)
    assert stick.read_bytes() == before
    assert os.listdir(stick.parent) == [stick.name]


def test_a_jar_that_changed_in_the_cache_is_not_carried_on(cache: Path, stick: Path) -> None:
    """It is named, and the file of an earlier export stays."""
    before = stick.read_bytes()
    jar = cache / "servers" / "broker-1.0.jar"
    jar.write_bytes(jar.read_bytes()[::-1])
    with pytest.raises(FetchError, match=r"broker-1\.0\.jar is not what the list names"):
        archive.export(stick, cache, WHEELS)
    assert stick.read_bytes() == before
    assert os.listdir(stick.parent) == [stick.name]


def test_a_place_that_cannot_be_written_is_told_in_one_line(
    cache: Path, stick: Path, tmp_path: Path
) -> None:
    """Of the file, and of the cache it is to go into."""
    with pytest.raises(FetchError, match=r"writing .*gone/x\.tar: No such file or directory; "):
        archive.export(tmp_path / "gone" / "x.tar", cache, WHEELS)
    with pytest.raises(FetchError, match=r"putting .*Not a directory; .* CLICKSTREAM_CACHE"):
        archive.use(stick, stick / "cache", WHEELS)


def ends(stick: Path) -> list[int]:
    """Where each file in it ends, but the sums, which come last."""
    with tarfile.open(stick) as tar:
        members = list(tar)
    after = [following.offset for following in members[1:]]
    return [end for end, member in zip(after, members, strict=False) if member.size]


@pytest.mark.parametrize("place", ["in a file", "after a file", "in a header", "before the sums"])
def test_a_file_that_was_cut_is_refused(stick: Path, room: Path, place: str) -> None:
    """Wherever the copy broke off."""
    first, *_, last = ends(stick)
    size = {
        "in a file": first - 10_000,
        "after a file": first,
        "in a header": first + 100,
        "before the sums": last,
    }[place]
    os.truncate(stick, size)
    assert "copy the file anew" in refused(stick, room)


@pytest.mark.parametrize("name", FILES)
def test_a_byte_that_changed_is_found(stick: Path, room: Path, name: str) -> None:
    """In jars, in what was unpacked, and in wheels."""
    with tarfile.open(stick) as tar:
        place = tar.getmember(name).offset_data + 1_000
    with stick.open("r+b") as file:
        file.seek(place)
        file.write(b"X")
    assert f"'{name}' is damaged; copy the file anew" in refused(stick, room)


def test_a_jar_is_held_against_the_list_and_not_against_the_file_s_word(
    cache: Path, room: Path, tmp_path: Path
) -> None:
    """Who can change a jar can change the sums beside it."""
    changed = tmp_path / "changed.tar"
    with tarfile.open(changed, "w") as tar:
        add(tar, "servers/broker-1.0.jar", b"another")
        sums = f"{hashlib.sha256(b'another').hexdigest()}  servers/broker-1.0.jar\n"
        add(tar, "SHA256SUMS", sums.encode())
    assert "'servers/broker-1.0.jar' is damaged" in refused(changed, room)


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = b"0") -> None:
    """Put a member of any kind into a tar file."""
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(content), kind, "servers/broker-1.0.jar"
    tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("notes.txt", tarfile.REGTYPE),
        ("../outside", tarfile.REGTYPE),
        ("/outside", tarfile.REGTYPE),
        ("servers/../../outside", tarfile.REGTYPE),
        (f"{HOME}/../../../outside", tarfile.DIRTYPE),
        (f"{HOME}/link", tarfile.SYMTYPE),
        (f"{HOME}/link", tarfile.LNKTYPE),
        (f"{HOME}/pipe", tarfile.FIFOTYPE),
    ],
)
def test_what_does_not_belong_there_is_refused(
    stick: Path, room: Path, name: str, kind: bytes
) -> None:
    """Whatever else is in the file, and before anything of it is taken."""
    with tarfile.open(stick, "a") as tar:
        add(tar, name, kind=kind)
    assert f"'{name}' does not belong there" in refused(stick, room)
    assert not list(room.parent.rglob("outside"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [(HOME, tarfile.REGTYPE), ("servers/broker-1.0.jar", tarfile.DIRTYPE)],
    ids=["a file for a folder", "a folder for a file"],
)
def test_a_name_of_another_kind_is_not_taken(
    cache: Path, room: Path, tmp_path: Path, name: str, kind: bytes
) -> None:
    """It would stand for ever where the right one belongs."""
    file = tmp_path / "odd.tar"
    with tarfile.open(file, "w") as tar:
        add(tar, name, kind=kind)
        add(tar, "servers/other.jar")
        empty = hashlib.sha256(b"").hexdigest()
        names = ["servers/other.jar", *([name] if kind == tarfile.REGTYPE else [])]
        add(tar, "SHA256SUMS", "".join(f"{empty}  {each}\n" for each in names).encode())
    archive.use(file, room, WHEELS)
    assert not (room / name).exists()


def test_what_is_no_such_file_is_told_in_one_line(cache: Path, room: Path, tmp_path: Path) -> None:
    """With what it should have been."""
    (tmp_path / "photo.tar").write_bytes(os.urandom(20_000))
    (tmp_path / "empty.tar").write_bytes(b"")
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as tar:
        add(tar, "servers/broker-1.0.jar")
    for name in ("photo.tar", "empty.tar", "packed.tar"):
        assert f"{name}: it is no tar file; name one that" in refused(tmp_path / name, room)
    assert "gone.tar: No such file or directory; name" in refused(tmp_path / "gone.tar", room)
    assert "Is a directory; name" in refused(tmp_path, room)


def test_wheels_of_another_python_are_left_and_the_servers_taken(stick: Path, room: Path) -> None:
    """In one line: what they are for, what this is, and what follows."""
    other = RUNTIME.replace("311", "312")
    _, line = archive.use(stick, room, [other])
    assert line == (
        "its Python packages are for cpython-311-linux-x86_64, and this is "
        "cpython-312-linux-x86_64: packages will be fetched from the network"
    )
    assert os.listdir(room / "wheels") == []
    assert (room / HOME / "lib" / "core.jar").exists()


def test_of_another_version_of_the_kit_what_fits_is_taken(stick: Path, room: Path) -> None:
    """Other servers and other locks are told in a line each; nothing is called complete."""
    path = archive._LIST
    path.write_text(path.read_text().replace(":clients:jar:2.0", ":clients:jar:3.0"))
    _, servers, packages = archive.use(stick, room, [RUNTIME.replace("01234", "56789")])

    assert servers.startswith("its servers are of another version of the kit: 0 MB will be ")
    assert packages.startswith("its Python packages are of another version of the kit: ")
    assert {name.name for name in (room / "servers").iterdir()} == {
        "broker-1.0.jar",
        Path(HOME).name,
    }


def test_using_waits_for_who_fills_the_cache(stick: Path, room: Path) -> None:
    """The lock is the one under which the servers are fetched."""
    room.mkdir()
    using = threading.Thread(target=archive.use, args=(stick, room, WHEELS))
    with FileLock(room / "servers.lock"):
        using.start()
        using.join(0.3)
        assert using.is_alive()
        assert not (room / "servers" / "broker-1.0.jar").exists()
    using.join(10)
    assert (room / "servers" / "broker-1.0.jar").exists()


def test_it_is_used_without_any_package(tmp_path: Path) -> None:
    """By a Python that sees the standard library alone, as before there is a .venv."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "scripts/install.py", "--use", str(tmp_path / "gone.tar")],
        cwd=ROOT,
        env={**os.environ, "CLICKSTREAM_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"reading {tmp_path / 'gone.tar'}: No such file or directory; "
        "name one that `clickstream cache export` wrote\n"
    )


def test_make_use_without_a_file_says_how() -> None:
    """In one line, before anything is done."""
    done = subprocess.run(
        ["make", "-s", "use"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stderr.startswith("no file is named; name it so: make use FILE=clickstream.tar\n")


def test_the_command_carries_the_wheels_that_prepare_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those of both locks, for this Python, by the name that the installer gives them."""
    monkeypatch.setenv("CLICKSTREAM_CACHE", str(tmp_path))
    runtime, dev = cli_cache._wheels()
    tag = sys.implementation.cache_tag
    assert runtime.startswith("requirements.lock-")
    assert dev.startswith("requirements-dev.lock-")
    assert f"-{tag}-" in runtime
    assert f"-{tag}-" in dev
