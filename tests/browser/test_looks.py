"""Every page in light and dark, on a desk and on a phone: readable by everybody."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import OpenPage
from tests.browser.pages import Desk
from tests.e2e.harness import HostProcess

PAGES = (
    "/",
    "/dashboard/instances/sales",
    "/dashboard/instances/night-shift",
    "/dashboard/instances/old-shop",
    "/dashboard/tree",
    "/dashboard/deliveries",
    "/dashboard/deliveries?status=all",
)
RULES = {
    "light": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    "dark": ["color-contrast"],
}
"""What may differ in the dark is contrast."""


def complaints(page: Page, scheme: str) -> list[str]:
    """What the accessibility rules of axe-core find on a page."""
    options = {"runOnly": RULES[scheme], "resultTypes": ["violations"]}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:200] for node in each['nodes']]}" for each in found
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_keep_the_rules_of_accessibility(
    host: HostProcess, open_page: OpenPage, session: Any, scheme: str
) -> None:
    """Names, roles, order, contrast: WCAG 2.1 AA as far as a machine can tell."""
    stranger = open_page(scheme=scheme)
    stranger.goto("/")
    assert complaints(stranger, scheme) == []
    desk = Desk(open_page(scheme=scheme, session=session), host)
    for path in PAGES:
        desk.page.goto(path)
        desk.live()
        assert complaints(desk.page, scheme) == [], path
    desk.page.goto("/")
    desk.button("New instance").first.click()
    assert complaints(desk.page, scheme) == []


def test_a_phone_is_enough(host: HostProcess, open_page: OpenPage, session: Any) -> None:
    """Nothing is wider than a small screen, and fingers find what they are to touch (WCAG 2.2, 2.5.8)."""
    stranger = open_page(width=360, height=740)
    stranger.goto("/")
    assert overflow(stranger) == 0
    desk = Desk(open_page(width=360, height=740, session=session), host)
    for path in PAGES:
        desk.page.goto(path)
        assert overflow(desk.page) == 0, path
        assert too_small(desk.page) == [], path


def test_nothing_is_wider_than_a_tablet(host: HostProcess, open_page: OpenPage, session: Any) -> None:
    desk = Desk(open_page(width=768, height=1024, session=session), host)
    for path in PAGES:
        desk.page.goto(path)
        assert overflow(desk.page) == 0, path


def overflow(page: Page) -> int:
    """Pixels by which a page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def too_small(page: Page) -> list[str]:
    """What is to be touched, and is less than 24 pixels high or wide."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, nav a, .button, summary")]
            .filter((each) => each.checkVisibility())
            .filter((each) => Math.min(each.offsetWidth, each.offsetHeight) < 24)
            .map((each) => each.outerHTML)"""
    )
    return found
