"""The installation before every make target: one-line errors, and no repeated work."""

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from clickstream.servers import manifest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, without arguments."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "scripts" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["install.py"])
    return module


def test_an_old_python_is_told_what_to_do(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the found and the required version, and the command to use another."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match=r"this is Python 3\.9, the kit needs 3\.11"):
        install.check_python()


def test_native_windows_is_refused_in_one_line(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On native Windows the error names WSL2."""
    monkeypatch.setattr(install.os, "name", "nt")
    with pytest.raises(SystemExit, match="use WSL2 with Ubuntu"):
        install.check_python()


def test_a_python_without_venv_names_the_package(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python without venv, like Debian's, is a one-line error."""
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit, match="apt install python3-venv"):
        install.check_python()


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("ERROR: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "PIP_CERT"),
        ("ERROR: ProxyError('Cannot connect to proxy.')", "HTTPS_PROXY"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "free some disk"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "another network"),
        ("ERROR: No matching distribution found for plotly", "PIP_INDEX_URL"),
    ],
)
def test_trouble_with_packages_is_one_line_with_the_remedy(
    install: ModuleType, said: str, remedy: str
) -> None:
    """A pip failure shows only the relevant line."""
    script = f"import sys; print('Collecting'); print({said!r}); sys.exit(1)"
    with pytest.raises(SystemExit) as told:
        install.run([sys.executable, "-c", script], "installing packages")
    line = str(told.value)
    assert line.startswith("installing packages failed: ERROR: ")
    assert remedy in line
    assert "\n" not in line


