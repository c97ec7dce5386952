"""What is released: the archives build, the wheel alone runs, old databases are taken over, versions are locked."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

from actors.store import Reader, Store, Tx, deliveries, history, instances, open_backend
from actors.store.migrations import MIGRATIONS, m0001_initial, migrate, schema_version
from supervisor import __version__
from supervisor.otp import System
from tests.e2e.harness import Lines

ROOT = Path(__file__).parents[1]
PACKAGES = ("actors", "api", "supervisor")
FIRST_SCHEMA = ROOT / "tests" / "release" / "schema-1.sql"


def tracked() -> list[str]:
    """The files of a clean checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


# -- archives ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archives, built from a checkout as `python -m build` builds them for a release."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    built = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(dist), str(source)],
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return dist


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    [found] = dist.glob("*.whl")
    return found


@pytest.mark.slow
def test_the_wheel_holds_the_packages_with_their_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {*PACKAGES, f"zapvisor-{__version__}.dist-info"}
    wanted = {name for name in tracked() if name.startswith(tuple(f"{package}/" for package in PACKAGES))}
    assert wanted - set(names) == set()


@pytest.mark.slow
def test_the_version_comes_from_one_place(wheel: Path, dist: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = Parser().parsestr(
            archive.read(f"zapvisor-{__version__}.dist-info/METADATA").decode("utf-8")
        )
    assert metadata["Version"] == __version__
    assert (dist / f"zapvisor-{__version__}.tar.gz").exists()
    written = re.compile(rf"(?<![\w.]){re.escape(__version__)}(?![\w.])")
    places = [
        name for name in tracked() if name.endswith(".py") and written.search((ROOT / name).read_text())
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    assert [name for name in places if not name.startswith(("tests/", "bench/"))] == [
        "supervisor/__init__.py"
    ]


def test_the_unit_starts_nothing_but_the_host_and_runs_what_every_system_has() -> None:
    """A check before the host would be tried for ever: `RestartPreventExitStatus` is of the main process alone."""
    unit = (ROOT / "deploy" / "zapvisor.service").read_text()
    commands = re.findall(r"^(Exec\w+)=(\S+)", unit, re.MULTILINE)
    program = "/opt/zapvisor/venv/bin/zapvisor"
    assert commands == [("ExecStart", program), ("ExecReload", program), ("ExecReload", "/bin/sh")]
    assert "RestartPreventExitStatus=2" in unit.splitlines()


@pytest.mark.slow
def test_the_source_archive_holds_what_a_packager_needs(dist: Path) -> None:
    [archive] = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    for needed in (
        "CHANGELOG.md",
        "LICENSE",
        "deploy/zapvisor.service",
        "docs/operations.md",
        "requirements.lock",
        "supervisor.ini.example",
        "tests/test_release.py",
    ):
        assert needed in names


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel in it, on the dependencies of this one; its `bin` directory."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(home)],
        check=True,
        timeout=120,
        capture_output=True,
    )
    python = home / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", str(wheel)],
        check=True,
        timeout=120,
        capture_output=True,
        env=clean(),
    )
    [packages] = home.glob("lib/python3*/site-packages")
    # A path in a .pth file brings the packages of a directory along, but not what its own .pth files ask for: an
    # editable zapvisor there is not seen.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin"


def clean() -> dict[str, str]:
    """The environment without anything that could lead back to this checkout."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ZAPVISOR"))}


def run(command: list[str], directory: Path) -> str:
    done = subprocess.run(
        command, cwd=directory, env=clean(), capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.fixture
def started(installed: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Lines]]:
    """A host from the wheel, in an empty directory, with all its defaults but the port."""
    environment = {**clean(), "ZAPVISOR_API_LISTEN": "127.0.0.1:0", "ZAPVISOR_HOST_LOG_FORMAT": "json"}
    process = subprocess.Popen(
        [str(installed / "zapvisor"), "run"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE
    )
    log = Lines(process.stderr, tmp_path / "host.log")
    try:
        yield process, log
    finally:
        process.kill()
        process.wait(30)
        log.join(10)
        assert process.stderr is not None
        process.stderr.close()


@pytest.mark.slow
def test_the_wheel_alone_runs(
    installed: Path, tmp_path: Path, started: tuple[subprocess.Popen[bytes], Lines]
) -> None:
    where = "import actors, api, supervisor; print(actors.__file__, api.__file__, supervisor.__file__)"
    files = run([str(installed / "python"), "-c", where], tmp_path).split()
    assert all(Path(file).is_relative_to(installed.parent) for file in files)
    assert run([str(installed / "zapvisor"), "--version"], tmp_path).endswith(__version__)
    process, log = started
    url = log.wait_for("ready", timeout=60)["url"]
    key = (tmp_path / "data" / "api_key").read_text().strip()
    with httpx.Client(base_url=url, headers={"apikey": key}, follow_redirects=True) as client:
        document = client.get("/openapi/openapi.json").json()
        assert document["info"]["version"] == __version__
        assert client.get("/openapi").status_code == 200
        page = client.get("/")
        assert page.status_code == 200
        assert "<html" in page.text
        linked = re.findall(r'(?:href|src)="(/[^"]+\.(?:css|js|svg))', page.text)
        assert linked
        assert {client.get(path).status_code for path in linked} == {200}
        created = client.post(
            "/instance/create", json={"instanceName": "x", "integration": "WHATSAPP-BAILEYS"}
        )
        assert created.status_code == 201
    environment = {**clean(), "ZAPVISOR_URL": url, "ZAPVISOR_API_KEY": key}
    told = subprocess.run(
        [str(installed / "zapvisor"), "status", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert '"x"' in told.stdout
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


# -- databases of former releases --------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A data directory with a database that the first release made."""
    connection = sqlite3.connect(tmp_path / "zapvisor.db")
    connection.executescript(FIRST_SCHEMA.read_text())
    connection.close()
    return tmp_path


