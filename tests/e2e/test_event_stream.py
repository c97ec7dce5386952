"""The stream of events of a real host: what is committed is heard, once, in order, also across a killed host."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.conftest import StartHost, pair
from tests.e2e.harness import HostProcess
from tests.loopback.service import LoopbackService

Message = dict[str, Any]


@contextmanager
def listening(host: HostProcess, after: int | None = None, **query: str) -> Iterator[Iterator[Message]]:
    """The messages of the stream, from an id on."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    with host.api.client.stream("GET", "/events", headers=headers, params=query, timeout=15) as answer:
        assert answer.status_code == 200
        yield messages(answer.iter_lines())


def messages(lines: Iterator[str]) -> Iterator[Message]:
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            yield {"seq": int(fields["id"]), **json.loads(fields["data"])}
            fields = {}


def until(stream: Iterator[Message], state: str) -> list[Message]:
    """What is heard until the instance is in a state."""
    heard = []
    for message in stream:
        heard.append(message)
        if message["event"] == "connection.update" and message["data"]["state"] == state:
            return heard
    raise AssertionError(f"the stream ended before {state}: {heard}")


def committed(host: HostProcess) -> list[tuple[int, str]]:
    """The events in the host's database."""
    with sqlite3.connect(f"file:{host.data_dir / 'zapvisor.db'}?mode=ro", uri=True) as database:
        return list(database.execute("SELECT seq, event FROM event ORDER BY seq"))


def test_a_life_is_heard_and_resumed_after_a_kill(
    start_host: StartHost, wa: LoopbackService, number: str
) -> None:
    host = start_host()
    with listening(host) as stream:
        host.api.create("sales")
        pair(host, wa, "sales", number)
        heard = until(stream, "open")
    names = [message["event"] for message in heard]
    assert names[0] == "instance.create"
    assert "qrcode.updated" in names
    code = next(message["data"]["qrcode"] for message in heard if message["event"] == "qrcode.updated")
    assert "2@" in code["code"]
    assert code["base64"].startswith("data:image/png;base64,")

    last = heard[-1]["seq"]
    host.kill()
    host.start()
    with listening(host, after=last) as stream:
        heard += until(stream, "open")
    ids = [message["seq"] for message in heard]
    assert ids == sorted(set(ids))
    assert [(message["seq"], message["event"]) for message in heard] == committed(host)[: len(heard)]


def test_a_token_hears_its_own(start_host: StartHost) -> None:
    host = start_host()
    host.api.create("first", token="token-of-the-first")
    mine = host.api_with("token-of-the-first")
    with mine.client.stream("GET", "/events", params={"event": "instance.delete"}, timeout=15) as answer:
        stream = messages(answer.iter_lines())
        host.api.create("second")
        host.api.delete("second")
        host.api.delete("first")
        heard = next(stream)
    assert (heard["event"], heard["instance"]) == ("instance.delete", "first")
