"""Scenarios with the traces that Erlang gave, for machines without Erlang."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from tests.otp.differential.scenario import Scenario

FILE = Path(__file__).with_name("recorded.jsonl.gz")


def read(file: Path = FILE) -> list[tuple[Scenario, Any]]:
    """The recorded scenarios, each with its canonical trace."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return [((record["tree"], record["ops"]), record["trace"]) for record in records]


def write(records: list[tuple[Scenario, Any]], file: Path = FILE) -> None:
    """Replace the recording. The same records give the same bytes."""
    lines = [
        json.dumps({"tree": tree, "ops": ops, "trace": trace}, separators=(",", ":"))
        for (tree, ops), trace in records
    ]
    with file.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        packed.write("".join(f"{line}\n" for line in lines).encode())
