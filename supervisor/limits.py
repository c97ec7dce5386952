"""How many instances the machine's limits allow, found out before the first one fails for want of something."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

log = structlog.get_logger("zapvisor.limits")


@dataclass(frozen=True, slots=True)
class Cost:
    """What a host takes of one resource: for itself, and for each instance.

    Measured with connected instances (see docs/performance.md) and rounded up.
    """

    host: int
    instance: int

    def room(self, amount: int) -> int:
        """The number of instances that an amount suffices for."""
        return max(0, (amount - self.host) // self.instance)


MIB = 1024 * 1024
DESCRIPTORS = Cost(host=400, instance=3)
"""The API may hold 256 connections; an instance costs the host two pipe ends and a process descriptor."""
THREADS = Cost(host=100, instance=15)
"""An instance has three in the host and about a dozen in its process."""
MEMORY = Cost(host=128 * MIB, instance=24 * MIB)

HEADROOM = 10
"""Instances that there should be room for besides those that there are."""

_UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit, and what it means here.

    Attributes:
        what: the resource, in words.
        source: where the limit is set.
        value: the limit, as a person writes it.
        instances: how many it allows.
        remedy: what raises it.
    """

    what: str
    source: str
    value: str
    instances: int
    remedy: str


def limits(
    root: Path = Path("/"),
    getrlimit: Callable[[int], tuple[int, int]] = resource.getrlimit,
    user: int | None = None,
) -> list[Limit]:
    """Every limit of this process that is one, the tightest first.

    Args:
        root: where `proc` and `sys` are.
        getrlimit: as `resource.getrlimit`.
        user: the user id; the process's when None.
    """
    user = os.geteuid() if user is None else user
    found = [*_descriptors(getrlimit), *_threads(root, getrlimit, user), *_memory(root)]
    return sorted(found, key=lambda limit: limit.instances)


def report(existing: int, found: list[Limit]) -> None:
    """Log how many instances there is room for, and a warning for each limit that is too tight.

    Args:
        existing: the instances that there are.
        found: as `limits` returns them.
    """
    if not found:
        return
    log.info(
        "room for instances", instances=found[0].instances, limited_by=found[0].source, existing=existing
    )
    for limit in found:
        if limit.instances < existing + HEADROOM:
            log.warning(
                f"the limit of {limit.what} allows about {limit.instances} instances",
                limit=limit.source,
                value=limit.value,
                existing=existing,
                remedy=limit.remedy,
            )


def _descriptors(getrlimit: Callable[[int], tuple[int, int]]) -> Iterator[Limit]:
    _, hard = getrlimit(resource.RLIMIT_NOFILE)  # the host raises its soft limit by itself
    if hard not in (resource.RLIM_INFINITY, -1):
        yield Limit(
            "open files",
            "RLIMIT_NOFILE",
            str(hard),
            DESCRIPTORS.room(hard),
            "LimitNOFILE= in the unit, or ulimit -Hn",
        )


def _threads(root: Path, getrlimit: Callable[[int], tuple[int, int]], user: int) -> Iterator[Limit]:
    def limit(source: str, value: int, remedy: str) -> Limit:
        return Limit("threads", source, str(value), THREADS.room(value), remedy)

    _, hard = getrlimit(resource.RLIMIT_NPROC)
    if hard not in (resource.RLIM_INFINITY, -1) and user != 0:  # it does not hold for root
        yield limit("RLIMIT_NPROC", hard, "LimitNPROC= in the unit, or ulimit -Hu")
    for source, value in _cgroup_values(root, "pids.max"):
        yield limit(source, value, "TasksMax= in the unit")
    for name in ("threads-max", "pid_max"):
        kernel = _number(root / "proc/sys/kernel" / name)
        if kernel is not None:
            yield limit(f"kernel.{name}", kernel, f"sysctl kernel.{name}")


def _memory(root: Path) -> Iterator[Limit]:
    def limit(source: str, value: int, remedy: str) -> Limit:
        return Limit("memory", source, f"{value // MIB} MiB", MEMORY.room(value), remedy)

    for name in ("memory.max", "memory.limit_in_bytes"):  # the second is version 1's
        for source, value in _cgroup_values(root, name):
            yield limit(source, value, "MemoryMax= in the unit, or the container's limit")
    total = _total_memory(root / "proc/meminfo")
    if total is not None:
        yield limit("memory of the machine", total, "more memory")


def _cgroup_values(root: Path, name: str) -> Iterator[tuple[str, int]]:
    """A limit of this process's control group and of those above it, in either version of control groups."""
    for folder in _cgroups(root, name.partition(".")[0]):
        value = _number(folder / name)
        if value is not None and value < _UNLIMITED:
            yield str(Path("/") / (folder / name).relative_to(root)), value


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top = root / "sys/fs/cgroup"
        elif controller in controllers.split(","):
            top = root / "sys/fs/cgroup" / controller
        else:
            continue
        inner = top / path.lstrip("/")
        yield from [folder for folder in [inner, *inner.parents] if folder == top or top in folder.parents]


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isascii() and text.isdigit() else None


def _total_memory(file: Path) -> int | None:
    try:
        found = re.search(r"^MemTotal:\s*(\d+) kB$", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None
