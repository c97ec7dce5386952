"""Each way in which a connection ends, with the real client: what it comes to, and within which time."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from actors.disconnect import NAMES, classify
from actors.port import events
from supervisor.config.codes import DEFAULT_RULE, DEFAULT_RULES
from tests.e2e.conftest import StartHost, pair
from tests.e2e.disconnections import BEGUN_EARLY, PLAYED, TABLE, WITHOUT_PROXY, Row
from tests.e2e.provoke import HOSTS, NOBODY
from tests.e2e.scene import Scene, Stage
from tests.loopback.harness import Template
from tests.loopback.service import LoopbackService

SCALE = 20
"""The base delays are a twentieth of the defaults, except where the client heals the link by itself."""

DELAYS = {428: 2, 408: 5, 440: 3, 515: 1, 503: 10}
"""Base delays in seconds; any other code that is tried again has `OTHER`."""
OTHER = 5

LATE = 10.0
"""Seconds that a busy machine may need beyond what is asked for."""

LEVELS = {"logout": "error", "abort": "error"}
PERMANENT = frozenset(LEVELS)


def delay(code: int) -> float:
    return DELAYS.get(code, OTHER) / SCALE


def settings(rows: Iterable[Row]) -> dict[str, dict[str, str]]:
    codes = {row.code for row in TABLE}
    sections = {f"disconnect.{code}": {"delay": f"{delay(code)}s"} for code in codes}
    sections["recovery"] = {"jitter": "0", "inactivity_check": "200ms", "reachability_check": "0"}
    sections["port"] = {"heartbeat": "500ms"}
    for row in rows:
        heals = row.action == "grace" and row.healed
        grace = {f"disconnect.{row.code}.delay": f"{LATE}s"} if heals else {}
        if grace or row.own:
            sections[f"instance:{row.name}"] = {**grace, **row.own}
    return sections


@dataclass(frozen=True)
class Begun:
    """A scene whose connection is about to end; `mark` is the log's from before."""

    scene: Scene
    mark: int


@dataclass(frozen=True)
class Played:
    """The host of most rows, and the scenes that were begun before all others."""

    stage: Stage
    early: Mapping[str, Begun]


@pytest.fixture(scope="module")
def played(
    service: LoopbackService, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    rows = [*PLAYED, *BEGUN_EARLY]
    names = [row.name for row in rows if row.start != "new"]
    directory = tmp_path_factory.mktemp("disconnections")
    stage = Stage(directory / "host", service, template, names, settings=settings(rows))
    stage.start()
    with LoopbackService(directory / "wa", authority=service.authority.directory) as apart:
        early = {row.name: begin(row, stage.new_scene(row.name, apart)) for row in reversed(BEGUN_EARLY)}
        yield Played(stage, early)
    stage.stop()


def begin(row: Row, scene: Scene) -> Begun:
    mark = scene.host.log.mark()
    row.provoke(scene)
    return Begun(scene, mark)


@pytest.mark.parametrize("row", PLAYED, ids=lambda row: row.title)
def test_a_disconnection_comes_to_what_its_code_asks_for(
    played: Played, wa: LoopbackService, row: Row
) -> None:
    """Invariants 6 and 7: it costs the session only where its row says so."""
    stage = played.stage
    scene = stage.new_scene(row.name) if row.start == "new" else stage.scene(row.name)
    if row.start == "open":
        scene.open()
    check(row, begin(row, scene))


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.title, marks=[pytest.mark.slow] * row.slow) for row in BEGUN_EARLY],
)
def test_a_disconnection_that_takes_its_time_comes_to_what_its_code_asks_for(
    played: Played, row: Row
) -> None:
    check(row, played.early[row.name])


# -- the host finds the way to WhatsApp by itself ----------------------------------------------------------

OWN_NAMES = (
    'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"'
)
"""Names mean to the command what two files in a directory say, and to nobody else anything new."""


