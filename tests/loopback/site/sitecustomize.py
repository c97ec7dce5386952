"""Make the WhatsApp library of this interpreter trust a loopback service. Found through PYTHONPATH, in
tests only.

whatsmeow checks the server's certificate chain against a root key that is compiled into neonize's Go
library, as 32 bytes of writable data. When ``LOOPBACK_WA_ROOT_KEY`` is set, an import hook replaces them in
this process's memory, each time the module ``neonize._binder`` is executed and has loaded the library. A
first execution without the library (as in a forkserver) is left alone. No file is changed.
"""

from __future__ import annotations

import importlib.util
import mmap
import os
import struct
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT_KEY = "LOOPBACK_WA_ROOT_KEY"
KEY_PLACE = "LOOPBACK_WA_KEY_PLACE"
MODULE = "neonize._binder"
COMPILED_KEY = bytes.fromhex("142375574d0a587166aae71ebe516437c4a28b73e3695c6ce1f7f9545da8ee6b")


class Place(NamedTuple):
    """Where the key lies in a library: the file it was found in, by its size, and the address from the load
    base.
    """

    file_size: int
    address: int

    def to_text(self) -> str:
        return f"{self.file_size}:{self.address}"


def place_in(library: Path) -> Place:
    """Find the key in an ELF file; raises RuntimeError unless it is there once, in writable data."""
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        offset = data.find(COMPILED_KEY)
        if offset < 0 or data.find(COMPILED_KEY, offset + 1) >= 0:
            raise RuntimeError(f"{library}: WhatsApp's root key is not in it exactly once")
        header_at, size, count = struct.unpack_from("<Q14xHH", data, 32)
        for index in range(count):
            kind, flags, start, address, _, length = struct.unpack_from(
                "<IIQQQQ", data, header_at + index * size
            )
            if kind == 1 and flags & 2 and start <= offset < start + length:
                return Place(len(data), address + offset - start)
    raise RuntimeError(f"{library}: WhatsApp's root key is not in writable data")


def _place(library: Path) -> Place:
    """The place handed down by the environment if it is for this very file, else looked up."""
    size, _, address = os.environ.get(KEY_PLACE, "").partition(":")
    if size == str(library.stat().st_size) and address.isdecimal():
        return Place(int(size), int(address))
    return place_in(library)


def _load_base(library: Path, address: int) -> int:
    """Where the library is mapped; raises RuntimeError if ``address`` within it is not mapped writable."""
    base = None
    with Path("/proc/self/maps").open() as maps:
        for line in maps:
            fields = line.rstrip("\n").split(None, 5)
            start, end = (int(part, 16) for part in fields[0].split("-"))
            if base is None and len(fields) == 6 and fields[5] == str(library) and int(fields[2], 16) == 0:
                base = start
            if base is not None and start <= base + address < end and "w" in fields[1]:
                return base
    raise RuntimeError(f"{library}: its data is not mapped writable")


def replace_root_key(library: Path, key: bytes) -> None:
    """Put ``key`` in place of the compiled root key in this process's memory; raises RuntimeError if it is
    not there.
    """
    import ctypes

    place = _place(library)
    at = _load_base(library, place.address) + place.address
    if (present := ctypes.string_at(at, len(key))) not in (COMPILED_KEY, key):
        raise RuntimeError(f"{library}: found {present.hex()} in place of WhatsApp's root key")
    ctypes.memmove(at, key, len(key))


class _PatchingLoader(Loader):
    def __init__(self, loader: Loader, key: bytes) -> None:
        self._loader = loader
        self._key = key

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        import ctypes

        library = getattr(module, "gocode", None)
        if isinstance(library, ctypes.CDLL):
            replace_root_key(Path(os.path.realpath(library._name)), self._key)

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)


class _Finder(MetaPathFinder):
    def __init__(self, key: bytes) -> None:
        self._key = key

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader, self._key)
        return spec


def _chain() -> None:
    """Run the ``sitecustomize`` that this one hides, if there is one."""
    here = Path(__file__).resolve().parent
    others = [entry for entry in sys.path if Path(entry or ".").resolve() != here]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if __name__ == "sitecustomize":
    if root_key := os.environ.get(ROOT_KEY):
        sys.meta_path.insert(0, _Finder(bytes.fromhex(root_key)))
    _chain()
