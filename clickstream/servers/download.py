"""The servers' files: download them once, verify them, and cache them for every clone.

The list `servers.sha256` beside this module pins every file: SHA-256, size in bytes, Maven
coordinate. jgo downloads into a private staging folder, because it writes to the final path and
only warns about a bad checksum. A complete file moves into the cache after verification. Only files
on the list are downloaded or unpacked. `scripts/pin_servers.py` writes the list.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from filelock import FileLock
from platformdirs import user_cache_path
from tqdm import tqdm

from clickstream.errors import FetchError
from clickstream.servers import manifest
from clickstream.servers.manifest import PinnedFile
from clickstream.settings import typed_path

if TYPE_CHECKING:
    from jgo.maven import Artifact, PythonResolver

KAFKA_VERSION = "4.3.1"
OPENSEARCH_VERSION = "3.6.0"

_UNPACKED_SHA256 = "222c3fd2708be561f77552f74391a93600ac9b719139273390b76fc34a1a5d79"
"""Hash of the unpacked folder by `_sha256_of_folder`; an error shows the hash it found."""
# analysis-common needs Thai text segmentation, which our Java lacks, and with this module no index
# can be created; ingest-geoip takes 73 MB and is not used.
_LEFT_OUT = ("modules/analysis-common/", "modules/ingest-geoip/")

_LIST = manifest.PATH
_TRIES = 3
_TIMEOUT_S = 30
_AT_ONCE = 4
_LAST_CHUNK_S = 1.0
"""How long threads get at the end to notice the stop."""

Advance = Callable[..., None]
"""Adds received bytes to the progress bar; raises `CancelledError` after the download ended."""


@dataclass(frozen=True)
class ServerFiles:
    """The folders of the installed servers."""

    kafka_jars: tuple[Path, ...]
    opensearch_home: Path


def cache_dir() -> Path:
    """Return the cache folder of all clones; `CLICKSTREAM_CACHE` overrides it."""
    return typed_path(os.environ.get("CLICKSTREAM_CACHE") or user_cache_path("clickstream"))


def missing_bytes() -> int:
    """Return the bytes that `ensure_server_files` would download now; 0 if nothing is missing."""
    return sum(each.size for each in _pinned() if not _is_cached(each))


def clear_cache() -> int:
    """Delete the cache (servers and wheels) and return the bytes freed; 0 without a cache."""
    freed = 0
    for part in (_servers_dir(), cache_dir() / "wheels"):
        freed += sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
        shutil.rmtree(part, ignore_errors=True)
    return freed


def ensure_server_files(*, with_bar: bool = False) -> ServerFiles:
    """Bring the servers' files into the cache, where they are missing.

    Promise: every file in the cache is complete and verified. A truncated or interrupted download,
    or one with a wrong checksum, leaves nothing in the cache; the next call continues with the
    missing files. Without the marker of a complete verification, as in a copy of another cache, all
    files are verified and damaged ones are downloaded again. Two processes may call this at once.

    Args:
        with_bar: show a progress bar on stderr.

    Raises:
        FetchError: one line that says which file, what happened, and what to do.
    """
    for unusable in (":", "=", "${"):  # in a class path, a Java option or a setting of OpenSearch
        if unusable in str(cache_dir()):
            msg = f"cache folder {cache_dir()}: Java cannot use a path with '{unusable}'"
            raise FetchError(msg, "set another with CLICKSTREAM_CACHE")
    if missing_bytes() or not _marker().exists():
        try:
            _servers_dir().mkdir(parents=True, exist_ok=True)
            with FileLock(cache_dir() / "servers.lock"):
                _fetch_missing(with_bar)
        except OSError as error:
            needed_mb = sum(each.size for each in _pinned()) * 3 / 1e6
            msg = f"storing the servers' files in {cache_dir()}: {error.strerror or error}"
            hint = f"free {needed_mb:,.0f} MB there, or set another folder with CLICKSTREAM_CACHE"
            raise FetchError(msg, hint) from error
    return ServerFiles(
        tuple(_servers_dir() / each.name for each in _pinned() if not each.is_folder),
        _servers_dir() / f"opensearch-{OPENSEARCH_VERSION}",
    )


def _pinned() -> list[PinnedFile]:
    return manifest.read(_LIST)


def _servers_dir() -> Path:
    return cache_dir() / "servers"


def _marker() -> Path:
    return _servers_dir() / manifest.marker(_LIST)


def _is_cached(each: PinnedFile) -> bool:
    return each.is_in(_servers_dir())


def _fetch_missing(with_bar: bool) -> None:
    from jgo.maven import PythonResolver

    for stale in _servers_dir().glob("staging-*"):  # left by a killed process
        shutil.rmtree(stale, ignore_errors=True)
    if not _marker().exists():
        _remove_damaged(with_bar)
    missing = [each for each in _pinned() if not _is_cached(each)]
    staging = Path(tempfile.mkdtemp(prefix="staging-", dir=_servers_dir()))
    is_over, slots = threading.Event(), threading.Semaphore(_AT_ONCE)
    outcomes: SimpleQueue[BaseException | None] = SimpleQueue()
    total = sum(each.size for each in missing)
    with tqdm(total=total, unit="B", unit_scale=True, desc="servers", disable=not with_bar) as bar:

        def advance(num_bytes: int = 0) -> None:
            if is_over.is_set():
                raise CancelledError
            bar.update(num_bytes)

        @contextmanager
        def progress(filename: str, total: int) -> Iterator[Advance]:
            bar.set_postfix_str(filename, refresh=False)
            yield advance

        resolver = PythonResolver(progress_callback=progress)

        def fetch(each: PinnedFile) -> None:
            outcome: BaseException | None = None
            try:
                with slots:
                    _fetch(each, staging, resolver, advance)
            except BaseException as error:  # raised below, in the caller's thread
                outcome = error
            outcomes.put(outcome)

        # At exit Python waits for all non-daemon threads, also of pools; one may hang in a read.
        threads = [threading.Thread(target=fetch, args=(each,), daemon=True) for each in missing]
        try:
            for thread in threads:
                thread.start()
            for _ in threads:
                if error := outcomes.get():
                    raise error
            _marker().touch()
        finally:
            is_over.set()
            if _have_ended(threads, _LAST_CHUNK_S):
                shutil.rmtree(staging, ignore_errors=True)
            # Otherwise the next call cleans up.


def _have_ended(threads: list[threading.Thread], timeout_s: float) -> bool:
    ends_s = time.monotonic() + timeout_s
    for thread in filter(threading.Thread.is_alive, threads):
        thread.join(max(0.0, ends_s - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _remove_damaged(with_bar: bool) -> None:
    for each in filter(_is_cached, _pinned()):
        path = _servers_dir() / each.cached_name
        if each.is_folder:
            if _sha256_of_folder(path) != _UNPACKED_SHA256:
                shutil.rmtree(path)
        elif sha256(path) != each.sha256:
            path.unlink()
        if with_bar and not path.exists():
            tqdm.write(f"{path} is damaged; downloading it again", file=sys.stderr)


def sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of_folder(folder: Path) -> str:
    """Hash all names in a folder and the contents of its files."""
    lines = sorted(
        f"{path.relative_to(folder).as_posix()} {sha256(path) if path.is_file() else ''}\n"
        for path in folder.rglob("*")
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _fetch(each: PinnedFile, staging: Path, resolver: PythonResolver, advance: Advance) -> None:
    for attempt in range(1, _TRIES + 1):
        advance()
        try:
            folder = staging / f"{each.name}-{attempt}"
            path = artifact(each.coordinate, folder, resolver).resolve()
            _check(each, path)
        # jgo raises a RuntimeError if no repository has the file; requests' errors are OSErrors.
        except (OSError, FetchError, RuntimeError, AssertionError) as error:
            if _is_about_disk(error):
                raise
            if attempt == _TRIES:
                raise _fetch_error(each, error) from error
        else:
            if each.is_folder:
                path = _unpack(each, path, advance)
            os.replace(path, _servers_dir() / each.cached_name)
            return


def artifact(coordinate: str, repo_cache: Path, resolver: PythonResolver) -> Artifact:
    """Return jgo's handle of a file; `resolve` of it downloads into the folder `repo_cache`."""
    from jgo.maven import MavenContext

    group, name, packaging, version = coordinate.split(":")
    mirror = os.environ.get("CLICKSTREAM_MAVEN_MIRROR")
    context = MavenContext(
        resolver=resolver,
        repo_cache=repo_cache,
        local_repos=[],
        remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
        timeout=_TIMEOUT_S,
    )
    return context.project(group, name).at_version(version).artifact(packaging=packaging)


