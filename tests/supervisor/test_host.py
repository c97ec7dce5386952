"""What the host puts into its tree."""

from __future__ import annotations

from typing import Any, cast

from actors import chatwoot
from actors.services import Services
from actors.watchdog import Watchdog
from api.qrimage import png
from supervisor.config import Settings
from supervisor.host import tree
from supervisor.otp import Start
from supervisor.web import Web


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
