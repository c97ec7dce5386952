"""The figures of the supervision library, beside plain pykka and Erlang/OTP."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.figures import Bench, Experiment, Figure, Series, Suite, Unavailable
from bench.samples import Samples, median

ZAPVISOR: Final = "supervision, zapvisor"
PYKKA: Final = "supervision, pykka"
ERLANG: Final = "supervision, Erlang"

BASELINE = Path(__file__).with_name("otp_baseline.erl")
PATIENCE = 600.0


def run_zapvisor(bench: Bench) -> Mapping[str, Samples]:
    """The library."""
    return _work(bench, "zapvisor")


def run_pykka(bench: Bench) -> Mapping[str, Samples]:
    """Pykka without it."""
    return _work(bench, "pykka")


def run_erlang(bench: Bench) -> Mapping[str, Samples]:
    """The original."""
    if shutil.which("erl") is None or shutil.which("erlc") is None:
        raise Unavailable("Erlang is not installed: no erl on PATH")
    bench.note("Erlang")
    subprocess.run(["erlc", "-o", str(bench.scratch), str(BASELINE)], check=True, timeout=60)
    evaluate = f"otp_baseline:main({str(bench.quick).lower()})"
    return _series(["erl", "-noshell", "-pa", str(bench.scratch), "-eval", evaluate])


def _work(bench: Bench, who: str) -> Mapping[str, Samples]:
    bench.note(who)
    return _series([sys.executable, "-m", "bench.otp_work", who, *(["--quick"] if bench.quick else [])])


def _series(command: list[str]) -> Mapping[str, Samples]:
    """What a program that measures prints. It is a fresh one each time: memory is only comparable so."""
    done = subprocess.run(command, check=True, timeout=PATIENCE, capture_output=True, text=True)
    # In the last line: Erlang's logger complains before it, now and then, that /dev/null cannot be synced.
    series: Mapping[str, Samples] = json.loads(done.stdout.splitlines()[-1])
    return series


def _beside(name: str, *, pykka: bool = True) -> dict[str, Series]:
    return {**({"plain pykka": (PYKKA, name)} if pykka else {}), "Erlang/OTP": (ERLANG, name)}


def _figure(
    name: str, title: str, unit: str, aim: str = "", *, pykka: bool = True, higher: bool = False
) -> Figure:
    return Figure(
        f"otp.{name}",
        title,
        unit,
        (ZAPVISOR, name),
        _beside(name, pykka=pykka),
        reduce=median,
        higher=higher,
        aim=aim,
    )


SUITE = Suite(
    experiments=(
        Experiment(ZAPVISOR, run_zapvisor),
        Experiment(PYKKA, run_pykka),
        Experiment(ERLANG, run_erlang),
    ),
    figures=(
        _figure(
            "restart",
            "crash of a child to its successor ready, crash reports logged",
            "µs",
            "at most 3 times Erlang",
            pykka=False,
        ),
        _figure("restart_silent", "the same, logging off", "µs", pykka=False),
        _figure("call", "a call and its answer", "µs", "at most 1.3 times pykka"),
        _figure("tell", "messages sent and handled", "1/s", higher=True),
        _figure("start", "start of a tree of 1,000 actors", "ms"),
        _figure("stop", "stop of it, one after the other", "ms"),
        _figure("stop_dynamic", "stop of 1,000 dynamic children, all at once", "ms", pykka=False),
        _figure("memory", "memory of an idle supervised actor", "KiB", "at most 40 KiB"),
        Figure("otp.growth", "growth over 10,000 crashes in a row", "KiB", (ZAPVISOR, "growth"), aim="none"),
    ),
)
