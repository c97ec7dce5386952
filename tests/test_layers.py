"""Which part may import which: the layers that keep each of them small enough to be understood alone."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("supervisor", "actors", "api", "tests", "bench")
SHIPPED = ("supervisor", "actors", "api")


@dataclass(frozen=True)
class Import:
    """One imported module, as a dotted name, and where."""

    by: str
    module: str
    line: int

    def __str__(self) -> str:
        return f"{self.by}:{self.line} imports {self.module}"


def is_in(module: str, *packages: str) -> bool:
    """Whether a module is one of some packages, or in one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def is_ours(module: str) -> bool:
    return is_in(module, *OURS)


@cache
def imports_of(file: Path) -> tuple[Import, ...]:
    """Everything that a file imports, inside functions and under `TYPE_CHECKING` too."""
    return tuple(_imports(file))


def _imports(file: Path) -> Iterator[Import]:
    name = str(file.relative_to(ROOT))
    package = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    if file.name != "__init__.py":
        package = package.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(), name)):
        if isinstance(node, ast.Import):
            yield from (Import(name, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                kept = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*kept, *([node.module] if node.module else [])])
            yield from (Import(name, f"{base}.{alias.name}", node.lineno) for alias in node.names)


def files_of(*folders: str) -> list[Path]:
    found = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    assert found, folders
    return found


def offences(folder: str, is_wrong: Callable[[Import], bool], *, but: tuple[str, ...] = ()) -> list[str]:
    """The imports of a folder's files that a rule forbids."""
    files = [file for file in files_of(folder) if str(file.relative_to(ROOT)) not in but]
    return [str(found) for file in files for found in imports_of(file) if is_wrong(found)]


def test_the_supervision_library_imports_nothing_of_ours() -> None:
    def is_wrong(found: Import) -> bool:
        return is_ours(found.module) and not is_in(found.module, "supervisor.otp")

    assert offences("supervisor/otp", is_wrong) == []


def test_the_supervision_library_knows_no_whatsapp_web_or_database() -> None:
    foreign = ("neonize", "flask", "waitress", "pydantic", "peewee", "structlog", "httpx")
    assert offences("supervisor/otp", lambda found: is_in(found.module, *foreign)) == []


def test_the_configuration_imports_nothing_else_of_ours() -> None:
    def is_wrong(found: Import) -> bool:
        return is_ours(found.module) and not is_in(found.module, "supervisor.config")

    assert offences("supervisor/config", is_wrong) == []


def test_actors_import_the_supervision_library_and_the_configuration_only() -> None:
    allowed = ("actors", "supervisor.otp", "supervisor.config", "supervisor.__version__")

    def is_wrong(found: Import) -> bool:
        return is_ours(found.module) and not is_in(found.module, *allowed)

    assert offences("actors", is_wrong) == []


API_MAY_USE = (
    "actors.messages",
    "actors.views",
    "actors.gateway",
    "actors.metrics",
    "actors.addresses",
    "supervisor.otp",
    "supervisor.reasons",
)
"""Messages, snapshots and the one way into the tree; of the supervision library what errors are; and the words for why
a connection ended, which the command line shares and which import nothing of ours.
"""


def test_the_words_for_reasons_import_nothing_of_ours() -> None:
    assert [str(found) for found in imports_of(ROOT / "supervisor/reasons.py") if is_ours(found.module)] == []


def test_the_api_imports_no_internals_of_the_actors() -> None:
    def is_wrong(found: Import) -> bool:
        return is_ours(found.module) and not is_in(found.module, "api", *API_MAY_USE)

    assert offences("api", is_wrong) == []


CLIENT_SIDE = ("actors/port/child.py", "actors/port/library.py", "actors/port/process.py")
"""What runs in a port's process, or in the one that ports are forked from; never in the host."""


@pytest.mark.parametrize("folder", SHIPPED)
def test_only_a_port_imports_the_client_library(folder: str) -> None:
    assert offences(folder, lambda found: is_in(found.module, "neonize"), but=CLIENT_SIDE) == []


def test_no_module_of_the_host_imports_what_runs_in_a_port() -> None:
    """The import would bring the client library into the host, and its Go half with it."""
    forked = tuple(file.removesuffix(".py").replace("/", ".") for file in CLIENT_SIDE)
    allowed = (*CLIENT_SIDE, "actors/port/forkserver.py")
    launch_ways = (
        "actors.port.library.Preload"  # an enumeration: the module itself imports neonize in functions
    )

    def is_wrong(found: Import) -> bool:
        return is_in(found.module, *forked) and found.module != launch_ways

    for folder in SHIPPED:
        assert offences(folder, is_wrong, but=allowed) == []


def test_the_module_that_the_host_shares_with_ports_imports_the_client_library_late() -> None:
    tree = ast.parse((ROOT / "actors/port/library.py").read_text())
    early = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [alias.name for node in early if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in early if isinstance(node, ast.ImportFrom)]
    assert not [name for name in names if is_in(name, "neonize")]


@pytest.mark.parametrize("folder", SHIPPED)
def test_what_is_shipped_imports_no_tests_and_no_benchmarks(folder: str) -> None:
    assert offences(folder, lambda found: is_in(found.module, "tests", "bench")) == []


@pytest.mark.parametrize("folder", SHIPPED)
def test_no_module_is_longer_than_can_be_read_in_one_go(folder: str) -> None:
    long = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in files_of(folder)}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


ELSEWHERE = re.compile(r"(?<![\w.])/(?:work|home/\w+|root|Users/\w+|mnt/\w+)/[\w.+-]")
"""A path that exists on one machine only."""


def test_nothing_mentions_a_path_of_the_machine_it_was_made_on() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    if tracked.returncode:
        files = [file for file in ROOT.rglob("*") if file.is_file() and ".venv" not in file.parts]
    else:
        files = [ROOT / name for name in tracked.stdout.split("\0") if name]
    found = []
    for file in files:
        try:
            text = file.read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture, or deleted in the work tree
        found += [
            f"{file.relative_to(ROOT)}: {match.group()}"
            for match in ELSEWHERE.finditer(text)
            if file != Path(__file__)
        ]
    assert found == []
