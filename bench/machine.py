"""Where and with what a run was made."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

DISTRIBUTIONS = ("neonize", "pykka", "peewee", "flask", "waitress", "pydantic", "structlog")
MIB = 1 << 20


def machine() -> dict[str, str]:
    """The machine, by the names that people use."""
    return {
        "processor": f"{_processor()}, {os.cpu_count()} logical cores",
        "memory": f"{memory_total() / (1 << 30):.1f} GiB",
        "system": f"{_distribution()}, Linux {platform.release()} ({platform.machine()})",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def versions() -> dict[str, str]:
    """zapvisor's own, with the commit where there is one, and those of what it stands on."""
    from supervisor import __version__

    found = {"zapvisor": " ".join(filter(None, (__version__, _commit())))}
    for name in DISTRIBUTIONS:
        found[name] = metadata.version(name)
    return found


def load() -> float:
    """How many processes wanted to run in the last minute, on average."""
    return os.getloadavg()[0]


def memory_total() -> int:
    """Bytes of memory in the machine."""
    return _meminfo("MemTotal")


def memory_available() -> int:
    """Bytes of memory that can still be had."""
    return _meminfo("MemAvailable")


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) << 10
    raise LookupError(f"/proc/meminfo does not say {name}")


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return "Linux"


def _commit() -> str:
    here = Path(__file__).parent
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"({told.stdout.strip()})"
