"""The house plan, kept true: imports go one way, and the core touches nothing outside itself."""

import ast
import gc
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE_OF_SERVICE = (
    "service/batch.py",
    "service/pipeline",
    "service/causes",
    "service/ingest",
    "service/exchange",
    "service/sampling",
    "service/notifiers",
    "service/config/setting_types.py",
)
OUTSIDE = {
    "asyncio", "time", "random", "secrets", "logging", "socket", "threading", "subprocess", "multiprocessing",
    "sqlite3", "urllib", "http", "httpx", "aiokafka", "prometheus_client", "starlette", "uvicorn",
}  # fmt: skip
"""Clock, chance, network, disk and log, and whatever brings them."""
PURE = {"urllib.parse", "urllib.parse.quote"}
"""Of those, what only works on text."""
SHELLS = ("service/daemon.py", "service/partition_owner.py", "service/candidate.py", "service/demo/show.py")
READS_FILES = {"alertrules/yaml_file.py"}
"""The one file of the rules that reads what it is given the path of."""


@pytest.fixture(autouse=True)
def _no_collection() -> Iterator[None]:
    """CPython 3.11 can raise SystemError where the collector runs within `ast.parse` (its issue 106905)."""
    gc.disable()
    yield
    gc.enable()


def files(*places: str) -> list[Path]:
    """Python files below these files and folders."""
    found: list[Path] = []
    for place in places:
        path = ROOT / place
        found += [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))
    return found


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, whether at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms(path: Path) -> set[str]:
    """The project's own packages that a file imports from."""
    return {name.split(".")[0] for name in imports(path)} & {"detectors", "alertrules", "service", "tests"}


def core() -> list[Path]:
    return files("detectors", "alertrules", *CORE_OF_SERVICE)


@pytest.mark.parametrize("path", core(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_core_touches_nothing_outside(path: Path) -> None:
    """No clock, network, disk, log or chance below the shell, and nothing async."""
    outside = {name.split(".")[0] for name in imports(path) - PURE} & OUTSIDE
    assert not outside
    tree = ast.parse(path.read_text())
    assert not any(isinstance(node, ast.AsyncFunctionDef | ast.Await) for node in ast.walk(tree))
    calls = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    if str(path.relative_to(ROOT)) not in READS_FILES:
        assert not calls & {"open", "print", "input"}


@pytest.mark.parametrize(
    ("room", "may"),
    [
        ("detectors/core", {"detectors"}),
        ("detectors", {"detectors"}),
        ("alertrules", {"alertrules", "detectors"}),
        ("service", {"service", "alertrules", "detectors"}),
    ],
)
def test_imports_go_one_way(room: str, may: set[str]) -> None:
    """service -> alertrules -> detectors -> detectors.core, and nobody imports tests."""
    for path in files(room):
        assert rooms(path) <= may, path


def test_the_shared_statistics_know_no_detector() -> None:
    """detectors.core imports from itself only; the package as a whole is named once, to find the detectors in."""
    for path in files("detectors/core"):
        own = {name for name in imports(path) if name.startswith("detectors")}
        assert all(name.startswith("detectors.core") for name in own - {"detectors"}), path


def test_the_core_of_the_service_knows_no_shell() -> None:
    """What can be replayed imports nothing that waits, fails or ticks."""
    inner = tuple(place.removesuffix(".py").replace("/", ".") for place in CORE_OF_SERVICE)
    for path in files(*CORE_OF_SERVICE):
        own = {name for name in imports(path) if name.startswith("service.")}
        assert all(name.startswith(inner) for name in own), path


def test_only_the_shells_make_tasks() -> None:
    """One TaskGroup of a role's shell owns every task; the demo runs a daemon in one of its own."""
    makers = {"create_task", "ensure_future", "gather"}
    for path in files("service"):
        used = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)} & makers
        if str(path.relative_to(ROOT)) not in SHELLS:
            assert not used, path


def test_kernels_stay_small_and_keep_to_themselves() -> None:
    """The same length holds for Cython; and the detectors' loops know nothing of the service."""
    kernels = [path for room in ("service", "detectors") for path in (ROOT / room).rglob("*.p[yx][xdi]")]
    assert len(kernels) > 20
    for path in kernels:
        text = path.read_text()
        assert text.count("\n") <= 400, path
        assert all(len(line) <= 120 for line in text.splitlines()), path
        own = re.findall(r"^(?:from|cimport|import) (service|detectors|alertrules|tests)\b", text, re.MULTILINE)
        assert set(own) <= ({"detectors"} if "detectors" in path.parts else {"service", "detectors"}), path


def test_files_and_functions_stay_small() -> None:
    """400 lines a file, 60 a function: a newcomer reads any of them in five minutes."""
    for path in files("detectors", "alertrules", "service", "tests"):
        text = path.read_text()
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                assert node.end_lineno - node.lineno < 60, f"{path}:{node.lineno}"
