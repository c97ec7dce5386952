"""The import hook that makes an unmodified library trust the service."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .environment import SITE, client_environment
from .service import LoopbackService
from .site import sitecustomize as hook

SHOW_KEY = """
import ctypes, sys
from pathlib import Path
def key():
    import neonize._binder as binder
    from tests.loopback.site import sitecustomize as hook
    library = Path(binder.gocode._name)
    place = hook.place_in(library)
    return ctypes.string_at(hook._load_base(library, place.address) + place.address, 32).hex()
"""
FORK = """
import importlib, importlib.util, os, types
os.environ["SPHINX"] = "1"
found = importlib.util.find_spec("neonize")
package = types.ModuleType("neonize")
package.__path__ = list(found.submodule_search_locations)
sys.modules["neonize"] = package
binder = importlib.import_module("neonize._binder")
loaded_before = hasattr(getattr(binder, "gocode", None), "_name")
binder.gocode = types.SimpleNamespace()
importlib.reload(binder)
del os.environ["SPHINX"]
def child():
    importlib.reload(binder)
    print(loaded_before, key(), flush=True)
    os._exit(0)
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        child()
    os.waitpid(pid, 0)
"""


def run(code: str, environment: dict[str, str], **more: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join((environment["PYTHONPATH"], root))
    return subprocess.run(
        [sys.executable, "-c", SHOW_KEY + code],
        env={**os.environ, **environment, "PYTHONPATH": path, **more},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_plain_import(wa: LoopbackService) -> None:
    code = "import pylibmagic, neonize; print(key())"
    for more in ({}, {hook.KEY_PLACE: ""}, {hook.KEY_PLACE: "1:2"}):
        done = run(code, wa.environment(), **more)
        assert done.stdout.split() == [wa.authority.root.public.hex()], done.stderr


def test_a_fork_that_loads_the_library_after_a_first_import_without_it(wa: LoopbackService) -> None:
    done = run(FORK, wa.environment())
    assert done.stdout.splitlines() == [f"False {wa.authority.root.public.hex()}"] * 2, done.stderr


def test_without_the_variable_nothing_is_changed(wa: LoopbackService) -> None:
    environment = wa.environment()
    environment[hook.ROOT_KEY] = ""
    done = run("import pylibmagic, neonize; print(key())", environment)
    assert done.stdout.split() == [hook.COMPILED_KEY.hex()]


def test_the_sitecustomize_that_it_hides_still_runs(wa: LoopbackService, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.hidden = 'ran'\n")
    environment = wa.environment(base={"PYTHONPATH": str(tmp_path)})
    assert environment["PYTHONPATH"] == f"{SITE}{os.pathsep}{tmp_path}"
    assert run("print(sys.hidden)", environment).stdout == "ran\n"


def test_a_library_without_the_key_is_an_error(wa: LoopbackService, tmp_path: Path) -> None:
    library = next(Path(_neonize_folder()).glob("neonize-linux-*.so"))
    other = tmp_path / "other.so"
    shutil.copy(library, other)
    data = bytearray(other.read_bytes())
    at = data.index(hook.COMPILED_KEY)
    data[at : at + 32] = bytes(32)
    other.write_bytes(data)
    with pytest.raises(RuntimeError, match="exactly once"):
        hook.place_in(other)
    with pytest.raises(RuntimeError, match="not mapped writable"):
        hook.replace_root_key(library, bytes(32))


def test_the_environment(tmp_path: Path) -> None:
    environment = client_environment(tmp_path / "ca.pem", bytes(32), None, base={})
    assert "HTTPS_PROXY" not in environment
    assert environment["PYTHONPATH"] == str(SITE)
    assert environment["SSL_CERT_FILE"] == str(tmp_path / "ca.pem")


def _neonize_folder() -> str:
    import importlib.util

    spec = importlib.util.find_spec("neonize")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return spec.submodule_search_locations[0]
