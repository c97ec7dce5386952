"""A receiver that is down, or refuses everything, for long: nothing is lost, and nobody else notices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from actors.delivery import replay
from bench.outage import outage
from tests.actors.delivery.conftest import Host
from tests.actors.delivery.receiver import Receiver

StartHost = Callable[..., Host]


def test_a_backlog_takes_no_memory_drains_in_order_and_delays_nobody(store_url: str, tmp_path: Path) -> None:
    """The order, and that nothing is missing, are checked by the measurement."""
    seen = outage(store_url, tmp_path, events=2000, rate=400.0, calm=1.0)
    assert seen.events >= 1800
    early, late = seen.rss_mib
    assert late - early < 15
    assert seen.during_p99_ms < 1000


def test_what_a_receiver_refused_for_an_hour_can_be_sent_again_and_delays_nobody(
    start_host: StartHost, receiver: Receiver
) -> None:
    """It answers 401 to everything, as after a change of its keys, until somebody mends it."""
    locked = Receiver(lambda _: 401).start()
    host = start_host()
    host.instance("well", receiver.url)
    for name in ("a", "b"):
        host.instance(name, locked.url)
    committed: dict[str, list[str]] = {"a": [], "b": [], "well": []}
    for number in range(100):
        for name, ids in committed.items():
            ids.append(host.emit(name, number))
    assert [got.event_id for got in receiver.wait_for(100)] == committed["well"]
    locked.wait(lambda me: len(me.got) == 200)
    failed = host.until(lambda seen: len(seen) == 200, status="failed")
    assert {view.last_error for view in failed} == {"HTTP 401"}
    assert {view.event_id for view in failed} == {*committed["a"], *committed["b"]}
    assert len(locked.got) == 200, "each is tried once, and then waits for somebody"

    refused = len(locked.got)
    locked.script = lambda _: 200
    assert replay(host.system, destination=locked.url) == 200
    locked.wait_for(200)
    for name in ("a", "b"):
        got = [one.event_id for one in locked.got[refused:] if one.json["instance"] == name]
        assert got == committed[name]
    assert {view.status for view in host.until_settled()} == {"delivered"}
    locked.stop()
