"""Keeping a host in order from the browser: the tree, the deliveries, and a page whose host or stream is away."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from api.dashboard.words import clock_span
from tests.browser.conftest import Console, OpenPage, Shoot, free_address
from tests.browser.pages import WITHIN_A_SECOND, Desk
from tests.e2e.fleet import linked, settle
from tests.e2e.harness import HostProcess, Receiver
from tests.loopback.harness import Template
from tests.loopback.service import LoopbackService


def test_the_tree_is_live(desk: Desk) -> None:
    """A restart is seen where it happens, and an open branch stays open."""
    desk.page.goto("/dashboard/tree")
    desk.live()
    branch = desk.page.locator("#branch-instances--garage")
    if branch.get_attribute("open") is None:
        branch.locator("> summary").click()
    leaf = desk.page.locator("#node-instances--garage--connection")
    amount = leaf.locator(".amount").first
    before = int(str(amount.text_content()).split()[0])
    desk.kill_port("garage")
    expect(amount).to_contain_text(f"{before + 1} restart", timeout=WITHIN_A_SECOND + 500)
    expect(leaf).to_contain_text("last exit")
    expect(branch).to_have_attribute("open", "")


def test_an_actor_is_restarted_on_request(desk: Desk, console: Console) -> None:
    """The API goes with it, since it was started after it; the page waits for it."""
    desk.page.goto("/dashboard/tree")
    desk.live()
    console.may_say("net::ERR_CONNECTION_REFUSED")
    watchdog = desk.page.locator("#node-watchdog")
    expect(watchdog).to_contain_text("0 restarts")
    watchdog.get_by_role("button", name="Restart watchdog").click()
    desk.page.get_by_role("dialog").get_by_role("button", name="Restart").click()
    expect(watchdog).to_contain_text("1 restart")
    desk.live()


def test_what_failed_is_sent_again(desk: Desk, shoot: Shoot) -> None:
    with Receiver() as receiver:
        dead = f"http://{free_address()}/hook"
        api = desk.host.api
        api.create("wired", webhook={"enabled": True, "url": dead, "events": ["INSTANCE_CREATE"]})
        desk.page.goto("/dashboard/deliveries?instance=wired")
        row = desk.page.get_by_role("row", name=re.compile("instance.create"))
        expect(row).to_contain_text("failed")
        expect(row).to_contain_text("connection refused")
        shoot(desk.page, "deliveries")
        webhook = {"enabled": True, "url": receiver.url, "events": ["INSTANCE_CREATE"]}
        api.call("POST", "/webhook/set/wired", expect=201, json={"webhook": webhook})
        row.get_by_role("button", name="Send again").click()
        expect(desk.page.locator("#toasts")).to_contain_text("Sent again.")
        receiver.wait_for("instance.create")
        expect(desk.page.get_by_role("heading", name="Nothing has failed")).to_be_visible()
        desk.page.get_by_role("link", name="Delivered").click()
        expect(row).to_contain_text("delivered")


def test_the_deliveries_of_one_instance_are_chosen(desk: Desk) -> None:
    desk.host.api.create("first-of-two")
    desk.host.api.create("second-of-two")
    desk.page.goto("/dashboard/deliveries?status=all")
    desk.page.get_by_label("Instance").select_option("second-of-two")
    expect(desk.page).to_have_url(re.compile("instance=second-of-two"))
    assert "status=all" in desk.page.url


def test_without_the_stream_the_page_is_polled(desk: Desk) -> None:
    """As behind a proxy that does not let streams through: slower, but never stale."""
    desk.page.route("**/events?*", lambda route: route.fulfill(status=204))
    desk.page.goto("/")
    expect(desk.page.locator("#live")).to_contain_text("Updated every few seconds")
    desk.host.api.create("polled")
    expect(desk.row("polled")).to_be_visible()


def test_a_host_that_restarts_is_waited_for(
    open_page: OpenPage,
    console: Console,
    wa: LoopbackService,
    template: Template,
    tmp_path: Path,
) -> None:
    """The page says that the host is away, and goes on by itself, without another sign-in, when it is back."""
    host = HostProcess(tmp_path, wa.environment(), {"api": {"listen": free_address()}})
    settle(host.data_dir, wa, template, [linked("patient", "5511988009999")])
    try:
        host.start()
        console.may_say("net::ERR_")
        desk = Desk(open_page(url=host.url), host)
        desk.sign_in()
        desk.show_open("patient")
        host.kill()
        expect(desk.page.locator("#live")).to_contain_text("The host does not answer")
        host.start()
        expect(desk.page.locator("#live")).to_contain_text("Live", timeout=15_000)
        expect(desk.stage).to_contain_text("Connected", timeout=15_000)
    finally:
        host.stop()


def test_a_session_that_ended_elsewhere_leads_to_the_sign_in(
    open_page: OpenPage, host: HostProcess, console: Console
) -> None:
    """By the page's script, that is: without a reload."""
    desk = Desk(open_page(), host)
    desk.sign_in()
    other = desk.page.context.new_page()
    other.goto("/")
    with console.tells(desk.page, 401):
        other.get_by_role("button", name="Sign out").click()
        desk.host.api.create("after-the-end")
    expect(desk.page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_script_counts_on_in_the_servers_words(open_page: OpenPage) -> None:
    """Both say durations; a page that changed its words after each reload would be restless."""
    script = Path("api/dashboard/static/app.js").read_text()
    function = re.search(r"(?s)function span\(seconds\) \{.*?\n\}", script)
    assert function is not None
    moments = [-1, 0, 0.9, 59.9, 60, 3599, 3600, 86_399, 86_400, 1_000_000]
    said = open_page().evaluate(f"(moments) => moments.map({function.group()})", moments)
    assert said == [clock_span(seconds) for seconds in moments]
