"""The dashboard as somebody uses it."""

from __future__ import annotations

import io
import os
import signal

from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.camera import read_qr
from tests.e2e.harness import KEY, HostProcess
from tests.loopback.service import LoopbackService

WITHIN_A_SECOND = 1000
"""Milliseconds in which the page has to show what has happened."""


class Desk:
    """One page of the dashboard, and the host behind it."""

    def __init__(self, page: Page, host: HostProcess) -> None:
        self.page = page
        self.host = host

    def sign_in(self, key: str = KEY) -> None:
        """With a key; ends at the overview."""
        self.page.goto("/")
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("heading", name="Instances")).to_be_visible()
        self.live()

    def live(self) -> None:
        """The stream is open."""
        expect(self.page.locator("#live")).to_contain_text("Live")

    def overview(self) -> None:
        """All instances."""
        self.page.goto("/")
        self.live()

    def show(self, name: str) -> None:
        """The page of an instance."""
        self.page.goto(f"/dashboard/instances/{name}")
        self.live()

    @property
    def stage(self) -> Locator:
        return self.page.locator("#stage")

    @property
    def code(self) -> Locator:
        return self.page.locator("#code")

    def row(self, name: str) -> Locator:
        """An instance in the overview."""
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("link", name=name, exact=True))

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def press(self, name: str, *, sure: bool = True) -> None:
        """A button that asks before it acts, and the answer."""
        self.button(name).click()
        dialog = self.page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        dialog.get_by_role("button", name=name if sure else "Cancel", exact=True).click()
        expect(dialog).to_be_hidden()

    def create(self, name: str, number: str = "") -> None:
        """A new instance by the dialog; ends at its page."""
        self.page.goto("/")
        self.button("New instance").first.click()
        dialog = self.page.get_by_role("dialog", name="New instance")
        dialog.get_by_label("Name").fill(name)
        dialog.get_by_label("Phone number").fill(number)
        dialog.get_by_role("button", name="Create and connect").click()
        expect(self.page.get_by_role("heading", level=1)).to_contain_text(name)

    def read_code(self) -> str:
        """The QR code as a phone's camera reads it from the screen."""
        expect(self.code).to_be_visible()
        picture = Image.open(io.BytesIO(self.code.screenshot()))
        return read_qr(picture.resize((picture.width * 2, picture.height * 2)))

    def scan(self, wa: LoopbackService, number: str) -> None:
        """Scan what the screen shows."""
        scan = wa.phone(number).scan(self.read_code())
        assert scan.paired, scan

    def show_open(self, name: str) -> None:
        """The page of an open instance."""
        self.show(name)
        expect(self.stage).to_contain_text("Connected")

    def kill_port(self, name: str) -> None:
        """The process of an instance's connection dies."""
        os.kill(self.host.port_pid(name), signal.SIGKILL)