def schema(connection: sqlite3.Connection) -> set[str]:
    query = (
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' AND name <> 'meta'"
    )
    return {" ".join(sql.split()) for (sql,) in connection.execute(query)}


def test_the_first_step_of_the_schema_is_what_was_released(old: Path) -> None:
    """A step that is changed afterwards is a step that existing databases never took."""
    new = sqlite3.connect(":memory:")
    for statement in m0001_initial.statements("sqlite"):
        new.execute(statement)
    released = sqlite3.connect(old / "zapvisor.db")
    assert schema(new) == schema(released)
    new.close()
    released.close()


def test_a_database_of_the_first_release_is_taken_over_with_all_that_is_in_it(old: Path) -> None:
    backend = open_backend("sqlite:///zapvisor.db", old)
    system = System()
    system.start(Store, backend, path="store")
    reader = Reader(backend)

    def read(tx: Tx) -> dict[str, Any]:
        rows = {row.name: row for row in instances.all_instances(tx)}
        return {
            "rows": rows,
            "history": history.page(tx, rows["sales"].id),
            "deliveries": deliveries.page(tx),
        }

    found = reader.query(read)
    reader.close()
    system.shutdown()
    assert set(found["rows"]) == {"sales", "suporte"}
    sales = found["rows"]["sales"]
    assert (sales.logged_in, sales.device_jid) == (True, "5511999990001:7@s.whatsapp.net")
    assert sales.settings["msgCall"] == "not by phone, please"
    assert sales.webhook["url"] == "https://n8n.example.org/hook"
    assert [(entry.kind, entry.code) for entry in found["history"]] == [
        ("recovery", 428),
        ("disconnection", 428),
    ]
    assert [row.status for row in found["deliveries"].deliveries] == ["failed", "delivered"]
    database = backend.writer()
    database.connect()
    assert schema_version(database) == len(MIGRATIONS)
    assert migrate(database, MIGRATIONS) == []
    database.close()


# -- locked versions ---------------------------------------------------------------------------------------


def pins() -> dict[str, list[Requirement]]:
    """The lock's lines by normalised name."""
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(normal(requirement.name), []).append(requirement)
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    return [one for one in map(Requirement, lines) if normal(one.name) != "zapvisor"]


@pytest.mark.parametrize("python", ["3.11.2", "3.12.3", "3.13.1"])
def test_every_dependency_is_locked_to_one_version_that_it_allows(python: str) -> None:
    """`uv pip compile`, in the lock's first lines, makes it anew."""
    environment: dict[str, Any] = {
        **default_environment(),
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
    }
    locked = pins()
    for requirement in declared():
        lines = [
            line
            for line in locked.get(normal(requirement.name), [])
            if line.marker is None or line.marker.evaluate(environment)
        ]
        assert len(lines) == 1, f"{requirement.name}: {lines}"
        [pin] = lines[0].specifier
        assert pin.operator == "=="
        assert requirement.specifier.contains(pin.version), f"{requirement} and {lines[0]}"


def test_what_is_installed_needs_nothing_that_is_not_locked() -> None:
    locked = pins()
    seen: set[str] = set()
    queue = [(one.name, tuple(one.extras)) for one in declared()]
    missing = set()
    while queue:
        name, extras = queue.pop()
        if normal(name) in seen:
            continue
        seen.add(normal(name))
        if normal(name) not in locked:
            missing.add(normal(name))
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra that is not installed here
        for need in map(Requirement, needs):
            environments = [{"extra": extra} for extra in (*extras, "")]
            if need.marker is None or any(need.marker.evaluate(one) for one in environments):
                queue.append((need.name, tuple(need.extras)))
    assert missing == set()
