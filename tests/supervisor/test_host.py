"""What the host puts into its tree."""

from __future__ import annotations

from typing import Any, cast

import pytest

from actors import chatwoot
from actors.services import Services
from actors.watchdog import Watchdog
from api.qrimage import png
from supervisor.config import Address, ApiSettings, SecretUrl, Settings
from supervisor.host import tree
from supervisor.otp import Start
from supervisor.web import Web, reached_at


def test_pictures_for_chatwoot_are_drawn_in_the_color_of_the_configuration_as_it_is() -> None:
    nobody = cast(Any, None)
    services = Services(nobody, Settings(), nobody, nobody, nobody)
    _, children = tree(services, nobody, Start(Watchdog), Start(Web))
    [report] = [child for child in children if child.id == chatwoot.PATH]
    draw = report.start.args[-1]
    assert draw("code") == png("code", services.settings.qrcode.color)
    red = services.settings.qrcode.model_copy(update={"color": "#ff0000"})
    services.settings = services.settings.model_copy(update={"qrcode": red})
    assert draw("code") == png("code", "#ff0000")


@pytest.mark.parametrize(
    ("server_url", "address", "told"),
    [
        (None, ("127.0.0.1", 8123), "http://127.0.0.1:8123"),
        (None, ("::1", 8123), "http://[::1]:8123"),
        (None, ("0.0.0.0", 8123), ""),
        (None, ("::", 8123), ""),
        ("https://wa.example.org/", ("0.0.0.0", 8123), "https://wa.example.org"),
    ],
)
def test_clients_are_told_an_address_that_leads_somewhere(
    server_url: str | None, address: tuple[str, int], told: str
) -> None:
    url = None if server_url is None else SecretUrl(server_url)
    settings = Settings(api=ApiSettings(listen=Address(address[0], 0), server_url=url))
    assert reached_at(settings, address) == told