def own_names(directory: Path) -> list[str]:
    """The start of a command that is to believe these files."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / HOSTS).touch()
    (directory / "resolv.conf").write_text(f"nameserver {NOBODY}\noptions timeout:1 attempts:1\n")
    return ["unshare", "--mount", "--map-root-user", "sh", "-c", OWN_NAMES, str(directory)]


@pytest.fixture(scope="module")
def without_proxy(
    service: LoopbackService, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("names") / "host"
    prefix = own_names(directory)
    if subprocess.run([*prefix, "true"], capture_output=True, timeout=10, check=False).returncode:
        pytest.skip("needs a mount namespace, which this system does not allow")
    names = [row.name for row in WITHOUT_PROXY]
    sections = settings(WITHOUT_PROXY)
    stage = Stage(directory, service, template, names, settings=sections, proxied=False, prefix=prefix)
    stage.start()
    yield stage
    stage.stop()


@pytest.mark.parametrize("row", WITHOUT_PROXY, ids=lambda row: row.title)
def test_a_failed_dial_is_told_by_its_cause(without_proxy: Stage, row: Row) -> None:
    check(row, begin(row, without_proxy.scene(row.name)))


# -- two hosts use the same session ------------------------------------------------------------------------


def test_of_two_hosts_with_the_same_session_one_steps_back(
    start_host: StartHost, wa: LoopbackService, number: str, tmp_path: Path
) -> None:
    quick = {"disconnect.440": {"delay": "100ms"}, "recovery": {"multiplier": "1", "on_limit": "abort"}}
    first = start_host(quick, "first")
    first.api.create("sales")
    device = pair(first, wa, "sales", number)
    first.stop()
    shutil.copytree(first.data_dir, tmp_path / "second" / "data")
    first.start()
    first.phase("sales", "open")
    second = start_host(quick, "second")
    second.phase("sales", "open")
    first.phase("sales", "failed", timeout=30)
    assert len(first.log.records(event="disconnected", code=440)) == 5
    assert first.log.records(event="disconnected")[-1]["action"] == "abort"
    is_open = {"instance": {"instanceName": "sales", "state": "open"}}
    assert second.api.connect("sales") == is_open
    assert wa.devices(number) == [device]
    second.stop()
    assert first.api.connect("sales") == is_open


# -- what is checked ---------------------------------------------------------------------------------------


def check(row: Row, begun: Begun) -> None:
    """See the disconnection to its end, and delete the instance."""
    scene, mark = begun.scene, begun.mark
    log = scene.host.log
    line = log.wait_for(
        "disconnected",
        after=mark,
        timeout=row.within,
        where=lambda record: row.action in (record["action"], "grace"),
        instance=scene.name,
        code=row.code,
        cause=row.cause,
    )
    scene.repair()
    check_line(scene, row, line)
    after = mark + log.records_after(mark).index(line)
    scene.host.phase(scene.name, row.phase, after=after, timeout=row.within)
    again = log.records_after(mark, event="disconnected", instance=scene.name, code=row.code)
    again = [record for record in again if record["incarnation"] == line["incarnation"]]
    assert again == [line], "one line for one disconnection"
    check_state(scene, row)
    check_past(scene, row, line)
    if row.phase == "open":
        check_recovery(scene, row, line)
    elif row.action in PERMANENT:
        check_farewell(scene, row)
    check_next(scene, row)
    scene.host.api.delete(scene.name)


def check_line(scene: Scene, row: Row, line: dict[str, Any]) -> None:
    assert (line["action"], line["level"]) == (row.action, LEVELS.get(row.action, "warning"))
    assert line["instance_id"] == scene.id
    assert line["signal"] == (row.signal or None)
    assert line["name"] == NAMES.get(row.code, "unknown")
    known = {"time", "open_for", "previous_phase", "incarnation", "attempt", "detail"}
    assert known <= line.keys()
    assert (line["open_for"] is not None) == (line["previous_phase"] == "open")


def check_state(scene: Scene, row: Row) -> None:
    found = scene.host.api.row(scene.name)
    assert found["phase"] == row.phase
    assert scene.host.api.state(scene.name) == found["connectionStatus"]
    assert found["desired"] == ("down" if row.phase == "closed" else "up")
    if row.action != "next-batch":
        assert found["disconnectionReasonCode"] == row.code
    assert scene.devices() == int(row.kept)


def check_past(scene: Scene, row: Row, line: dict[str, Any]) -> None:
    found = next(
        entry
        for entry in scene.history()
        if entry["kind"] == "disconnection"
        and entry["incarnation"] == line["incarnation"]
        and entry["code"] == row.code
    )
    assert (found["name"], found["cause"], found["action"]) == (line["name"], row.cause, row.action)
    assert (found["previousPhase"], found["duration"]) == (line["previous_phase"], line["open_for"])


def check_recovery(scene: Scene, row: Row, line: dict[str, Any]) -> None:
    """Open again: by the client itself in the same process, or in a new one after the code's delay."""
    log = scene.host.log.records(instance=scene.name)
    opened = next(record for record in log[log.index(line) :] if record.get("phase") == "open")
    ports = [
        record for record in log if record["event"] == "port" and record["incarnation"] > line["incarnation"]
    ]
    told = scene.told("reconnection.success", code=row.code)
    if row.action == "grace" and row.healed:
        assert ports == []
        assert told["strategy"] == "self"
        assert seconds(line, opened) <= row.within
    elif row.action == "restart" or row.cause == "inactivity":
        assert seconds(line, opened) <= LATE
    else:
        asked = delay(row.code) * (2 if row.action == "grace" else 1)
        assert told["strategy"] == "reconnect"
        attempt = scene.told("recovery.attempt", statusReason=row.code, attempt=1)
        assert attempt["delayMs"] == delay(row.code) * 1000
        assert asked - 0.002 <= seconds(line, ports[0]) <= asked + LATE
    recovery = next(entry for entry in scene.history() if entry["kind"] == "recovery" and entry["code"])
    assert (recovery["code"], recovery["result"]) == (row.code, "success")


