"""The dashboard's pages as the server draws them: what they show, and that they are safe to show it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.disconnect import NAMES
from actors.figures import Figures
from api.dashboard import words
from api.dashboard.timeline import SPANS, WIDTH, timeline
from api.gateway import CallTimeout, InstanceView, Phase, QrView, TreeNode
from supervisor import reasons
from tests.api.conftest import HOST_KEY, SETTINGS, Api, build
from tests.api.fakes import EPOCH, FakeDelivery, FakeEntry, MemoryGateway, node
from tests.api.stream import FeedGateway

DASHBOARD = replace(SETTINGS, dashboard=True)
DAY = 86_400.0
NOW = EPOCH + 10 * DAY


@pytest.fixture
def site() -> Api:
    """The dashboard with somebody signed in, ten days after the instances were created."""
    api = build(DASHBOARD, FeedGateway())
    api.clock.now += 10 * DAY
    api.client.post("/dashboard/sign-in", data={"key": HOST_KEY})
    return api


def page(api: Api, path: str = "/", status: int = 200) -> str:
    response = api.get(path, key=None)
    assert response.status_code == status
    assert response.mimetype == "text/html"
    return response.get_data(as_text=True)


def text_of(html: str) -> str:
    """What a reader sees, with single blanks."""
    plain = " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<(script|svg|head)\b.*?</\1>", " ", html)).split())
    return plain.replace("\N{EN DASH}", "-")


PAGES = (
    "/",
    "/dashboard/instances/sales",
    "/dashboard/instances/scan",
    "/dashboard/instances/lost",
    "/dashboard/instances/dead",
    "/dashboard/instances/gone",
    "/dashboard/diagnosis/sales",
    "/dashboard/tree",
    "/dashboard/deliveries",
    "/dashboard/deliveries?status=all",
    "/dashboard/instances/nobody",
)


def inhabit(gateway: MemoryGateway, hostile: str = "") -> None:
    """An instance of every sort; `hostile` stands wherever a text comes from outside."""
    lost = {
        "disconnection_code": 408,
        "disconnection_at": NOW - 90,
        "disconnection_object": {"cause": "keepalive"},
    }
    gateway.add(
        "sales",
        phase=Phase.OPEN,
        logged_in=True,
        open_since=NOW - 3700,
        owner_jid="5511999990001:12@s.whatsapp.net",
        profile_name="Sales desk" + hostile,
        figures=Figures({(428, "grace"): 3}, {("self", "success"): 2}),
        pid=4242,
        rss_bytes=17 << 20,
        heartbeat_at=NOW - 3,
    )
    gateway.add("scan", phase=Phase.AWAITING_SCAN, qr=QrView("2@secret-code", "ABCD1234", 3, NOW - 7))
    gateway.add(
        "lost", phase=Phase.RECOVERING, logged_in=True, restart_due=NOW + 12, recovery_attempts=2, **lost
    )
    gateway.add("dead", phase=Phase.FAILED, failed_reason="5 attempts in a row failed" + hostile, **lost)
    gateway.add("gone", phase=Phase.CLOSED, number=hostile or None)
    gateway.entries = [
        FakeEntry(
            2, at=NOW - 80, kind="recovery", strategy="self" + hostile, result="success", duration_s=0.412
        ),
        FakeEntry(
            1, at=NOW - 90, code=408, cause="keepalive" + hostile, action="grace" + hostile, duration_s=3600
        ),
    ]
    gateway.outbox = [
        FakeDelivery("e-1", "sales", last_error="HTTP 503" + hostile, destination="https://h/" + hostile),
        FakeDelivery("e-2", "sales", status="delivered", delivered_at=NOW),
    ]


# What is shown


def test_a_pairing_code_that_is_refused_is_told_with_the_reason(site: Api) -> None:
    qr = QrView("2@secret-code", None, 3, NOW - 7, "rate-overlimit")
    site.gateway.add("scan", phase=Phase.AWAITING_SCAN, number="5511999990001", qr=qr)
    shown = text_of(page(site, "/dashboard/instances/scan"))
    assert "There is no code to type for +5511999990001: rate-overlimit" in shown


def test_the_overview_tells_of_each_instance(site: Api) -> None:
    inhabit(site.gateway)
    rows = dict(re.findall(r'(?s)<tr role="row" id="row-.*?>(\w+)</a>(.*?)</tr>', page(site)))
    assert text_of(rows["sales"]) == "Sales desk Open +5511999990001 1 h 1 min 2 None"
    assert text_of(rows["scan"]) == "Waiting for scan - - 0 None"
    assert text_of(rows["lost"]) == "Recovering again in 12 s - - 0 WhatsApp stopped answering 1 min ago"
    assert text_of(rows["dead"]) == "Failed - - 0 WhatsApp stopped answering 1 min ago"
    assert text_of(rows["gone"]) == "Closed - - 0 None"


def test_the_overview_counts_the_phases_that_there_are(site: Api) -> None:
    inhabit(site.gateway)
    site.gateway.add("also", phase=Phase.OPEN)
    [counts] = re.findall(r'(?s)<ul class="counts".*?</ul>', page(site))
    assert text_of(counts) == "2 Open 1 Waiting for scan 1 Recovering 1 Closed 1 Failed"


def test_without_instances_it_says_how_to_begin(site: Api) -> None:
    assert "No instance yet" in page(site)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("sales", "Connected +5511999990001 Sales desk Open for 1 h 1 min ."),
        ("lost", "WhatsApp stopped answering Attempt 2, next try in 12 s . Lost 1 min ago . Try now"),
        ("dead", "Given up 5 attempts in a row failed WhatsApp stopped answering (408), 1 min ago . Connect"),
        ("gone", "Not connected Connect it to get a code for the phone. Connect"),
    ],
)
def test_an_instance_says_where_it_is_and_what_to_do(site: Api, name: str, says: str) -> None:
    inhabit(site.gateway)
    [stage] = re.findall(
        r'(?s)<section class="stage.*?</section>', page(site, f"/dashboard/instances/{name}")
    )
    assert text_of(stage) == says


def test_a_code_is_drawn_with_its_number_and_what_to_type(site: Api) -> None:
    inhabit(site.gateway)
    html = page(site, "/dashboard/instances/scan")
    assert 'data-count="3"' in html
    assert '<svg xmlns="http://www.w3.org/2000/svg"' in html
    assert "ABCD-1234" in html
    assert 'aria-label="Pairing code A B C D 1 2 3 4"' in html
    assert "Code 3, shown 7 s ago" in text_of(html).replace(" .", ".")


@pytest.mark.parametrize(
    ("view", "offered"),
    [
        ({"phase": Phase.OPEN, "logged_in": True}, {"Restart", "Log out"}),
        ({"phase": Phase.RECOVERING, "logged_in": True}, {"Restart", "Log out", "Try now"}),
        ({"phase": Phase.AWAITING_SCAN}, {"Cancel"}),
        ({"phase": Phase.STARTING}, {"Cancel"}),
        ({"phase": Phase.STOPPING, "logged_in": True}, set()),
        ({"phase": Phase.CLOSED}, {"Connect"}),
        ({"phase": Phase.CLOSED, "logged_in": True}, {"Connect", "Log out"}),
        ({"phase": Phase.FAILED}, {"Connect"}),
    ],
)
def test_what_is_offered_is_what_the_phase_allows(
    site: Api, view: dict[str, object], offered: set[str]
) -> None:
    site.gateway.add("sales", **view)
    html = page(site, "/dashboard/instances/sales")
    buttons = {text_of(button) for button in re.findall(r"(?s)<button[^>]*data-call.*?</button>", html)}
    assert buttons == offered | {"Reset", "Delete"}


def test_what_cannot_be_undone_is_asked_first(site: Api) -> None:
    inhabit(site.gateway)
    html = page(site, "/dashboard/instances/sales")
    for path in ("DELETE /instance/delete/", "POST /instance/reset/", "DELETE /instance/logout/"):
        [button] = re.findall(rf'(?s)<button[^>]*data-call="{path}sales".*?>', html)
        assert "data-confirm" in button


def test_history_is_told_in_words(site: Api) -> None:
    inhabit(site.gateway)
    [table] = re.findall(r"(?s)<tbody.*?</tbody>", page(site, "/dashboard/instances/sales"))
    said = text_of(re.sub(r"(?s)<time.*?</time>", "", table))
    assert (
        said
        == "Back after 412 ms by itself 428 WhatsApp stopped answering after 1 h 0 min open, given time to heal 408"
    )


def test_more_of_a_long_history_is_a_click_away(site: Api) -> None:
    inhabit(site.gateway)
    site.gateway.entries = [FakeEntry(id, at=NOW - 1000 + id) for id in range(300, 0, -1)]
    assert page(site, "/dashboard/instances/sales").count('id="past-') == 21  # the table, and the heading
    assert "rows=100" in page(site, "/dashboard/instances/sales")
    assert page(site, "/dashboard/instances/sales?rows=500").count('<tr role="row" id="past-') == 300


def test_the_tree_shows_what_waits_and_until_when(site: Api) -> None:
    site.gateway.tree = lambda: node(
        "root",
        node("store", mailbox=7),
        node(
            "instances",
            node("instances/c", pid=4711),
            node("instances/a", state="restarting", due_in=4.2, restarts=3, last_exit="killed"),
            node("instances/b", state="restarting", due_in=None, last_exit="shutdown"),
            kind="supervisor",
        ),
        kind="supervisor",
    )
    html = page(site, "/dashboard/tree")
    [waiting] = re.findall(r'(?s)<section class="panel warned".*?</section>', html)
    assert text_of(waiting) == (
        "Waiting to be restarted instances/a in 4 s killed instances/b held until its session decides shutdown"
    )
    [totals] = re.findall(r'(?s)<ul class="counts" id="totals".*?</ul>', html)
    assert text_of(totals) == "4 actors run 3 restarts 7 messages wait 2 to be restarted"
    assert "c worker process 4711 running" in text_of(html)


def test_a_large_tree_is_folded(site: Api) -> None:
    def branch(n: int) -> TreeNode:
        return node(f"instances/i{n}", node(f"instances/i{n}/session"), kind="supervisor")

    site.gateway.tree = lambda: node(
        "root", node("instances", *(branch(n) for n in range(300)), kind="supervisor"), kind="supervisor"
    )
    assert len(re.findall(r"<details[^>]* open", page(site, "/dashboard/tree"))) == 1


def test_what_failed_can_be_sent_again(site: Api) -> None:
    inhabit(site.gateway)
    html = page(site, "/dashboard/deliveries")
    assert "e-2" not in html
    buttons = re.findall(r"data-call=\"POST /webhook/replay\" data-body='([^']*)'", html)
    assert buttons == ['{"eventIds": ["e-1"]}', '{"eventIds": ["e-1"], "instance": "sales"}']
    assert "e-2" in page(site, "/dashboard/deliveries?status=all")
    assert "Nothing is waiting" in page(site, "/dashboard/deliveries?status=pending")


def test_the_diagnosis_is_told_in_words(site: Api) -> None:
    inhabit(site.gateway)
    said = text_of(page(site, "/dashboard/diagnosis/sales"))
    for words_ in (
        "WhatsApp can be reached",
        "Names are resolved",
        "No proxy",
        "There are no credentials",
        "No process",
    ):
        assert words_ in said


# Failures


def test_an_unknown_instance_or_page_is_a_page(site: Api) -> None:
    assert "does not exist" in page(site, "/dashboard/instances/nobody", 404)
    assert "There is no such page" in page(site, "/dashboard/deliveries?cursor=x", 404)


def test_a_part_that_is_away_is_said_without_its_details(site: Api) -> None:
    inhabit(site.gateway)
    site.gateway.fail = lambda name, message: CallTimeout("store", 1.0, "queued")
    html = page(site, "/dashboard/instances/sales", 503)
    assert "does not answer now" in html


def test_a_gateway_that_knows_less_shows_less() -> None:
    class Small(MemoryGateway):
        deliveries = None  # type: ignore[assignment]

    api = build(DASHBOARD, Small())
    api.client.post("/dashboard/sign-in", data={"key": HOST_KEY})
    assert "Deliveries" not in page(api)


# Safety


@pytest.mark.parametrize("path", [*PAGES, "/dashboard/sign-in"])
def test_pages_have_no_script_or_style_inside(site: Api, path: str) -> None:
    """The policy forbids it, and so a page that had any would be broken."""
    inhabit(site.gateway)
    response = site.get(path, key=None)
    html = response.get_data(as_text=True)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", html)
    policy = response.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["X-Frame-Options"] == "DENY"
    assert response.headers["Cache-Control"] == "no-store"
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', html), "nothing from elsewhere"


@pytest.mark.parametrize("path", PAGES)
def test_texts_from_outside_are_texts(site: Api, path: str) -> None:
    hostile = """<img src=x onerror=alert(1)>"'`</script><b hidden>"""
    inhabit(site.gateway, hostile)
    tree = site.gateway.tree()
    site.gateway.tree = lambda: replace(
        tree, children=(node("store", last_exit=hostile, state="restarting"),)
    )
    html = site.get(path, key=None).get_data(as_text=True)
    assert "<img" not in html
    assert "<b hidden>" not in html
    assert "onerror=alert(1)>" not in html.replace("&gt;", "")


