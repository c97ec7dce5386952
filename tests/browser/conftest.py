"""The system's Chromium in front of a real host, whose instances talk to the loopback service."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests.browser.pages import Desk
from tests.browser.past import live_through
from tests.e2e.fleet import linked, settle
from tests.e2e.harness import HostProcess
from tests.loopback.harness import Template
from tests.loopback.service import LoopbackService

_numbers = itertools.count(5511977000001)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRED = "ZAPVISOR_REQUIRE_BROWSER"
SCREENSHOTS = "ZAPVISOR_SCREENSHOTS"
SETTINGS = {"webhook": {"max_attempts": "1", "allow_private": "yes"}}
_COLOURS = 200
"""Of the pictures: the pages have few, and so the files are small."""

PATIENCE = 30_000
"""Milliseconds that the browser waits for what is to appear."""


def _unusable(reason: str) -> None:
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, but {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        _unusable(f"there is no Chromium: none of {', '.join(NAMES)} is on the PATH")
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        except Error as error:
            _unusable(f"{found} does not start: {error.message.splitlines()[0]}")
            raise
        expect.set_options(timeout=PATIENCE)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def wa(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackService]:
    with LoopbackService(tmp_path_factory.mktemp("wa")) as service:
        yield service


def free_address() -> str:
    """An address of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(scope="session")
def template(wa: LoopbackService, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A paired device to make any number of linked ones from."""
    return Template(wa, tmp_path_factory.mktemp("template"))


OPEN = ("sales", "support", "billing", "reception", "clinic", "bakery", "warehouse", "garage")
"""Instances that are open when the tests begin, as a pairing takes seconds. "night-shift" waits for its scan, and
"old-shop" is closed."""


def open_number(name: str) -> str:
    """The phone number of one of them."""
    return str(5511988000001 + OPEN.index(name))


@pytest.fixture(scope="session")
def host(
    template: Template, wa: LoopbackService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HostProcess]:
    """One host for all tests; each has instances of its own. Its address outlives a restart of the API."""
    settings = {**SETTINGS, "api": {"listen": free_address()}}
    found = HostProcess(tmp_path_factory.mktemp("browser"), wa.environment(), settings)
    month = time.time() - 30 * 86_400
    rows = [linked(name, open_number(name), created_at=month + at) for at, name in enumerate(OPEN)]
    settle(found.data_dir, wa, template, rows)
    live_through(found.data_dir, rows[OPEN.index("support")].id)
    found.start()
    for name in OPEN:
        found.phase(name, "open")
    found.api.create("night-shift")
    found.api.connect("night-shift")
    found.api.create("old-shop")
    yield found
    found.stop()


@pytest.fixture
def number() -> str:
    """A phone number that no other test uses."""
    return str(next(_numbers))


class Console:
    """What the browser's console says while a test runs; at the end it must have said nothing more."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._allowed: list[str] = []

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("console", lambda said: self.said.append(f"{said.type}: {said.text}"))

    @contextmanager
    def tells(self, page: Page, status: int) -> Iterator[None]:
        """The browser notes an answer of this status, as it does of every one from 400 on."""
        with page.expect_console_message(lambda said: f"status of {status}" in said.text) as found:
            yield
        self.said.remove(f"{found.value.type}: {found.value.text}")

    def may_say(self, text: str) -> None:
        """The test brings this about, any number of times."""
        self._allowed.append(text)

    def unexpected(self) -> list[str]:
        return [said for said in self.said if not any(text in said for text in self._allowed)]


@pytest.fixture
def console() -> Iterator[Console]:
    found = Console()
    yield found
    assert found.unexpected() == []


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, host: HostProcess, console: Console) -> Iterator[OpenPage]:
    """Opens pages, each with cookies of its own."""
    contexts: list[BrowserContext] = []

    def _open(
        *,
        width: int = 1200,
        height: int = 860,
        scheme: str = "light",
        scale: float = 1,
        url: str = host.url,
        session: Any = None,
    ) -> Page:
        context = browser.new_context(
            base_url=url,
            storage_state=session,
            viewport={"width": width, "height": height},
            color_scheme=scheme,  # type: ignore[arg-type]
            device_scale_factor=scale,
            locale="en-GB",
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        console.watch(page)
        return page

    yield _open
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def session(browser: Browser, host: HostProcess) -> Any:
    """The cookies of somebody who signed in with the host's key."""
    context = browser.new_context(base_url=host.url)
    Desk(context.new_page(), host).sign_in()
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def desk(open_page: OpenPage, host: HostProcess, session: Any) -> Desk:
    """The dashboard with somebody signed in with the host's key; no page is open yet."""
    return Desk(open_page(session=session), host)


Shoot = Callable[[Page, str], None]


@pytest.fixture
def shoot() -> Shoot:
    """Takes the pictures of the documentation, where a directory for them is named."""
    directory = os.environ.get(SCREENSHOTS)

    def _shoot(page: Page, name: str) -> None:
        if directory:
            page.evaluate("document.activeElement.blur()")
            Path(directory).mkdir(parents=True, exist_ok=True)
            picture = Image.open(io.BytesIO(page.screenshot()))
            few = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
            few.save(Path(directory) / f"{name}.png", optimize=True)

    return _shoot
