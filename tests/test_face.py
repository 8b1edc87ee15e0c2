"""The public names of `clickstream`, their modules, and the cost of the import."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import clickstream

ROOT = Path(__file__).parent.parent
NAMES = [
    "Chaos",
    "ClickstreamError",
    "ControlRoom",
    "Demo",
    "Event",
    "KafkaSettings",
    "OpenSearchSettings",
    "Pace",
    "PacedEvents",
    "SCENARIOS",
    "Settings",
    "Simulator",
    "Traffic",
    "decode",
    "encode",
    "index_topic",
    "live_now",
    "produce",
    "send",
]


def test_the_public_names_are_these() -> None:
    """Adding or removing a public name requires a change here."""
    assert clickstream.__all__ == NAMES
    assert set(NAMES) <= set(dir(clickstream))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_the_module_s_own(name: str) -> None:
    """A public name is loaded on demand from the module in the table."""
    module = import_module(f"clickstream.{clickstream._MODULES[name]}")
    assert getattr(clickstream, name) is getattr(module, name)


def test_type_checkers_see_the_same_names() -> None:
    """The imports under `TYPE_CHECKING` are the table, name by name."""
    tree = ast.parse((ROOT / "clickstream" / "__init__.py").read_text())
    seen = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("clickstream.")
        for alias in node.names
    }
    table = clickstream._MODULES.items()
    assert seen == {name: f"clickstream.{module}.{name}" for name, module in table}


def test_an_unknown_name_is_an_attribute_error() -> None:
    """An unknown name raises AttributeError; submodules can still be imported."""
    with pytest.raises(AttributeError, match="module 'clickstream' has no attribute 'Demon'"):
        clickstream.Demon  # type: ignore[attr-defined] # noqa: B018
    from clickstream import errors  # noqa: PLC0415

    assert errors.ClickstreamError is clickstream.ClickstreamError


def test_importing_the_package_costs_nothing() -> None:
    """The import loads no other library and no submodule."""
    program = "import sys; before = set(sys.modules); import clickstream; " + (
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    tops = {name.partition(".")[0] for name in loaded}
    assert tops - sys.stdlib_module_names == {"clickstream"}
    assert [name for name in loaded if name.startswith("clickstream")] == ["clickstream"]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_import_a_public_name_from_the_package(path: Path) -> None:
    """Notebooks import a public name from the package, not from its module."""
    cells = json.loads(path.read_text())["cells"]
    lines = [line for cell in cells if cell["cell_type"] == "code" for line in cell["source"]]
    imports = [
        node
        for line in lines
        if line.startswith(("from clickstream", "import clickstream"))
        for node in ast.parse(line).body
        if isinstance(node, ast.ImportFrom) and node.module != "clickstream"
    ]
    assert [alias.name for node in imports for alias in node.names if alias.name in NAMES] == []
