"""Deliveries, the supervision tree, health, pictures."""

from __future__ import annotations

import io

import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from api import qrimage
from tests.api.conftest import Api, message_of
from tests.api.fakes import FakeDelivery


def test_deliveries_are_paged_and_filtered(api: Api) -> None:
    api.gateway.outbox = [FakeDelivery(f"e{number}", "sales") for number in range(5)]
    api.gateway.outbox.append(FakeDelivery("e9", "support", status="pending"))
    first = api.ok(api.get("/webhook/deliveries?instance=sales&status=failed&limit=3"))
    assert [row["eventId"] for row in first["deliveries"]] == ["e0", "e1", "e2"]
    assert first["deliveries"][0]["lastError"] == "503"
    assert first["deliveries"][0]["createdAt"] == "2026-01-01T00:00:00.000Z"
    second = api.ok(api.get(f"/webhook/deliveries?instance=sales&limit=3&cursor={first['next']}"))
    assert [row["eventId"] for row in second["deliveries"]] == ["e3", "e4"]
    assert second["next"] is None
    assert len(api.ok(api.get("/webhook/deliveries"))["deliveries"]) == 6


@pytest.mark.parametrize(
    "query", ["status=lost", "limit=0", "limit=x", "instance=a b", "cursor=nonsense", "cursor=" + "9" * 300]
)
def test_deliveries_that_cannot_be_asked_for(api: Api, query: str) -> None:
    assert f'"{query.partition("=")[0]}"' in message_of(api.get(f"/webhook/deliveries?{query}"), 400)


@pytest.mark.parametrize(
    ("body", "chosen"),
    [
        ({"eventIds": ["a", "b"]}, (["a", "b"], None, None)),
        ({"instance": "sales"}, (None, "sales", None)),
        ({"destination": "https://x"}, (None, None, "https://x")),
        ({"eventIds": ["a"], "instance": "sales"}, (["a"], "sales", None)),
    ],
)
def test_replay(api: Api, body: dict[str, object], chosen: tuple[object, ...]) -> None:
    api.gateway.outbox = [FakeDelivery("a", "sales")]
    assert api.ok(api.post("/webhook/replay", body)) == {"replayed": 1}
    assert api.gateway.replays == [chosen]


@pytest.mark.parametrize(
    "body", [{}, {"eventIds": "a"}, {"eventIds": [1]}, {"eventIds": ["x"] * 501}, {"instance": "a b"}]
)
def test_a_replay_of_nothing_or_of_nonsense(api: Api, body: dict[str, object]) -> None:
    message_of(api.post("/webhook/replay", body), 400)
    assert not api.gateway.replays


def test_the_tree(api: Api) -> None:
    tree = api.ok(api.get("/supervisor/tree"))
    assert tree["path"] == "root"
    store, instances = tree["children"]
    assert store["state"] == "running"
    assert store["uptime"] == 12.5
    assert instances["state"] == "restarting"
    assert instances["dueIn"] == 2.5
    assert instances["lastExit"] == "killed"


def test_restart_of_an_actor(api: Api) -> None:
    assert api.ok(api.post("/supervisor/restart", {"path": "store"}))["status"] == "SUCCESS"
    assert api.gateway.restarted == ["store"]
    assert "no actor of the tree" in message_of(api.post("/supervisor/restart", {"path": "nope"}), 404)


@pytest.mark.parametrize(
    "body", [{}, {"path": ""}, {"path": None}, {"path": 1}, {"path": "x" * 300}, {"path": "a\x00"}]
)
def test_a_path_that_is_none(api: Api, body: dict[str, object]) -> None:
    assert '"path"' in message_of(api.post("/supervisor/restart", body), 400)
    assert not api.gateway.restarted


def test_health_and_readiness(api: Api) -> None:
    assert api.ok(api.get("/healthz", key=None))["status"] == "ok"
    assert api.ok(api.get("/readyz", key=None)) == {"status": "ready", "checks": {"store": True}}
    api.gateway.is_ready = False
    assert api.ok(api.get("/readyz", key=None), 503) == {"status": "not ready", "checks": {"store": False}}


CODES = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=300)


@settings(max_examples=10, deadline=None)
@given(CODES)
def test_a_phone_reads_the_code_from_the_picture(code: str) -> None:
    read = zxingcpp.read_barcode(Image.open(io.BytesIO(qrimage.png(code, "#198754"))))
    assert read is not None
    assert read.text == code


def test_the_svg_has_the_modules_of_the_png() -> None:
    code, color = "2@" + "x" * 230, "#112233"
    svg = qrimage.svg(code, color).decode()
    assert f'fill="{color}"' in svg
    size = int(svg.split('viewBox="0 0 ')[1].split(" ")[0])
    picture = Image.new("L", (size, size), 255)
    for run in svg.split(' d="')[1].split('"')[0].split("M")[1:]:
        start, rest = run.split("h")[0], run.split("h")[1]
        x, y = (int(part) for part in start.split())
        width = int(rest.split("v")[0])
        picture.paste(0, (x, y, x + width, y + 1))
    read = zxingcpp.read_barcode(picture.resize((size * 6, size * 6), Image.Resampling.NEAREST))
    assert read is not None
    assert read.text == code


def test_a_picture_is_drawn_once() -> None:
    qrimage.png.cache_clear()
    qrimage.png("again", "#000000")
    qrimage.png("again", "#000000")
    assert qrimage.png.cache_info().hits == 1
    assert qrimage.png.cache_info().maxsize == 64
