"""What every make target does first: one line where it cannot, and nothing twice."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with no arguments given."""
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
    """Which one this is, which is needed, and the command to use another."""
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match=r"this is Python 3\.9, the kit needs 3\.11"):
        install.check_python()


def test_native_windows_is_refused_in_one_line(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way in is WSL2."""
    monkeypatch.setattr(install.os, "name", "nt")
    with pytest.raises(SystemExit, match="use WSL2 with Ubuntu"):
        install.check_python()


def test_a_python_without_venv_names_the_package(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Debian's is."""
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
    """Whatever pip says, of its many lines the one that matters."""
    script = f"import sys; print('Collecting'); print({said!r}); sys.exit(1)"
    with pytest.raises(SystemExit) as told:
        install.run([sys.executable, "-c", script], "installing packages")
    line = str(told.value)
    assert line.startswith("installing packages failed: ERROR: ")
    assert remedy in line
    assert "\n" not in line


def test_what_is_installed_is_not_installed_again(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Until a lock changes; the test set holds the runtime set."""
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(install, "ROOT", str(tmp_path))
    monkeypatch.setattr(install, "VENV", str(tmp_path / ".venv"))
    (tmp_path / ".venv").mkdir()

    assert not install.is_ready(install.RUNTIME)
    Path(install.stamp(install.DEV)).touch()
    assert install.is_ready(install.RUNTIME)
    assert install.is_ready(install.DEV)
    (tmp_path / "requirements-dev.lock").write_text("another")
    assert not install.is_ready(install.RUNTIME)


def test_the_cache_is_where_the_kit_itself_looks(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two pieces of code, one folder."""
    from clickstream import fetch  # noqa: PLC0415 - the script itself runs without the kit

    monkeypatch.delenv("CLICKSTREAM_CACHE", raising=False)
    assert Path(install.cache()) == fetch.cache_dir()
    monkeypatch.setenv("CLICKSTREAM_CACHE", str(tmp_path))
    assert Path(install.cache()) == fetch.cache_dir()
