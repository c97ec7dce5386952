"""What takes minutes of real time: all of it runs at once, four minutes in all."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .harness import Client, Template
from .journal import Event
from .service import LoopbackService

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Scene:
    """One client on a service of its own."""

    client: Client
    service: LoopbackService
    jid: str

    def gaps(self) -> list[float]:
        times = [event["at"] for event in self.client.seen]
        return [after - before for before, after in itertools.pairwise(times)]


class Stage:
    """Opens scenes, each with its own service that is trusted by the same key."""

    def __init__(self, folder: Path, template: Template, authority: Path) -> None:
        self._folder = folder
        self._template = template
        self._authority = authority
        self.scenes: list[Scene] = []

    def open(self, name: str, *, linked: bool, **faults: Any) -> Scene:
        folder = self._folder / name
        wa = LoopbackService(folder, authority=self._authority).open()
        database = folder / "client.db"
        jid = self._template.make(wa, "5511922222222", database) if linked else ""
        if faults:
            wa.refuse_connections(**faults)
        scene = Scene(Client(wa, database), wa, jid)
        self.scenes.append(scene)
        return scene

    def close(self) -> None:
        for scene in self.scenes:
            scene.client.close()
            scene.service.close()


@pytest.fixture(scope="module")
def scenes(
    service: LoopbackService, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Scene]]:
    stage = Stage(tmp_path_factory.mktemp("minutes"), template, service.authority.directory)
    try:
        opened = {
            name: stage.open(name, linked=True) for name in ("dead", "mended", "logout", "stop", "retries")
        }
        opened["codes"] = stage.open("codes", linked=False)
        for place in ("tcp", "tls", "websocket", "noise"):
            opened[f"hang {place}"] = stage.open(f"hang {place}", linked=False, how="hang", at=place)
        opened["closed noise"] = stage.open("closed noise", linked=False, how="closed", at="noise")
        for name in ("dead", "mended", "logout", "stop", "retries"):
            scene = opened[name]
            scene.client.wait("Connected")
            scene.service.wait_open(scene.jid)
            if name == "retries":
                scene.service.refuse_connections("reset", at="connect")
                scene.service.connection(scene.jid).drop()
            else:
                scene.service.connection(scene.jid).black_hole()
        for name in ("logout", "stop"):
            opened[name].client.command(name)
        yield opened
    finally:
        stage.close()


def test_tries_come_after_0_2_4_6_seconds_and_so_on(scenes: dict[str, Scene]) -> None:
    wa = scenes["retries"].service
    faults: list[Event] = []
    for _ in range(5):
        faults.append(wa.wait_for("fault", after=faults[-1].number if faults else 0, timeout=30))
    gaps = [round(after.at - before.at) for before, after in itertools.pairwise(faults)]
    assert gaps == [2, 4, 6, 8]


def test_stop_takes_five_seconds_on_a_dead_link(scenes: dict[str, Scene]) -> None:
    assert 4.5 < scenes["stop"].client.wait("done", timeout=30)["took"] < 8


def test_a_dial_that_hangs_within_tls_ends_after_ten_seconds(scenes: dict[str, Scene]) -> None:
    client = scenes["hang tls"].client
    started = client.wait("started")
    raised = client.wait("connect.raised", timeout=30)
    assert 9 < raised["at"] - started["at"] < 12
    assert "TLS handshake timeout" in raised["error"]


@pytest.mark.parametrize("name", ["hang noise", "closed noise"])
def test_a_dial_that_hangs_within_the_handshake_ends_after_twenty_seconds(
    scenes: dict[str, Scene], name: str
) -> None:
    client = scenes[name].client
    started = client.wait("started")
    raised = client.wait("connect.raised", timeout=40)
    assert 19 < raised["at"] - started["at"] < 22
    assert "timed out waiting for handshake response" in raised["error"]


def test_a_dial_whose_proxy_never_answers_ends_after_a_minute(scenes: dict[str, Scene]) -> None:
    client = scenes["hang tcp"].client
    started = client.wait("started")
    raised = client.wait("connect.raised", timeout=90)
    assert 59 < raised["at"] - started["at"] < 63


def test_a_mended_black_hole(scenes: dict[str, Scene]) -> None:
    scene = scenes["mended"]
    scene.client.wait("KeepAliveTimeout", timeout=60)
    (connection,) = scene.service.connections()
    connection.black_hole(False)
    scene.client.wait("KeepAliveRestored", timeout=60)
    assert scene.client.names == ["started", "Connected", "KeepAliveTimeout", "KeepAliveRestored"]
    connection.drop()
    assert scene.client.until("Connected") == ["Disconnected", "Connected"]


def test_logout_blocks_for_75_seconds_on_a_dead_link(scenes: dict[str, Scene]) -> None:
    raised = scenes["logout"].client.wait("raised", timeout=120)
    assert 74 < raised["took"] < 78
    assert "timed out" in raised["error"]


def test_six_codes_without_a_scan(scenes: dict[str, Scene]) -> None:
    """Codes at 0, 60, 80, 100, 120 and 140 seconds; at 160 a status, no event, and no return of ``connect``."""
    client = scenes["codes"].client
    client.wait("status", timeout=200)
    assert client.names == ["started", *["QR"] * 6, "status"]
    assert client.seen[-1]["status"] == "timeout"
    assert [round(gap) for gap in scenes["codes"].gaps()[1:]] == [60, 20, 20, 20, 20, 20]
    assert client.quiet(2)


def test_a_dead_link_is_replaced_after_200_seconds(scenes: dict[str, Scene]) -> None:
    """``KeepAliveTimeout`` about every 33 seconds; no ``Disconnected`` before the reconnect after three minutes."""
    client = scenes["dead"].client
    client.wait("Connected", timeout=300)
    names = client.names
    assert names[:2] == ["started", "Connected"]
    assert set(names[2:-1]) == {"KeepAliveTimeout"}
    assert 5 <= len(names[2:-1]) <= 8
    assert 180 < sum(scenes["dead"].gaps()[1:]) < 250


def test_a_dial_whose_upgrade_is_never_answered_hangs_for_ever(scenes: dict[str, Scene]) -> None:
    """Nothing within the minutes that the tests before this one took."""
    client = scenes["hang websocket"].client
    client.wait("started")
    assert client.quiet(1)
