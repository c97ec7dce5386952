"""What the limits of a machine allow, read from files as the kernel writes them."""

from __future__ import annotations

import logging
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor import limits, logs
from supervisor.limits import DESCRIPTORS, MEMORY, MIB, THREADS, Limit

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine without any limit."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    return tmp_path


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def found(root: Path, user: int = 1000, **rlimits: int) -> list[Limit]:
    values = {getattr(resource, name): (value, value) for name, value in rlimits.items()}
    return limits.limits(root, lambda number: values.get(number, UNLIMITED), user)


def test_a_machine_without_limits_has_none(root: Path) -> None:
    assert found(root) == []


def test_the_hard_limit_of_descriptors_counts(root: Path) -> None:
    [limit] = found(root, RLIMIT_NOFILE=DESCRIPTORS.host + 50 * DESCRIPTORS.instance)
    assert limit.instances == 50
    assert "LimitNOFILE" in limit.remedy


def test_limits_of_control_groups_count_at_every_level(root: Path) -> None:
    put(root, "proc/self/cgroup", "0::/system.slice/zapvisor.service")
    put(root, "sys/fs/cgroup/system.slice/zapvisor.service/pids.max", "max")
    put(root, "sys/fs/cgroup/system.slice/pids.max", str(THREADS.host + 7 * THREADS.instance))
    put(
        root, "sys/fs/cgroup/system.slice/zapvisor.service/memory.max", str(MEMORY.host + 9 * MEMORY.instance)
    )
    threads, memory = found(root)
    assert (threads.instances, threads.source) == (7, "/sys/fs/cgroup/system.slice/pids.max")
    assert (memory.instances, memory.what) == (9, "memory")


def test_version_1_of_control_groups_is_known(root: Path) -> None:
    put(root, "proc/self/cgroup", "4:memory:/docker/x\n3:pids:/docker/x\n1:name=systemd:/")
    put(root, "sys/fs/cgroup/pids/docker/x/pids.max", "1600")
    put(root, "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712")
    [limit] = found(root)
    assert limit.instances == THREADS.room(1600)


def test_the_memory_of_the_machine_and_the_kernels_limits_count(root: Path) -> None:
    put(
        root,
        "proc/meminfo",
        f"MemTotal:       {(MEMORY.host + 3 * MEMORY.instance) // 1024} kB\nMemFree: 1 kB",
    )
    put(root, "proc/sys/kernel/threads-max", "100000")
    put(root, "proc/sys/kernel/pid_max", "32768")
    assert [limit.instances for limit in found(root)] == [3, THREADS.room(32768), THREADS.room(100000)]


def test_the_limit_of_processes_counts_but_not_for_root(root: Path) -> None:
    [limit] = found(root, RLIMIT_NPROC=THREADS.host)
    assert limit.instances == 0
    assert found(root, user=0, RLIMIT_NPROC=THREADS.host) == []


@given(st.integers(0, 1 << 50))
def test_there_is_never_room_for_less_than_none(amount: int) -> None:
    for cost in (DESCRIPTORS, THREADS, MEMORY):
        room = cost.room(amount)
        assert room >= 0
        assert room == 0 or cost.host + room * cost.instance <= amount


def test_this_machine_can_be_read() -> None:
    assert all(limit.instances >= 0 for limit in limits.limits())


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    logs.configure()
    with caplog.at_level(logging.INFO, "zapvisor.limits"):
        yield caplog


def test_a_limit_that_is_too_tight_is_named_with_what_it_allows(log: pytest.LogCaptureFixture) -> None:
    tight = Limit("threads", "/sys/fs/cgroup/pids.max", "400", 20, "TasksMax= in the unit")
    wide = Limit("memory", "memory of the machine", f"{8192 * MIB}", 300, "more memory")
    limits.report(15, [tight, wide])
    text = log.text
    assert "the limit of threads allows about 20 instances" in text
    assert "TasksMax" in text
    assert "memory allows" not in text


def test_with_room_to_spare_nothing_is_warned_of(log: pytest.LogCaptureFixture) -> None:
    limits.report(5, [Limit("memory", "memory of the machine", "1", 40, "more memory")])
    assert [record.levelname for record in log.records] == ["INFO"]
