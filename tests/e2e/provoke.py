"""How to make a connection end, in each way that there is."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.e2e.scene import Scene
from tests.loopback.link import Drop
from tests.loopback.rules import How, Outcome
from tests.loopback.service import LoopbackService

Provoke = Callable[[Scene], object]

HOSTS = "hosts"
WHATSAPP = "web.whatsapp.com"
NOBODY = "127.9.9.9"
NOWHERE = "255.255.255.255"


def drop(how: Drop) -> Provoke:
    return lambda scene: scene.connection.drop(how)


def stream_error(code: int | str, conflict: str | None = None) -> Provoke:
    return lambda scene: scene.connection.stream_error(code, conflict)


def reconnect_fails_after_515(scene: Scene) -> None:
    scene.wa.refuse_connections("reset", at="websocket", times=1)
    scene.connection.stream_error(515)


def replaced_again_and_again(scene: Scene) -> None:
    for _ in range(5):
        mark = scene.host.log.mark()
        scene.wa.wait_open(scene.jid)
        scene.connection.stream_error(440, "replaced")
        scene.host.log.wait_for("disconnected", after=mark, instance=scene.name)


def device_removed(scene: Scene) -> None:
    scene.wa.phone(scene.number).remove_device(scene.jid)


def login(reason: int, times: int | None = None, **attributes: str | int) -> Provoke:
    def provoke(scene: Scene) -> None:
        scene.rule(scene.wa.refuse_logins(reason, jid=scene.jid, times=times, **attributes))
        scene.connect()

    return provoke


def register(reason: int) -> Provoke:
    def provoke(scene: Scene) -> None:
        scene.rule(scene.wa.refuse_registrations(reason))
        scene.connect()

    return provoke


def dial(how: How, at: str) -> Provoke:
    def provoke(scene: Scene) -> None:
        scene.rule(scene.wa.refuse_connections(how, at=at))
        scene.connect()

    return provoke


def silence(scene: Scene) -> None:
    scene.wa.silence_after_success(jid=scene.jid, times=1)
    scene.connect()


def proxy_without_an_address(scene: Scene) -> None:
    scene.proxy(("proxy.invalid", 3128))
    scene.repairs.append(lambda: scene.proxy(None))
    scene.connect()


def store_is_corrupt(scene: Scene) -> None:
    scene.session.write_bytes(b"nonsense" * 1000)
    scene.connect()


def store_lost_device(scene: Scene) -> None:
    scene.sql("DELETE FROM whatsmeow_device")
    scene.connect()


def store_is_newer(scene: Scene) -> None:
    scene.sql("UPDATE whatsmeow_version SET version = version + 1000, compat = compat + 1000")
    restore = "UPDATE whatsmeow_version SET version = version - 1000, compat = compat - 1000"
    scene.repairs.append(lambda: scene.sql(restore))
    scene.connect()


def untrusted(scene: Scene) -> None:
    """The way leads to a server that is not WhatsApp's."""
    other = LoopbackService(scene.host.directory / "other").open()
    scene.proxy(("127.0.0.1", other.port))
    scene.repairs += [other.close, lambda: scene.proxy(None)]
    scene.connect()


def nobody_scans(scene: Scene) -> None:
    scene.wa.script_pairing(refs=1, lifetimes=[0.1] * 6, times=1)
    scene.code()


def old_phone(scene: Scene) -> None:
    assert scene.wa.phone(scene.number).scan(scene.code(), multidevice=False).outcome == "no_multidevice"


def forged_scan(scene: Scene) -> None:
    assert scene.wa.phone(scene.number).scan(scene.code(), forge="bad_signature").outcome == "refused"


def port_gets(number: signal.Signals) -> Provoke:
    return lambda scene: scene.signal(number)


# Those that take their time on a service of their own, while the others are played:


def black_hole(scene: Scene) -> None:
    mark = scene.host.log.mark()
    scene.pair()
    scene.host.phase(scene.name, "open", after=mark)
    scene.wa.wait_open(scene.jid)
    connection = scene.connection
    connection.black_hole()
    scene.repairs.append(lambda: connection.black_hole(on=False))


def pairing(outcome: Outcome) -> Provoke:
    def provoke(scene: Scene) -> None:
        scene.wa.script_pairing(outcome=outcome, times=1)
        scene.pair()

    return provoke


def hangs_in_tls(scene: Scene) -> None:
    scene.wa.refuse_connections("hang", at="tls", times=1)
    mark = scene.wa.mark()
    scene.connect()
    scene.wa.wait_for("fault", after=mark)


# Those that leave the host's own way to the service:


def resolves_to(address: str | None) -> Provoke:
    """What the host's computer knows WhatsApp's name to mean; None: nothing."""

    def provoke(scene: Scene) -> None:
        known = "127.0.0.1 localhost\n" + (f"{address} {WHATSAPP}\n" if address else "")
        (scene.host.directory / HOSTS).write_text(known)
        scene.repairs.append(lambda: scene.proxy(("127.0.0.1", scene.wa.port)))
        scene.connect()

    return provoke
