"""What people come for: from the key to an open instance, through a loss, to its end. In a real browser, and each
change on the page within a second of the host's."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import Console, OpenPage, Shoot, open_number
from tests.browser.pages import WITHIN_A_SECOND, Desk
from tests.e2e.harness import KEY, HostProcess
from tests.loopback.service import LoopbackService


def test_from_the_key_to_an_open_instance(
    open_page: OpenPage, host: HostProcess, wa: LoopbackService, number: str, shoot: Shoot
) -> None:
    page = open_page()
    page.goto("/dashboard/tree")
    expect(page).to_have_url(re.compile(r"/dashboard/sign-in\?next="))
    shoot(page, "sign-in")
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Supervision tree")).to_be_visible()

    desk = Desk(page, host)
    desk.create("front-desk")
    desk.live()
    expect(desk.stage).to_contain_text("Scan this code with the phone")
    shoot(page, "connect")
    mark = host.log.mark()
    desk.scan(wa, number)
    host.phase("front-desk", "open", after=mark)
    expect(desk.stage).to_contain_text("Connected", timeout=WITHIN_A_SECOND)
    expect(desk.stage).to_contain_text(f"+{number}")
    expect(page.locator("#announce")).to_have_text("front-desk is connected.")
    expect(page.locator("#toasts")).to_contain_text("front-desk is connected.")
    expect(page).to_have_title("front-desk: Open · zapvisor")
    expect(desk.code).to_have_count(0)

    page.get_by_role("link", name="Instances").first.click()
    expect(desk.row("front-desk")).to_contain_text(f"+{number}")
    expect(desk.row("front-desk")).to_contain_text("Open")


def test_the_day_of_an_instance(desk: Desk, open_page: OpenPage, session: Any, shoot: Shoot) -> None:
    """Also the pictures of the documentation, before the other tests stir everything up."""
    desk.overview()
    expect(desk.row("support")).to_contain_text("Open")
    expect(desk.row("night-shift")).to_contain_text("Waiting for scan")
    shoot(desk.page, "instances-light")
    dark = Desk(open_page(scheme="dark", session=session), desk.host)
    dark.overview()
    shoot(dark.page, "instances-dark")
    desk.show_open("support")
    past = desk.page.locator("#past")
    expect(past.get_by_role("row", name="Back after 6.2 s by a new connection")).to_be_visible()
    expect(past.get_by_role("row", name="Another session took over")).to_be_visible()
    expect(past.locator("svg .recovering")).to_have_count(5)
    past.get_by_role("link", name="7 days").click()
    expect(desk.page).to_have_url(re.compile("span=7d"))
    desk.page.go_back()
    desk.live()
    shoot(desk.page, "instance")
    phone = Desk(open_page(width=390, height=800, scale=1.5, session=session), desk.host)
    phone.show("night-shift")
    expect(phone.code).to_be_visible()
    shoot(phone.page, "phone")


def test_a_wrong_key_is_told(open_page: OpenPage, console: Console) -> None:
    page = open_page()
    page.goto("/")
    page.get_by_label("API key").fill("wrong")
    with console.tells(page, 401):
        page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("neither the host")
    expect(page.get_by_label("API key")).to_be_focused()


def test_codes_change_as_they_should(desk: Desk, wa: LoopbackService, number: str) -> None:
    """Each new code replaces the one before on the screen, and is the one that works."""
    desk.create("changing")
    expect(desk.code).to_have_attribute("data-count", "1")
    first = desk.read_code()
    with wa.script_pairing(lifetimes=[0.4, 60]):
        desk.button("Cancel").click()
        expect(desk.stage).to_contain_text("Not connected")
        desk.button("Connect").click()
        expect(desk.code).to_have_attribute("data-count", "2")
    expect(desk.page.locator("#announce")).to_have_text("There is a new code.")
    assert desk.read_code() != first
    desk.scan(wa, number)
    expect(desk.stage).to_contain_text("Connected")


def test_a_code_to_type(desk: Desk, wa: LoopbackService, number: str) -> None:
    desk.create("typed")
    expect(desk.code).to_be_visible()
    desk.page.get_by_text("No camera?").click()
    desk.page.get_by_label("Phone number with the country code").fill(f"+{number}")
    desk.button("Get a code").click()
    pairing = desk.page.locator("#pairing")
    expect(pairing).to_have_text(re.compile(r"^[A-Z0-9]{4}-[A-Z0-9]{4}$"))
    assert wa.phone(number).enter_code(str(pairing.text_content()).replace("-", "")).paired
    expect(desk.stage).to_contain_text("Connected")


def test_a_number_given_at_the_start_brings_both_codes(desk: Desk, number: str) -> None:
    desk.create("both", f"+{number[:2]} {number[2:]}")
    expect(desk.page.locator("#pairing")).to_be_visible()
    assert desk.read_code()


def test_a_killed_connection_is_seen_to_recover(desk: Desk) -> None:
    desk.show_open("support")
    mark = desk.host.log.mark()
    desk.kill_port("support")
    desk.host.phase("support", "open", after=mark)
    past = desk.page.locator("#past")
    expect(past).to_contain_text("Back after", timeout=WITHIN_A_SECOND)
    expect(past).to_contain_text("Its process ended unexpectedly")
    expect(past.get_by_role("img")).to_have_accessible_name(
        re.compile(r"open \d+ % of the time, 6 disconnections")
    )
    expect(desk.stage).to_contain_text("Connected")
    desk.page.goto("/")
    expect(desk.row("support").get_by_role("cell").nth(3)).to_have_text("1")
    expect(desk.row("support")).to_contain_text("Its process ended unexpectedly")


def test_an_outage_is_followed_to_its_end(desk: Desk, wa: LoopbackService, shoot: Shoot) -> None:
    """Lost, tried again with the time until the next try, and open again."""
    desk.show_open("billing")
    [device] = wa.devices(open_number("billing"))
    mark = desk.host.log.mark()
    with wa.refuse_logins(503, jid=device):
        wa.connection(device).drop()
        desk.host.phase("billing", "recovering", after=mark)
        expect(desk.page.locator("h1")).to_contain_text("Recovering", timeout=WITHIN_A_SECOND)
        expect(desk.stage).to_contain_text(re.compile(r"Attempt \d+, next try in \d+ s"))
        desk.page.goto("/dashboard/tree")
        expect(desk.page.locator("#waiting")).to_contain_text("instances/billing/connection")
        shoot(desk.page, "tree")
        desk.show("billing")
        desk.button("Try now").click()
        expect(desk.page.locator("#toasts")).to_contain_text("Trying now.")
    desk.host.phase("billing", "open", after=mark)
    expect(desk.stage).to_contain_text("Connected", timeout=WITHIN_A_SECOND)


def test_log_out_asks_first_and_then_does(desk: Desk, wa: LoopbackService) -> None:
    desk.show_open("reception")
    desk.press("Log out", sure=False)
    assert desk.host.api.state("reception") == "open"
    desk.button("Log out").click()
    desk.page.keyboard.press("Escape")
    expect(desk.page.get_by_role("dialog")).to_be_hidden()
    assert desk.host.api.state("reception") == "open"
    desk.press("Log out")
    expect(desk.stage).to_contain_text("Not connected")
    expect(desk.stage).to_contain_text("Logged out on request (401)")
    assert wa.devices(open_number("reception")) == []
    desk.button("Connect").click()
    expect(desk.code).to_be_visible()


def test_restart_and_reset(desk: Desk, wa: LoopbackService) -> None:
    number = open_number("clinic")
    devices = wa.devices(number)
    desk.show_open("clinic")
    mark = desk.host.log.mark()
    desk.button("Restart").click()
    desk.host.phase("clinic", "open", after=mark)
    expect(desk.stage).to_contain_text("Connected")
    assert wa.devices(number) == devices
    desk.press("Reset")
    expect(desk.stage).to_contain_text("Reset on request")
    assert wa.devices(number) == []


def test_delete_leads_back_to_the_others(desk: Desk, wa: LoopbackService) -> None:
    desk.show_open("bakery")
    desk.press("Delete")
    expect(desk.page).to_have_url(re.compile("/$"))
    expect(desk.row("bakery")).to_have_count(0)
    assert desk.host.api.client.get("/instance/connectionState/bakery").status_code == 404
    assert wa.devices(open_number("bakery")) == []


def test_an_instance_deleted_elsewhere_leads_back_too(desk: Desk, console: Console) -> None:
    desk.host.api.create("elsewhere")
    desk.show("elsewhere")
    with console.tells(desk.page, 404):
        desk.host.api.delete("elsewhere")
    expect(desk.page.get_by_role("heading", name="Instances")).to_be_visible()


def test_what_others_do_appears(desk: Desk) -> None:
    desk.overview()
    desk.host.api.create("theirs")
    expect(desk.row("theirs")).to_be_visible(timeout=WITHIN_A_SECOND + 500)
    desk.host.api.connect("theirs")
    expect(desk.row("theirs")).to_contain_text("Waiting for scan", timeout=WITHIN_A_SECOND)
    desk.host.api.delete("theirs")
    expect(desk.row("theirs")).to_have_count(0, timeout=WITHIN_A_SECOND)


def test_a_refusal_is_told_in_the_hosts_words(desk: Desk, console: Console) -> None:
    desk.host.api.create("taken")
    desk.page.goto("/")
    desk.button("New instance").first.click()
    dialog = desk.page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("taken")
    with console.tells(desk.page, 403):
        dialog.get_by_role("button", name="Create and connect").click()
    expect(dialog.get_by_role("alert")).to_contain_text('"taken" is already in use')
    expect(dialog.get_by_label("Name")).to_be_focused()


def test_the_diagnosis(desk: Desk) -> None:
    desk.show_open("warehouse")
    desk.button("Examine now").click()
    result = desk.page.locator("#diagnosis-result")
    expect(result).to_contain_text("A device is linked")
    expect(result).to_contain_text("It gives signs of life")


def test_the_token_is_shown_on_request(desk: Desk) -> None:
    desk.host.api.create("with-token", token="a-token-of-its-own")
    desk.show("with-token")
    assert "a-token-of-its-own" not in desk.page.content()
    desk.button("Show").click()
    expect(desk.page.locator("#token")).to_contain_text("a-token-of-its-own")


def test_a_token_opens_its_own_instance_only(open_page: OpenPage, host: HostProcess) -> None:
    host.api.create("mine", token="token-of-mine")
    host.api.create("not-mine")
    mine = Desk(open_page(), host)
    mine.sign_in("token-of-mine")
    expect(mine.row("mine")).to_be_visible()
    expect(mine.row("not-mine")).to_have_count(0)
    expect(mine.button("New instance")).to_have_count(0)
    expect(mine.page.get_by_role("link", name="Tree")).to_have_count(0)
    mine.show("mine")
    mine.button("Connect").click()
    expect(mine.code).to_be_visible()


def test_signing_out_ends_the_session_in_every_tab(open_page: OpenPage, host: HostProcess) -> None:
    desk = Desk(open_page(), host)
    desk.sign_in()
    other = desk.page.context.new_page()
    other.goto("/dashboard/tree")
    desk.button("Sign out").click()
    expect(desk.page.get_by_role("heading", name="Sign in")).to_be_visible()
    other.reload()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()


def test_everything_by_the_keyboard(open_page: OpenPage, host: HostProcess) -> None:
    """Sign in, create, cancel, delete: with Tab, Enter, Escape and letters alone."""
    page = open_page()
    page.goto("/")
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Instances")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, "New instance")
    page.keyboard.press("Enter")
    page.keyboard.type("by-hand")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Scan this code with the phone")).to_be_visible()
    tab_to(page, "Cancel")
    page.keyboard.press("Space")
    expect(page.locator("#stage")).to_contain_text("Not connected")
    tab_to(page, "Delete")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Instances")).to_be_visible()
    assert host.api.client.get("/instance/connectionState/by-hand").status_code == 404


def tab_to(page: Page, name: str) -> None:
    """Press Tab until a button of this name has the focus, and it can be seen that it has."""
    wanted = page.get_by_role("button", name=name, exact=True).first
    for _ in range(60):
        page.keyboard.press("Tab")
        if wanted.evaluate("(element) => element === document.activeElement"):
            break
    expect(wanted).to_be_focused()
    outline = wanted.evaluate("(element) => getComputedStyle(element).outlineStyle")
    assert outline != "none"
