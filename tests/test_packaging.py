"""Committed files are consistent, and contain nothing specific to one machine."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# What conda-forge calls by another name.
CONDA_NAMES = {"python-confluent-kafka": "confluent-kafka"}
# Written in halves, so that this file does not name what it looks for.
REGISTRIES = [
    "pypi." + "org",
    "python" + "hosted",
    "maven." + "org",
    "npm" + "js",
    "crates." + "io",
]
MACHINE_PATH = re.compile(r"(?<![\w.-])/(?:root|home/\w+|Users/\w+|work|tmp)/")


def tracked(*patterns: str) -> list[Path]:
    """Files that git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, check=True
    )
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def notebooks() -> list[Path]:
    """The notebooks that git tracks."""
    return tracked("*.ipynb")


def requirement(text: str) -> tuple[str, str]:
    """Name and bound of one requirement."""
    match = re.fullmatch(r"([\w.-]+)\s*(.*)", text)
    assert match is not None, text
    return match[1].lower(), match[2]


def locked(name: str) -> dict[str, list[str]]:
    """Packages of a lock, with their hashes."""
    text = (ROOT / name).read_text()
    entries = re.findall(r"^([\w.-]+)==\S+(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    return {package.lower(): re.findall(r"sha256:\w{64}", rest) for package, rest in entries}


def test_conda_gets_the_same_packages_as_pip() -> None:
    """environment.yml and pyproject.toml list the same packages with the same bounds."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (by_pip,) = [entry["pip"] for entry in environment if isinstance(entry, dict)]
    by_conda = [entry for entry in environment if isinstance(entry, str)]
    found = dict(requirement(entry) for entry in by_conda + by_pip if entry != "-e .")

    assert "-e ." in by_pip
    assert found.pop("python") == PROJECT["project"]["requires-python"]
    assert found.pop("pip") == ""
    renamed = {CONDA_NAMES.get(name, name): bound for name, bound in found.items()}
    assert renamed == dict(requirement(entry) for entry in PROJECT["project"]["dependencies"])


def test_the_lock_pins_every_package_with_its_hashes() -> None:
    """The runtime lock has runtime and build packages; the test lock adds the test tools."""
    runtime, dev = locked("requirements.lock"), locked("requirements-dev.lock")
    groups = PROJECT["dependency-groups"]
    wanted = PROJECT["project"]["dependencies"] + groups["build"]

    assert {requirement(entry)[0] for entry in wanted} <= set(runtime)
    assert {requirement(entry)[0] for entry in groups["dev"]} <= set(dev)
    assert set(runtime) <= set(dev)
    assert [name for name, hashes in dev.items() if not hashes] == []
    assert "pytest" not in runtime


def test_both_locks_pin_the_same_versions() -> None:
    """Both locks pin the same versions, so tests and demos use the same packages."""
    pins = [
        dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-dev.lock")
    ]
    assert {name: version for name, version in pins[0].items() if pins[1][name] != version} == {}


def test_no_file_names_a_registry_or_a_path_of_one_machine() -> None:
    """No file names a package registry or an absolute path of one machine."""
    named = {}
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        found = [name for name in REGISTRIES if name in text] + MACHINE_PATH.findall(text)
        if found and path != Path(__file__):
            named[path.name] = found
    assert named == {}


def test_nothing_secret_can_be_committed_from_conf() -> None:
    """Git tracks only the README and examples of conf/, and ignores the rest."""
    names = {path.name for path in tracked("conf")}
    secret = ("kafka.json", "service.key", "ca.pem", "service.cert", "a.pem/kafka.json")
    ignored = subprocess.run(
        ["git", "check-ignore", *(f"conf/{name}" for name in secret)],
        cwd=ROOT,
        capture_output=True,
        check=False,
    ).stdout.decode()

    assert {name for name in names if not name.endswith(".example")} == {"README.md"}
    assert len(ignored.split()) == len(secret)


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_a_notebook_keeps_the_rules(path: Path) -> None:
    """Notebooks have no outputs, a kernel name, prose before every cell, and short cells."""
    notebook = json.loads(path.read_text())
    cells = notebook["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    code = [i for i, cell in enumerate(cells) if cell["cell_type"] == "code"]

    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert [i for i in code if cells[i]["outputs"] or cells[i]["execution_count"]] == []
    assert [i for i in code if cells[i - 1]["cell_type"] != "markdown"] == []
    assert [sources[i] for i in code if len(sources[i].splitlines()) > 12] == []
    assert [sources[i] for i in code if re.search(r"sleep|while True|^[!%]", sources[i])] == []
    assert sources[0].startswith("# ")
    assert "?\n" in sources[0]
    for promise in ("**You will see**", "**Minutes:**", "**Before this:**", "**Next:**"):
        assert promise in sources[0]
    for hint in ("<summary>Presenter</summary>", "*Say:*", "*Do:*", "*Expect:*", "*If it fails:*"):
        assert hint in sources[0]
    outside = [re.sub(r"(?s)<details>.*?</details>", "", source) for source in sources]
    assert [text for text in outside if re.search(r"Presenter|\*(Say|Do|Expect):", text)] == []
    # JupyterLab's arrow keys skip a folded cell.
    assert [cells[i]["metadata"] for i in code if cells[i]["metadata"]] == []
    assert "## What you saw" in sources[-1]


def test_links_between_notebooks_lead_somewhere() -> None:
    """Every linked notebook exists."""
    names = {path.name for path in notebooks()}
    linked = {
        name
        for path in notebooks()
        for name in re.findall(r"\(([\w-]+\.ipynb)\)", path.read_text())
    }
    assert linked <= names


def test_the_readme_lists_every_notebook() -> None:
    """The README lists every notebook in order, with its title."""
    rows = re.findall(r"^\| `(\d\d-[\w-]+)` \| ([^|]+) \|", (ROOT / "README.md").read_text(), re.M)
    titles = {
        path.stem: "".join(json.loads(path.read_text())["cells"][0]["source"]).split("\n")[0][2:]
        for path in sorted(notebooks())
    }
    assert dict(rows) == titles


def test_the_presenters_talks_last_as_long_as_they_say() -> None:
    """The minutes add up to ten, thirty and sixty, and every notebook appears."""
    text = (ROOT / "notebooks" / "PRESENTER.md").read_text()
    lengths = {"Ten": 10, "Thirty": 30, "Sixty": 60}
    talks = re.findall(r"^## (\w+) minutes.*?$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in talks] == list(lengths)
    for name, rows in talks:
        minutes = re.findall(r"^\| (\d+) \|", rows, re.MULTILINE)
        assert sum(map(int, minutes)) == lengths[name], name
    named = re.findall(r"\]\(([^)]+\.ipynb)\)", text)
    assert set(named) == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