def _check(each: PinnedFile, path: Path) -> None:
    found, size = sha256(path), path.stat().st_size
    if size != each.size:
        msg = f"received {size:,} of {each.size:,} bytes"
        raise FetchError(msg)
    if found != each.sha256:
        msg = f"its SHA-256 is {found[:12]}…, not {each.sha256[:12]}…"
        raise FetchError(msg)


def _unpack(each: PinnedFile, path: Path, advance: Advance) -> Path:
    unpacked = path.parent / "unpacked"
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            advance()
            if not member.partition("/")[2].startswith(_LEFT_OUT):
                archive.extract(member, unpacked)
    (top,) = unpacked.iterdir()
    if (found := _sha256_of_folder(top)) != _UNPACKED_SHA256:
        msg = f"unpacking {each.name}: the SHA-256 of its files is {found}, not {_UNPACKED_SHA256}"
        raise FetchError(msg)
    return top


def _without_password(text: str) -> str:
    """Remove user and password from every URL."""
    return re.sub(r"//[^/\s]*@", "//", text)


def _is_about_disk(error: Exception) -> bool:
    code = error.errno if isinstance(error, OSError) else None
    return code in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM)


def _fetch_error(each: PinnedFile, error: Exception) -> FetchError:
    # By name, so that requests, which is jgo's, need not be imported.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    mirror = os.environ.get("CLICKSTREAM_MAVEN_MIRROR") or "none"
    hint = (
        f"try again; behind a firewall, set a mirror with CLICKSTREAM_MAVEN_MIRROR (now: {mirror})"
    )
    cause = str(error)
    if "SSLError" in kinds:
        cause = "the certificate was not accepted"
        hint = "set your company's CA file with REQUESTS_CA_BUNDLE"
    elif "ProxyError" in kinds:
        cause, hint = "the proxy refused the connection", "set or fix HTTPS_PROXY"
    elif isinstance(error, OSError):
        cause = f"the connection failed ({type(error).__name__})"
    msg = f"downloading {each.name}: {cause}"
    return FetchError(_without_password(msg), _without_password(hint))
