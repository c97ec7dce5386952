"""The API's own settings, free of where they came from."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

MAX_BODY = 1024 * 1024
"""Bytes of a request body. The largest honest one, a webhook with fifty headers, is far below it."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """How the control API answers.

    Attributes:
        api_key: the host's key: whoever sends it may do everything. Not empty.
        server_url: the address that other programs reach this API at; empty when not known.
        qr_color: the dark modules of QR pictures, `#rrggbb`.
        chatwoot_enabled: whether instances may be connected to Chatwoot.
        connect_wait: seconds that create and connect wait for the first code.
        command_timeout: seconds until a command that was not answered is 504.
        delete_timeout: the same of a delete, which asks more than the instance.
        read_timeout: seconds until a read of the database that was not answered is 503.
        failed_attempts: wrong keys from one address within `failed_window` before it gets 429.
        failed_window: seconds.
        max_body: bytes of a request body, above which it is 413.
        dashboard: whether `/` is the dashboard.
        session_secret: what the dashboard's sessions are signed with; a lasting one outlives a restart.
        cors_origins: of the pages that may use the API from a browser; `*` for all.
        version: shown in the OpenAPI document.
    """

    api_key: str = field(repr=False)
    server_url: str = ""
    qr_color: str = "#198754"
    chatwoot_enabled: bool = False
    connect_wait: float = 5.0
    command_timeout: float = 30.0
    delete_timeout: float = 80.0
    read_timeout: float = 5.0
    failed_attempts: int = 20
    failed_window: float = 60.0
    max_body: int = MAX_BODY
    dashboard: bool = False
    session_secret: str = field(default_factory=secrets.token_urlsafe, repr=False)
    cors_origins: frozenset[str] = frozenset()
    version: str = "unknown"

    def __post_init__(self) -> None:
        """Refuse settings with which the API would be open to anybody.

        Raises:
            ValueError: no key.
        """
        if not self.api_key:
            raise ValueError("api_key must not be empty")
