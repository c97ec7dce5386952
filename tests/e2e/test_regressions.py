"""What users of other gateways suffered, each once: that it does not happen here.

The words in the docstrings are theirs, as they stand in public trackers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import StartHost, pair
from tests.e2e.scene import Scene, Stage
from tests.loopback.harness import Template
from tests.loopback.service import LoopbackService

LIMITED = {
    "recovery.multiplier": "1",
    "recovery.max_attempts": "3",
    "recovery.stable_after": "1m",
    "recovery.on_limit": "abort",
    "disconnect.503.delay": "50ms",
    "disconnect.440.delay": "50ms",
}
"""Three attempts, soon one after another, and an instance that stays failed after them."""

OWN = {
    "limited": LIMITED,
    "flapping": LIMITED,
    "hopeless": {"recovery.max_attempts": "0", "recovery.on_limit": "abort"},
}
NAMES = [*OWN, *(f"number-{index}" for index in range(20))]

Opened = Callable[..., Scene]


@pytest.fixture(scope="module")
def stage(
    service: LoopbackService, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("regressions")
    sections = {f"instance:{name}": own for name, own in OWN.items()}
    found = Stage(directory, service, template, NAMES, settings=sections)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def opened(stage: Stage, wa: LoopbackService) -> Iterator[Opened]:
    """Opens an instance, that of a name or any; it is deleted after the test, if not before."""
    scenes: list[Scene] = []

    def one(name: str | None = None) -> Scene:
        there = [row["name"] for row in stage.host.api.rows() if row["phase"] == "closed"]
        scenes.append(stage.scene(name or next(name for name in there if name not in OWN)))
        scenes[-1].open()
        wa.wait_open(scenes[-1].jid)
        return scenes[-1]

    yield one
    for scene in scenes:
        scene.host.api.client.delete(f"/instance/delete/{scene.name}")


def is_open(scene: Scene) -> bool:
    """What `connect` answers: nothing but that, when it is."""
    answer = scene.host.api.connect(scene.name)
    return bool(answer == {"instance": {"instanceName": scene.name, "state": "open"}})


@pytest.mark.parametrize("code", ["unknown", "", "599", "515"])
def test_a_stream_error_of_an_unknown_kind_leaves_no_silent_session(opened: Opened, code: str) -> None:
    """ "After `Stream Errored (unknown)` it says open, receives nothing, and connect does nothing." """
    scene = opened()
    mark = scene.host.log.mark()
    scene.connection.stream_error(code)
    scene.host.phase(scene.name, "recovering", after=mark)
    scene.host.phase(scene.name, "open", after=mark)
    assert scene.wa.wait_open(scene.jid) == [scene.jid]
    assert is_open(scene)


def test_an_instance_that_could_not_reconnect_is_not_called_open(opened: Opened) -> None:
    """ "It shows connected for days, and neither sends nor receives." The client had given up without a word."""
    scene = opened()
    mark = scene.host.log.mark()
    with scene.wa.refuse_connections("reset", at="websocket"):
        scene.connection.stream_error(515)
        scene.host.phase(scene.name, "recovering", after=mark)
        scene.host.log.wait_for("disconnected", after=mark, instance=scene.name, code=503)
        assert scene.host.api.state(scene.name) == "connecting"
    scene.host.phase(scene.name, "open", after=mark)


def test_all_routes_say_the_same(opened: Opened) -> None:
    """ "`connect` says already connected, everything else says not connected." """
    scene = opened()
    api = scene.host.api

    def said() -> set[str]:
        report = api.call("GET", f"/instance/diagnose/{scene.name}")["currentState"]
        return {api.state(scene.name), api.row(scene.name)["connectionStatus"], report["connectionStatus"]}

    assert said() == {"open"}
    assert is_open(scene)
    mark = scene.host.log.mark()
    with scene.wa.stopped():
        scene.host.phase(scene.name, "recovering", after=mark)
        assert said() == {"connecting"}
    scene.host.phase(scene.name, "open", after=mark)
    assert said() == {"open"}
    api.logout(scene.name)
    assert said() == {"close"}
    api.logout(scene.name, expect=400)


def test_a_logout_that_says_success_has_logged_out(opened: Opened) -> None:
    """ "Logout returns SUCCESS and does nothing: the phone still lists the device, and it is still open." """
    scene = opened()
    assert scene.host.api.logout(scene.name)["status"] == "SUCCESS"
    assert scene.wa.devices(scene.number) == []
    assert scene.wa.connections(scene.jid) == []
    assert not scene.session.exists()
    assert scene.host.api.state(scene.name) == "close"
    assert scene.host.api.connect(scene.name)["count"] == 1


def test_an_instance_can_be_deleted_whatever_became_of_its_link(opened: Opened) -> None:
    """ "I cannot delete the instance: it must be disconnected first, and it cannot be disconnected." """
    ways: dict[str, Callable[[Scene], object]] = {
        "silent": lambda scene: scene.connection.black_hole(),
        "refused": lambda scene: scene.connection.stream_error(401),
        "unlinked": lambda scene: scene.wa.phone(scene.number).remove_device(scene.jid),
        "dropped": lambda scene: scene.wa.stop(),
    }
    for lose in ways.values():
        scene = opened()
        lose(scene)
        scene.host.api.delete(scene.name)
        scene.host.api.call("GET", f"/instance/connectionState/{scene.name}", expect=404)
        assert not scene.session.exists()


@pytest.mark.parametrize("why", ["unlinked", "unlinked while it was not there", "found out by the connect"])
def test_the_first_connect_after_a_disconnection_gives_a_code(opened: Opened, why: str) -> None:
    """ "After the disconnection there is no QR code any more, only delete and create helps." """
    scene = opened()
    wa, host, name = scene.wa, scene.host, scene.name
    mark = host.log.mark()
    if why == "unlinked":
        wa.phone(scene.number).remove_device(scene.jid)
        host.phase(name, "closed", after=mark)
    elif why == "unlinked while it was not there":
        wa.forget_device(scene.jid)
        scene.connection.drop()
        host.phase(name, "closed", after=mark)
    else:
        wa.refuse_logins(405, jid=scene.jid, times=1)
        scene.connection.drop()
        host.phase(name, "failed", after=mark)
        wa.forget_device(scene.jid)
    mark = host.log.mark()
    answer = host.api.connect(name)
    assert answer["count"] == 1
    assert wa.phone(scene.number).scan(answer["code"]).paired
    host.phase(name, "open", after=mark)


def test_a_count_of_0_is_not_for_ever(stage: Stage, wa: LoopbackService) -> None:
    """ "`connect` answers `{"count": 0}`, now and for ever." While WhatsApp is away there is no code; then there is.

    Who asks does not wait for the attempt that is due, only for the delay of its code.
    """
    scene = stage.new_scene("nobody-yet")
    with wa.stopped():
        answer = stage.host.api.connect(scene.name)
        assert answer == {"pairingCode": None, "code": None, "base64": None, "count": 0}
    mark = stage.host.log.mark()
    stage.host.api.connect(scene.name)
    stage.host.phase(scene.name, "awaiting_scan", after=mark)
    answer = stage.host.api.connect(scene.name)
    assert answer["count"] == 1
    assert wa.phone(scene.number).scan(answer["code"]).paired
    stage.host.api.delete(scene.name)


def test_the_attempts_end_and_the_session_does_not(opened: Opened) -> None:
    """ "It restarts for ever, and fills the disk with logs." And: "After five attempts the session was gone." """
    scene = opened("limited")
    log = scene.host.log
    with scene.wa.stopped():
        scene.host.phase("limited", "failed")
        ends = log.records(event="disconnected", instance="limited")
        assert [end["attempt"] for end in ends[-4:]] == [0, 1, 2, 3]
        assert (ends[-1]["action"], ends[-1]["level"]) == ("abort", "error")
        mark = log.mark()
        with pytest.raises(TimeoutError):  # twenty times the delay between attempts
            log.wait_for("port", after=mark, timeout=1.0, instance="limited")
    assert scene.devices() == 1
    assert is_open(scene)


def test_a_link_that_flaps_uses_its_attempts_up(opened: Opened) -> None:
    """ "The counter of attempts is set back after a while, so the limit never comes, and it loops for days." """
    scene = opened("flapping")
    log = scene.host.log
    for attempt in range(4):
        mark = log.mark()
        scene.connection.stream_error(440, "replaced")
        end = log.wait_for("disconnected", after=mark, instance="flapping", code=440)
        assert end["attempt"] == attempt, "open for a moment is no reason to begin anew"
        if attempt < 3:
            scene.host.phase("flapping", "open", after=mark)
            scene.wa.wait_open(scene.jid)
    assert end["action"] == "abort"
    scene.host.phase("flapping", "failed")


def test_no_attempts_means_none(opened: Opened) -> None:
    """ "With 0 attempts it tries without end." Here it gives up at once, and says so."""
    scene = opened("hopeless")
    mark = scene.host.log.mark()
    scene.connection.stream_error(440, "replaced")
    scene.host.phase("hopeless", "failed", after=mark)
    [end] = scene.host.log.records_after(mark, event="disconnected", instance="hopeless")
    assert (end["action"], end["attempt"]) == ("abort", 0)
    assert is_open(scene)


def test_a_logout_ends_one_instance_alone(opened: Opened) -> None:
    """ "Logging one number out disconnects the others as well." """
    first, *others = (opened() for _ in range(3))
    links = [scene.connection.number for scene in others]
    mark = first.host.log.mark()
    first.host.api.logout(first.name)
    assert [scene.connection.number for scene in others] == links
    for scene in others:
        assert not first.host.log.records_after(mark, event="phase", instance=scene.name)
        assert is_open(scene)


def test_no_instance_is_deleted_for_being_disconnected(
    start_host: StartHost, wa: LoopbackService, number: str
) -> None:
    """ "All my instances were removed, since they were disconnected over night." """
    quick = {"max_attempts": "1", "on_limit": "abort", "history_window": "1s"}
    settings = {"recovery": quick, "store": {"history_retention": "1s"}, "disconnect.503": {"delay": "50ms"}}
    host = start_host(settings)
    host.api.create("never")
    host.api.create("sales")
    pair(host, wa, "sales", number)
    ids = {row["name"]: row["id"] for row in host.api.rows()}
    with wa.stopped():
        host.phase("sales", "failed")
        host.stop()
        host.start()
        host.log.wait_for("boot")
    assert {row["name"]: row["id"] for row in host.api.rows()} == ids
    mark = host.log.mark()
    host.api.connect("sales")
    host.phase("sales", "open", after=mark)