@pytest.mark.parametrize("path", PAGES)
def test_pages_hold_no_secret(site: Api, path: str) -> None:
    inhabit(site.gateway)
    html = site.get(path, key=None).get_data(as_text=True)
    for secret in (HOST_KEY, "token-of-sales", "2@secret-code"):
        assert secret not in html


class Outline(HTMLParser):
    """Ids, labels, buttons and pictures of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.refers: list[str] = []
        self.inputs: list[dict[str, str | None]] = []
        self.labelled: set[str | None] = set()
        self.headings: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        for name in ("aria-labelledby", "aria-describedby"):
            self.refers += (found.get(name) or "").split()
        if tag in ("input", "select") and found.get("type") != "hidden":
            self.inputs.append(found)
        if tag == "label":
            self.labelled.add(found.get("for"))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)


@pytest.mark.parametrize("path", [*PAGES[:-1], "/dashboard/sign-in"])
def test_every_field_has_a_label_and_every_id_is_one(site: Api, path: str) -> None:
    inhabit(site.gateway)
    for n in range(9):
        site.gateway.add(f"more-{n}")
    if path == "/dashboard/sign-in":
        site.client.post("/dashboard/sign-out")
    outline = Outline(page(site, path))
    assert len(outline.ids) == len(set(outline.ids))
    assert set(outline.refers) <= set(outline.ids)
    for field in outline.inputs:
        assert field.get("id") in outline.labelled or field.get("aria-hidden") == "true", field


# Assets


def test_assets_are_named_by_their_content_and_kept(site: Api) -> None:
    site.client.post("/dashboard/sign-out")
    found = set(re.findall(r'(?:href|src)="(/dashboard/static/[^"]+)"', page(site, "/dashboard/sign-in")))
    assert len(found) == 3
    for path in found:
        response = site.get(path, key=None)
        assert response.status_code == 200
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "immutable" not in site.get("/dashboard/static/app.js", key=None).headers["Cache-Control"]


@pytest.mark.parametrize("path", ["../pages.py", "..%2fpages.py", "/etc/passwd", "nothing.js"])
def test_nothing_but_assets_is_served(site: Api, path: str) -> None:
    assert site.get(f"/dashboard/static/{path}", key=None).status_code == 404


def test_the_script_and_the_style_load_nothing(site: Api) -> None:
    for name in ("app.js", "app.css", "icon.svg"):
        text = site.get(f"/dashboard/static/{name}", key=None).get_data(as_text=True)
        assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org)|\beval\b|innerHTML", text), name


# Words


@pytest.mark.parametrize("code", NAMES)
def test_every_code_has_words(code: int) -> None:
    assert reasons.reason(code, None) != "Connection ended"


def test_every_phase_has_words() -> None:
    assert set(words.PHASES) == set(Phase)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0004, "0 ms"),
        (0.412, "412 ms"),
        (4.21, "4.2 s"),
        (12.9, "12 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (11520, "3 h 12 min"),
        (4 * DAY + 3 * 3600, "4 d 3 h"),
        (None, ""),
    ],
)
def test_durations(seconds: float | None, said: str) -> None:
    assert words.span(seconds) == said


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("5511999990001:12@s.whatsapp.net", "+5511999990001"),
        ("5511999990001@s.whatsapp.net", "+5511999990001"),
        ("5511999990001", "+5511999990001"),
        ("12036302@g.us", "+12036302"),
        ("abc", "abc"),
        ("", None),
        (None, None),
    ],
)
def test_numbers(raw: str | None, shown: str | None) -> None:
    assert words.phone_number(raw) == shown


# The timeline


@pytest.fixture
def sales() -> InstanceView:
    return MemoryGateway().add("sales", phase=Phase.OPEN, open_since=NOW - 3600, created_at=EPOCH)


def bands(view: InstanceView, entries: list[FakeEntry], span: str = "24h") -> list[tuple[str, float, float]]:
    found = timeline(view, entries, span, NOW).bands
    return [(band.kind, band.x, round(band.x + band.width)) for band in found]


def test_open_and_lost_times_are_bands(sales: InstanceView) -> None:
    lost = FakeEntry(1, at=NOW - DAY / 4, duration_s=DAY / 4)
    back = FakeEntry(2, at=NOW - 3600, kind="recovery", duration_s=DAY / 4 - 3600, result="success")
    assert bands(sales, [back, lost]) == [
        ("recovering", 750.0, 958),
        ("open", 500.0, 750),
        ("open", 958.33, 1000),
    ]


def test_of_the_time_without_a_record_nothing_is_said(sales: InstanceView) -> None:
    """A host that was stopped writes down no end; neither open nor closed would be true."""
    assert bands(sales, []) == [("open", 958.33, 1000)]
    assert timeline(sales, [], "24h", NOW).share_open == 1.0


def test_what_began_before_the_picture_begins_at_its_edge(sales: InstanceView) -> None:
    lost = FakeEntry(1, at=NOW - DAY / 2, duration_s=5 * DAY)
    assert ("open", 0.0, 500) in bands(sales, [lost])


def test_a_moment_is_still_to_be_seen(sales: InstanceView) -> None:
    blink = FakeEntry(2, at=NOW - 3600, kind="recovery", duration_s=0.007, result="success")
    assert ("recovering", 958.33, 960) in bands(sales, [blink])


def test_times_that_overlap_are_one_band(sales: InstanceView) -> None:
    twice = [FakeEntry(id, at=NOW - 3600 * id, duration_s=7200) for id in (5, 6)]
    assert bands(sales, twice) == [("open", 666.67, 792), ("open", 958.33, 1000)]


def test_after_the_end_it_is_closed_until_it_is_open_again(sales: InstanceView) -> None:
    entries = [
        FakeEntry(1, at=NOW - DAY / 2, duration_s=DAY / 4),
        FakeEntry(2, at=NOW - DAY / 4, duration_s=None, action="abort"),
    ]
    assert bands(sales, entries) == [
        ("closed", 750.0, 958),
        ("recovering", 500.0, 750),
        ("open", 250.0, 500),
        ("open", 958.33, 1000),
    ]
    assert timeline(sales, entries, "24h", NOW).share_open == pytest.approx(7 / 18)


@pytest.mark.parametrize("phase", [Phase.CLOSED, Phase.FAILED, Phase.AWAITING_SCAN, Phase.STARTING])
def test_without_a_connection_it_is_closed_since_its_last_end_or_its_creation(
    sales: InstanceView, phase: Phase
) -> None:
    ended = replace(sales, phase=phase, open_since=None, disconnection_at=NOW - DAY / 4)
    assert bands(ended, []) == [("closed", 750.0, 1000)]
    new = replace(ended, disconnection_at=None, created_at=NOW - DAY / 8)
    assert bands(new, []) == [("closed", 875.0, 1000)]


def test_a_loss_that_goes_on_reaches_now(sales: InstanceView) -> None:
    lost = replace(sales, phase=Phase.RECOVERING, open_since=None, disconnection_at=NOW - DAY / 4)
    assert bands(lost, []) == [("recovering", 750.0, 1000)]


def test_only_what_is_inside_is_marked(sales: InstanceView) -> None:
    entries = [
        FakeEntry(3, at=NOW - 2 * DAY),
        FakeEntry(2, at=NOW - 60),
        FakeEntry(1, at=NOW - DAY / 2, action="logout"),
    ]
    picture = timeline(sales, entries, "24h", NOW)
    assert [(round(mark.x), mark.tone) for mark in picture.marks] == [(500, "bad"), (999, "warn")]
    assert picture.disconnections == 2
    assert len(picture.ticks) == 7
    assert WIDTH == 1000


@given(
    st.lists(
        st.tuples(
            st.floats(-10 * DAY, DAY),
            st.sampled_from(["disconnection", "recovery"]),
            st.none() | st.floats(0, 20 * DAY),
            st.sampled_from(["grace", "abort", "logout", None]),
        ),
        max_size=30,
    ),
    st.sampled_from(list(Phase)),
    st.sampled_from(list(SPANS)),
)
def test_whatever_happened_the_picture_stays_in_its_frame(
    rows: list[tuple[float, str, float | None, str | None]], phase: Phase, span: str
) -> None:
    view = MemoryGateway().add("sales", phase=phase, open_since=NOW - 60, disconnection_at=NOW - 90)
    entries = [
        FakeEntry(id, at=NOW + at, kind=kind, duration_s=took, action=action)
        for id, (at, kind, took, action) in enumerate(rows)
    ]
    picture = timeline(view, entries, span, NOW)
    for band in picture.bands:
        assert 0 <= band.x <= WIDTH
        assert band.width > 0
        assert band.x + band.width <= WIDTH + 0.01
    assert all(0 <= mark.x <= WIDTH for mark in picture.marks)
    assert picture.share_open is None or 0 <= picture.share_open <= 1