@pytest.fixture
def clone(install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A clone with two locks and nothing installed."""
    root = tmp_path / "clone"
    root.mkdir()
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        (root / name).write_text(name)
    stand_in(install, monkeypatch, root)
    return root


def stand_in(install: ModuleType, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Make the script use another folder."""
    monkeypatch.setattr(install, "ROOT", str(root))
    monkeypatch.setattr(install, "VENV", str(root / ".venv"))
    monkeypatch.setattr(install, "PYTHON", str(root / ".venv" / "bin" / "python"))
    monkeypatch.setattr(install, "STAMP", str(root / ".venv" / "complete"))


def fill(install: ModuleType, clone: Path, lock: str) -> None:
    """Create the files that an installation creates."""
    python = clone / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    if not python.exists():
        python.symlink_to(sys.executable)
    install.write_stamp(install.stamp(lock))


def test_what_is_installed_is_not_installed_again(install: ModuleType, clone: Path) -> None:
    """Nothing is installed again until a lock changes; the test set includes the runtime set."""
    assert not install.is_ready(install.RUNTIME)
    fill(install, clone, install.RUNTIME)
    assert install.is_ready(install.RUNTIME)
    assert not install.is_ready(install.DEV)
    fill(install, clone, install.DEV)
    assert install.is_ready(install.RUNTIME)
    assert install.is_ready(install.DEV)
    (clone / "requirements-dev.lock").write_text("another")
    assert not install.is_ready(install.RUNTIME)


def test_what_was_installed_elsewhere_is_not_taken_for_ready(
    install: ModuleType, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moved clone or an uninstalled Python leads to a new environment."""
    fill(install, clone, install.DEV)
    moved = clone.rename(clone.with_name("moved"))
    stand_in(install, monkeypatch, moved)
    assert not install.is_ready(install.DEV)

    fill(install, moved, install.DEV)
    python = moved / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(moved / "gone")
    assert not install.is_ready(install.DEV)


def test_of_two_at_once_one_waits_for_the_other(install: ModuleType, clone: Path) -> None:
    """The second of two simultaneous installations waits for the first and says so."""
    with install.locked(str(clone)):
        script = f"import install; install.locked({str(clone)!r}).__enter__()"
        process = subprocess.Popen(
            [sys.executable, "-c", script], cwd=ROOT / "scripts", stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert "Another make is running" in process.stdout.readline()
        assert process.poll() is None
    assert process.wait(10) == 0
    process.stdout.close()


def test_wheels_are_kept_apart_by_python_and_machine(install: ModuleType, clone: Path) -> None:
    """One cache keeps wheels by Python version and machine."""
    name = Path(install.wheels(install.DEV)).name
    assert sys.implementation.cache_tag in name
    assert sysconfig.get_platform() in name


def test_wheels_that_cannot_be_kept_are_told_in_one_line(
    install: ModuleType, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unusable cache is an error that names the variable for another folder."""
    monkeypatch.setenv("CLICKSTREAM_CACHE", str(clone / "pyproject.toml"))
    with pytest.raises(SystemExit, match=r"storing wheels in .*; .* CLICKSTREAM_CACHE"):
        install.prepare(install.DEV)


def test_servers_that_are_there_need_no_fetching(
    install: ModuleType, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other versions and incomplete server files in the cache do not count."""
    monkeypatch.setenv("CLICKSTREAM_CACHE", str(clone / "cache"))
    servers = clone / "cache" / "servers"
    servers.mkdir(parents=True)
    (servers / "kafka_2.13-0.1.jar").touch()
    assert install.servers_mb() > 100
    wanted = manifest.read(manifest.PATH)
    for each in wanted:
        if each.is_folder:
            (servers / each.cached_name).mkdir()
        else:
            (servers / each.name).touch()
            os.truncate(servers / each.name, each.size)
    assert install.servers_mb() == 0
    largest = max((each for each in wanted if not each.is_folder), key=lambda each: each.size)
    os.truncate(servers / largest.name, largest.size // 2)
    assert install.servers_mb() == largest.size // 1_000_000 > 0


def test_what_filled_the_cache_before_names_what_does_now() -> None:
    """The removed option names its replacement in one line and installs nothing."""
    done = subprocess.run(
        [sys.executable, "-S", "scripts/install.py", "--use", "clickstream.tar"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch("--use was removed: pack the cache with `tar`, .*\n", done.stderr)


def test_a_python_that_is_not_there_is_told_with_what_to_install() -> None:
    """A missing Python is reported first, with the package to install."""
    done = subprocess.run(
        ["make", "status", "PYTHON=nopython3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.startswith("no nopython3 here; install Python 3.11 or newer (Debian and")


def test_the_cache_is_where_the_kit_itself_looks(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The script and the library use the same cache folder, however it is written."""
    from clickstream.servers import download  # noqa: PLC0415 - the script itself runs without the kit

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path / "c")
    for variable, named, expected in (
        ("CLICKSTREAM_CACHE", "", ".cache/clickstream"),
        ("CLICKSTREAM_CACHE", "~/c", "c"),
        ("CLICKSTREAM_CACHE", str(tmp_path / "link"), "c"),
        ("XDG_CACHE_HOME", "relative", ".cache/clickstream"),
        ("XDG_CACHE_HOME", str(tmp_path / "c"), "c/clickstream"),
    ):
        monkeypatch.delenv("CLICKSTREAM_CACHE", raising=False)
        monkeypatch.setenv(variable, named)
        assert Path(install.cache()) == download.cache_dir() == tmp_path / expected


def test_pip_takes_only_the_network_from_the_user(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the user's files and variables only index, proxy, certificates and the like count."""
    (tmp_path / "pip.conf").write_text(
        "[global]\nquiet = 1\nindex-url = https://mirror.example/it's\nproxy = http://file\n"
        "trusted-host =\n  a.example\n  b.example\n[install]\nuser = true\nno_binary = :all:\n"
    )
    monkeypatch.setattr(install, "PYTHON", sys.executable)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "PIP_PROXY": "http://variable",
        "PIP_REQUIRE_HASHES": "1",
        "PIP_TARGET": str(tmp_path),
        "PYTHONPATH": str(tmp_path),
        "HTTPS_PROXY": "http://kept",
    }.items():
        monkeypatch.setenv(name, value)
    found = install.for_pip()

    for name, value in {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "https://mirror.example/it's",
        "PIP_PROXY": "http://variable",
        "PIP_TRUSTED_HOST": "\na.example\nb.example",
        "HTTPS_PROXY": "http://kept",
    }.items():
        assert found[name] == value
    refused = {"PIP_USER", "PIP_NO_BINARY", "PIP_REQUIRE_HASHES", "PIP_TARGET", "PYTHONPATH"}
    assert refused.isdisjoint(found)

    (tmp_path / "pip.conf").write_text("broken")
    with pytest.raises(SystemExit, match=r"settings of pip failed: .*pip\.conf.*; fix that file"):
        install.for_pip()


def test_make_runs_python_without_the_settings_of_others(tmp_path: Path) -> None:
    """The user's PYTHONHOME, PYTHONSTARTUP and the like never reach what make runs."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nenv\n")
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "venv", f"PYTHON={python}"],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONHOME": "/nowhere", "PYTHONSTARTUP": "x", "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=True,
    )
    given = {line for line in done.stdout.splitlines() if line.startswith("PYTHON")}
    assert given == {f"PYTHON={python}", "PYTHONIOENCODING=:replace"}


def test_a_clone_has_the_same_bytes_with_every_setting_of_git(tmp_path: Path) -> None:
    """With core.autocrlf the files whose hashes name the prepared cache keep their line ends."""
    clone = [*("git", "clone", "-q", "--no-checkout", "-c", "core.autocrlf=true"), str(ROOT)]
    subprocess.run([*clone, str(tmp_path / "clone")], check=True)
    wanted = [".gitattributes", "*.lock", "pyproject.toml", "clickstream/servers"]
    subprocess.run(["git", "checkout", "HEAD", *wanted], cwd=tmp_path / "clone", check=True)
    for name in ("requirements.lock", "pyproject.toml", manifest.PATH.relative_to(ROOT)):
        assert b"\r" not in (tmp_path / "clone" / name).read_bytes()
