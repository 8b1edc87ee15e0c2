"""The cache in one tar file, to carry it to a room without a network.

The file holds the servers' files as they lie in the cache, wheels by the lock, Python and
machine that they are for, and last the SHA-256 of everything before. Standard library alone:
`scripts/install.py` unpacks it on a machine that has no .venv yet.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from clickstream import listed
from clickstream.errors import FetchError

_LIST = listed.PATH
_SUMS = "SHA256SUMS"
_SERVERS = "servers"
_WHEELS = "wheels"
_REMEDY = "copy the file anew, or write it anew with `clickstream cache export`"


def export(file: Path, cache: Path, wheels: Sequence[str]) -> int:
    """Write the servers and the wheels that this clone needs into one tar file.

    Promise: the file gets its name once it is whole and on the disk; one that had the name is
    replaced then. When it fails, nothing is left of it. The cache is only read.

    Args:
        file: the tar file; uncompressed, for what is in it is compressed.
        cache: the folder that all clones share.
        wheels: the names of folders of wheels; the first has to be there, others may be.

    Returns:
        The size of the file in bytes.

    Raises:
        FetchError: something is not in the cache, or the file cannot be written.
    """
    names = _to_export(cache, wheels)
    part = file.with_name(f"{file.name}.part")
    try:
        try:
            with part.open("wb") as out:
                _write(out, cache, names)
                out.flush()
                os.fsync(out.fileno())  # a stick is pulled out as soon as the command is over
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)
        return file.stat().st_size
    except OSError as error:
        msg = f"writing {file}: {error.strerror}; mend that, or name another place"
        raise FetchError(msg) from error


def use(file: Path, cache: Path, wheels: Sequence[str]) -> list[str]:
    """Put what a file of `export` holds into the cache, where it is missing.

    Promise: only what this clone needs is taken, whole and checked: the servers' jars by the
    clone's own list, all else by the sums in the file. pip checks the wheels again, by the
    lock. When it fails, nothing is taken. Works beside others that fill the cache.

    Args:
        file: the tar file.
        cache: the folder that all clones share; made where it is not there.
        wheels: the names of folders of wheels that can be used here, the most needed first.

    Returns:
        What was taken, and what did not fit and what that means; a line each.

    Raises:
        FetchError: the file is not one of `export`, or damaged, or the cache cannot be written.
    """
    try:
        opened = tarfile.open(file, "r:")  # noqa: SIM115 - its trouble is another than the rest's
        size_mb = file.stat().st_size / 1e6
    except (OSError, tarfile.TarError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no tar file"
        msg = f"reading {file}: {why}; name one that `clickstream cache export` wrote"
        raise FetchError(msg) from error
    try:
        with opened, _staging(cache) as staging:
            found = _unpack(opened, file, staging, _missing(cache, wheels))
            took_mb = _keep(staging, cache) / 1e6
    except OSError as error:
        msg = (
            f"putting {file} into {cache}: {error.strerror}; mend that ({size_mb:,.0f} MB go "
            "there), or name another folder with CLICKSTREAM_CACHE"
        )
        raise FetchError(msg) from error
    took = f"{took_mb:,.0f} MB of {file} are now" if took_mb else f"{file} has nothing that was not"
    return [f"{took} in {cache}", *_what_does_not_fit(cache, wheels, found)]


def _to_export(cache: Path, wheels: Sequence[str]) -> list[str]:
    """Name the files and folders in the cache that this clone needs, or say what is missing."""
    servers = [f"{_SERVERS}/{each.kept_as}" for each in listed.read(_LIST)]
    servers.append(f"{_SERVERS}/{listed.marker(_LIST)}")
    needed, *others = [f"{_WHEELS}/{name}" for name in wheels]
    missing = [name for name in [*servers, needed] if not (cache / name).exists()]
    if missing:
        more = f" (and {len(missing) - 1} more)" if missing[1:] else ""
        msg = (
            f"exporting {cache}: {missing[0]}{more} is not there; run `make prepare`, "
            "then export again"
        )
        raise FetchError(msg)
    return [*servers, needed, *(name for name in others if (cache / name).exists())]


def _write(out: io.BufferedWriter, cache: Path, names: Sequence[str]) -> None:
    """Write the members, and last their sums."""
    sha256s = {f"{_SERVERS}/{each.name}": each.sha256 for each in listed.read(_LIST)}
    sums = []
    with tarfile.open(fileobj=out, mode="w:", format=tarfile.PAX_FORMAT) as tar:
        for top in names:
            for path in [cache / top, *sorted((cache / top).rglob("*"))]:
                name = path.relative_to(cache).as_posix()
                if path.is_dir():
                    _add(tar, name, None)
                    continue
                content = path.read_bytes()
                sha256 = hashlib.sha256(content).hexdigest()
                if sha256 != sha256s.get(name, sha256):
                    msg = (
                        f"exporting {cache}: {name} is not what the list names; delete it, "
                        "run `make prepare`, then export again"
                    )
                    raise FetchError(msg)
                _add(tar, name, content)
                sums.append(f"{sha256}  {name}\n")
        _add(tar, _SUMS, "".join(sums).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes | None) -> None:
    """Add a file, or a folder where there is no content; with nothing of who made it."""
    member = tarfile.TarInfo(name)
    if content is None:
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
    else:
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


@contextmanager
def _staging(cache: Path) -> Iterator[Path]:
    """Give a folder beside the servers, alone in the cache; it is gone at the end.

    The locks are those of `fetch.py` and `scripts/install.py`. What a process that was killed
    leaves is cleared up by the next, here or there.
    """
    for folder in (_SERVERS, _WHEELS):
        (cache / folder).mkdir(parents=True, exist_ok=True)
    with (cache / "servers.lock").open("a") as lock:
        wheels = os.open(cache / _WHEELS, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fcntl.flock(wheels, fcntl.LOCK_EX)
            for stale in (cache / _SERVERS).glob("staging-*"):
                shutil.rmtree(stale, ignore_errors=True)
            staging = Path(tempfile.mkdtemp(prefix="staging-", dir=cache / _SERVERS))
            try:
                yield staging
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        finally:
            os.close(wheels)


def _missing(cache: Path, wheels: Sequence[str]) -> tuple[str, ...]:
    """Name what this clone needs and the cache has not; folders end with a slash."""
    servers = [each for each in listed.read(_LIST) if not each.is_in(cache / _SERVERS)]
    return (
        *(f"{_SERVERS}/{each.kept_as}{'/' * each.is_folder}" for each in servers),
        *(f"{_WHEELS}/{name}/" for name in wheels if not (cache / _WHEELS / name).is_dir()),
    )


def _unpack(tar: tarfile.TarFile, file: Path, staging: Path, wanted: tuple[str, ...]) -> set[str]:
    """Write what is wanted into the staging folder, and check everything.

    Returns:
        The names of all folders of wheels in the file.

    Raises:
        FetchError: something in it does not belong there, or it is cut or damaged.
    """
    folders = tuple(name for name in wanted if name.endswith("/"))
    found, sums = {}, {}
    try:
        for member in tar:
            name = _checked_name(member, file)
            if member.isdir():
                if f"{name}/".startswith(folders):
                    (staging / name).mkdir(parents=True, exist_ok=True)
                continue
            content = _content(tar, member)
            if name == _SUMS:
                lines = [line.partition("  ") for line in content.decode().splitlines()]
                sums = {place: sha256 for sha256, _, place in lines}
                continue
            found[name] = hashlib.sha256(content).hexdigest()
            # Not `extract(filter="data")`: the Python 3.11.2 of Debian 12 has no filters.
            if name in wanted or name.startswith(folders):
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                (staging / name).write_bytes(content)
    except (tarfile.TarError, ValueError) as error:
        msg = f"reading {file}: it is cut or damaged ({error}); {_REMEDY}"
        raise FetchError(msg) from error
    if not sums:
        msg = f"reading {file}: its end is missing; {_REMEDY}"
        raise FetchError(msg)
    listed_sums = {f"{_SERVERS}/{each.name}": each.sha256 for each in listed.read(_LIST)}
    for name in sorted(sums.keys() | found.keys()):
        if found.get(name) != listed_sums.get(name, sums.get(name)):
            msg = f"reading {file}: {name!r} is damaged; {_REMEDY}"
            raise FetchError(msg)
    return {name.split("/")[1] for name in found if name.startswith(f"{_WHEELS}/")}


def _checked_name(member: tarfile.TarInfo, file: Path) -> str:
    """Give the name of a member; only files and folders in their places may be there."""
    parts = PurePosixPath(member.name).parts
    is_plain = member.isdir() or (member.isreg() and not member.issparse())
    is_in_place = member.name == _SUMS or parts[:1] in ((_SERVERS,), (_WHEELS,))
    if not is_plain or not is_in_place or ".." in parts:
        msg = f"reading {file}: {member.name!r} does not belong there; {_REMEDY}"
        raise FetchError(msg)
    return "/".join(parts)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = tar.extractfile(member)
    return opened.read() if opened else b""


def _keep(staging: Path, cache: Path) -> int:
    """Move what is whole and checked into the cache, and count its bytes."""
    num_bytes = 0
    for kind in (_SERVERS, _WHEELS):
        for path in sorted((staging / kind).glob("*")):
            files = [each for each in (path, *path.rglob("*")) if each.is_file()]
            num_bytes += sum(each.stat().st_size for each in files)
            os.replace(path, cache / kind / path.name)
    if not _missing(cache, []):
        (cache / _SERVERS / listed.marker(_LIST)).touch()
    return num_bytes


def _what_does_not_fit(cache: Path, wheels: Sequence[str], found: set[str]) -> list[str]:
    """Say what is still missing after a file was used, and what that means; a line each."""
    lines = []
    if lacking := sum(e.size for e in listed.read(_LIST) if not e.is_in(cache / _SERVERS)):
        lines.append(
            f"its servers are of another version of the kit: {lacking / 1e6:,.0f} MB will be "
            "fetched from the network"
        )
    if not (cache / _WHEELS / wheels[0]).is_dir():
        here, others = _made_for(wheels[0]), sorted(filter(None, map(_made_for, found)))
        why = (
            "are of another version of the kit"
            if here in others
            else f"are for {', '.join(others)}, and this is {here}"
        )
        lines.append(f"its Python packages {why}: packages will be fetched from the network")
    return lines


def _made_for(wheels: str) -> str:
    """Read from the name of a folder of wheels which Python and machine they are for."""
    match = re.fullmatch(r"[a-z-]+\.lock-[0-9a-f]+-([\w.-]+)", wheels)
    return match[1] if match else ""