def check_farewell(scene: Scene, row: Row) -> None:
    told = scene.told("status.instance")
    assert (told["status"], told["disconnectionReasonCode"], told["cause"]) == ("closed", row.code, row.cause)
    scene.told("logout.instance", statusReason=row.code)
    scene.told("connection.update", state="close", statusReason=row.code)
    if row.event is not None:
        scene.told(row.event, statusReason=row.code)


def check_next(scene: Scene, row: Row) -> None:
    """What a user gets who connects the instance now."""
    api = scene.host.api
    if row.connect == "banned":
        refused = api.call("GET", f"/instance/connect/{scene.name}", expect=400)
        [message] = refused["response"]["message"]
        assert re.search(r"banned by WhatsApp until \d{4}-\d\d-\d\dT", message)
        mark = scene.host.log.mark()
        scene.connect()
        scene.host.phase(scene.name, "open", after=mark)
    answer = api.connect(scene.name)
    if row.connect == "code":
        assert answer["code"]
        assert answer["count"] >= 1
    else:
        assert answer == {"instance": {"instanceName": scene.name, "state": "open"}}


def seconds(earlier: dict[str, Any], later: dict[str, Any]) -> float:
    times = [datetime.fromisoformat(record["time"]).timestamp() for record in (earlier, later)]
    return times[1] - times[0]


# -- nothing is forgotten ----------------------------------------------------------------------------------


def test_every_code_and_every_signal_has_its_row() -> None:
    assert {row.code for row in TABLE} >= NAMES.keys()
    assert {row.code for row in TABLE} - NAMES.keys(), "a code that has no row of its own"
    told = {name for name, kind in events.EVENTS.items() if ends_a_connection(kind)}
    assert {row.signal for row in TABLE} - {""} == told - NEVER_SEEN
    assert {row.cause for row in TABLE if row.signal == "DialFailed"} == set(get_args(events.DialCause)) - {
        "unknown"
    }


NEVER_SEEN = {"ConnectReturned"}
"""The client returns without a reason only when it was told to stop, which is no disconnection."""


def ends_a_connection(kind: type[Any]) -> bool:
    """Whether any value of this event is a disconnection."""
    samples = {str: "timeout", int: 1, bool: False}
    values = {name: samples.get(hint) for name, hint in get_type_hints(kind).items()}
    return classify(kind(**values)) is not None


@pytest.mark.parametrize("code", sorted(DEFAULT_RULES.keys() | {row.code for row in TABLE}))
def test_the_table_asks_for_what_the_default_rules_say(code: int) -> None:
    """The delays above are theirs, and so are the ends of its rows."""
    rule = DEFAULT_RULES.get(code, DEFAULT_RULE)
    rows = [row for row in TABLE if row.code == code]
    assert all((row.action in ("logout", "abort")) == rule.permanent for row in rows if row.action != "abort")
    assert all((row.phase == "closed") == rule.cleanup for row in rows)
    assert rule.permanent or rule.delay == DELAYS.get(code, OTHER)
