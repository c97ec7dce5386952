"""Every way in which a connection ends, as a table: what happens, and what it has to come to.

The rows are those of the table of signals and of the table of codes in `actors/disconnect.py` and
`supervisor/config/codes.py`, as the real client meets them.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.e2e.provoke import (
    NOBODY,
    NOWHERE,
    Provoke,
    black_hole,
    device_removed,
    dial,
    drop,
    forged_scan,
    hangs_in_tls,
    login,
    nobody_scans,
    old_phone,
    pairing,
    port_gets,
    proxy_without_an_address,
    reconnect_fails_after_515,
    register,
    replaced_again_and_again,
    resolves_to,
    silence,
    store_is_corrupt,
    store_is_newer,
    store_lost_device,
    stream_error,
    untrusted,
)

Start = Literal["open", "linked", "new"]
"""Where the instance is: open; at rest with a linked device; at rest without."""

Action = Literal["grace", "reconnect", "logout", "abort", "next-batch", "restart"]
"""What is done, as history and log call it."""

Afterwards = Literal["open", "code", "banned"]
"""What the next `connect` answers."""


@dataclass(frozen=True)
class Row:
    """One way to lose a connection.

    Attributes:
        title: what happens, in words.
        signal: the event of the port that tells it; empty when the port itself is the one that fails.
        provoke: makes it happen.
        phase: where the instance is in the end.
        kept: whether its credentials are there in the end.
        connect: what the next `connect` comes to.
        event: an event that nothing else sends.
        own: settings of the instance, as in `[instance:NAME]`.
        healed: whether the client heals the link within its grace, if it is given one.
        within: seconds from its beginning to the disconnection, and from there to its end, at most.
        slow: it takes longer than the rest of the table together.
    """

    title: str
    signal: str
    code: int
    cause: str
    action: Action
    provoke: Provoke
    start: Start = "open"
    phase: str = "open"
    kept: bool = True
    connect: Afterwards = "open"
    event: str | None = None
    own: Mapping[str, str] = field(default_factory=dict)
    healed: bool = True
    within: float = 15.0
    slow: bool = False

    @property
    def name(self) -> str:
        """The name of its instance."""
        return "".join(char if char.isalnum() else "-" for char in self.title)[:64].strip("-")


def closed(row: Row) -> Row:
    """It ends closed and without its credentials."""
    return replace(row, phase="closed", kept=False, connect="code")


def failed(row: Row) -> Row:
    """It ends as failed, and keeps what it has."""
    return replace(row, phase="failed")


def unpaired(row: Row) -> Row:
    """It has no device, so that there is nothing to keep."""
    return replace(row, start="new", kept=False, connect="code")


def conflict(row: Row) -> Row:
    """The phone is told to be one that cannot link devices."""
    return replace(row, event="multidevice.conflict")


BAN = login(402, code=101, expire=3600)
SCAN = "awaiting_scan"

AGAIN_AND_AGAIN = {"recovery.multiplier": "1", "disconnect.440.delay": "50ms"}
SHORT_START = {"port.start_timeout": "2s"}
DEAF = {"port.missed_heartbeats": "100", "recovery.inactivity_timeout": "1s"}

LONG_START = {"port.start_timeout": "60s"}

DROPS = [
    Row("socket reset", "Disconnected", 428, "closed", "grace", drop("reset")),
    Row("socket closed with FIN", "Disconnected", 428, "closed", "grace", drop("fin")),
    Row("websocket close frame", "Disconnected", 428, "closed", "grace", drop("close_frame")),
]

STREAM_ERRORS = [
    Row("stream error 408", "StreamError", 408, "stream", "grace", stream_error(408)),
    Row("stream error 409", "StreamError", 409, "stream", "grace", stream_error(409)),
    Row("stream error 418", "StreamError", 418, "stream", "grace", stream_error(418)),
    Row("stream error 428", "StreamError", 428, "stream", "grace", stream_error(428)),
    Row("stream error 440", "StreamError", 440, "stream", "grace", stream_error(440)),
    Row("stream error 500", "StreamError", 503, "stream", "grace", stream_error(500)),
    Row("stream error 503", "StreamError", 503, "stream", "grace", stream_error(503)),
    Row("stream error 515", "StreamError", 515, "stream", "grace", stream_error(515)),
    Row("stream error 516", "StreamError", 503, "stream", "grace", stream_error(516)),
    Row("stream error of a new kind", "StreamError", 428, "stream", "grace", stream_error("new-kind")),
    Row("stream error without a code", "StreamError", 428, "stream", "grace", stream_error("")),
    Row("stream error 401", "StreamError", 428, "stream", "grace", stream_error(401)),
    Row("stream error 403", "StreamError", 428, "stream", "grace", stream_error(403)),
    Row("stream error 402", "StreamError", 428, "stream", "grace", stream_error(402)),
    Row("stream error 405", "StreamError", 428, "stream", "grace", stream_error(405)),
    Row("stream error 406", "StreamError", 428, "stream", "grace", stream_error(406)),
    Row("stream error 411", "StreamError", 428, "stream", "grace", stream_error(411)),
    Row("515 whose reconnect fails", "DialFailed", 503, "reset", "reconnect", reconnect_fails_after_515),
    closed(Row("device removed on the phone", "LoggedOut", 401, "logout", "logout", device_removed)),
    Row("replaced", "StreamReplaced", 440, "replaced", "reconnect", stream_error(440, "replaced")),
    Row("replaced 409", "StreamReplaced", 440, "replaced", "reconnect", stream_error(409, "replaced")),
    failed(
        Row(
            "replaced five times in 30 s",
            "StreamReplaced",
            440,
            "replaced",
            "abort",
            replaced_again_and_again,
            own=AGAIN_AND_AGAIN,
        )
    ),
]

LOGINS = [
    closed(Row("login refused 401", "LoggedOut", 401, "logout", "logout", login(401), "linked")),
    closed(Row("login refused 403", "LoggedOut", 403, "logout", "logout", login(403), "linked")),
    failed(Row("login refused 406", "LoggedOut", 406, "logout", "logout", login(406), "linked")),
    failed(Row("login refused 405", "ClientOutdated", 405, "outdated", "logout", login(405), "linked")),
    failed(Row("login refused 402", "TemporaryBan", 402, "ban", "logout", BAN, "linked", connect="banned")),
    failed(
        Row("login refused 402, a new reason", "TemporaryBan", 402, "ban", "logout", login(402), "linked")
    ),
    conflict(
        failed(Row("login refused 411", "ConnectFailure", 411, "refused", "logout", login(411), "linked"))
    ),
    Row("login refused 400", "ConnectFailure", 400, "refused", "reconnect", login(400), "linked"),
    Row("login refused 409", "ConnectFailure", 409, "refused", "reconnect", login(409), "linked"),
    Row("login refused 418", "ConnectFailure", 418, "refused", "reconnect", login(418), "linked"),
    Row("login refused 500", "ConnectFailure", 503, "refused", "reconnect", login(500), "linked"),
    Row("login refused 501", "ConnectFailure", 503, "refused", "reconnect", login(501), "linked"),
    Row("login refused 503", "ConnectFailure", 503, "refused", "reconnect", login(503), "linked"),
    Row(
        "login refused 413, which the library dies of",
        "",
        428,
        "crash",
        "restart",
        login(413, times=1),
        "linked",
    ),
    Row("login, and then silence", "", 408, "slow", "reconnect", silence, "linked", own=SHORT_START),
]

DIALS = [
    Row("proxy refuses", "DialFailed", 503, "proxy", "reconnect", dial("refused", "tcp"), "linked"),
    Row("proxy answers 503", "DialFailed", 503, "proxy", "reconnect", dial("status", "connect"), "linked"),
    Row("proxy has no address", "DialFailed", 503, "proxy", "reconnect", proxy_without_an_address, "linked"),
    Row("server is not WhatsApp's", "DialFailed", 503, "tls", "reconnect", untrusted, "linked"),
    Row("dial reset in TLS", "DialFailed", 503, "reset", "reconnect", dial("reset", "tls"), "linked"),
    Row("dial closed in TLS", "DialFailed", 503, "reset", "reconnect", dial("closed", "tls"), "linked"),
    Row("upgrade reset", "DialFailed", 503, "reset", "reconnect", dial("reset", "websocket"), "linked"),
    Row("upgrade refused", "DialFailed", 503, "refused", "reconnect", dial("status", "websocket"), "linked"),
    Row(
        "upgrade never answered",
        "",
        408,
        "slow",
        "reconnect",
        dial("hang", "websocket"),
        "linked",
        own=SHORT_START,
    ),
]

STORES = [
    closed(Row("session damaged", "SessionStoreFailed", 500, "store", "logout", store_is_corrupt, "linked")),
    closed(Row("session gone", "SessionStoreFailed", 500, "store", "logout", store_lost_device, "linked")),
    Row(
        "session of a later version",
        "SessionStoreFailed",
        503,
        "store",
        "reconnect",
        store_is_newer,
        "linked",
    ),
]

PAIRINGS = [
    unpaired(Row("six codes and no scan", "LoginStatus", 408, "qr", "next-batch", nobody_scans, phase=SCAN)),
    unpaired(Row("forged scan", "LoginStatus", 428, "pairing", "next-batch", forged_scan, phase=SCAN)),
    unpaired(
        Row(
            "registration refused 400",
            "ConnectFailure",
            400,
            "refused",
            "reconnect",
            register(400),
            phase=SCAN,
        )
    ),
    unpaired(failed(Row("registration refused 402", "TemporaryBan", 402, "ban", "logout", register(402)))),
    closed(Row("registration refused 403", "LoggedOut", 403, "logout", "logout", register(403), "new")),
    unpaired(
        Row(
            "registration refused 503",
            "ConnectFailure",
            503,
            "refused",
            "reconnect",
            register(503),
            phase=SCAN,
        )
    ),
    unpaired(failed(Row("registration refused 405", "LoginStatus", 405, "pairing", "logout", register(405)))),
    conflict(
        unpaired(failed(Row("scan without multi-device", "LoginStatus", 411, "pairing", "logout", old_phone)))
    ),
]

PORTS = [
    Row("port killed", "", 428, "crash", "restart", port_gets(signal.SIGKILL)),
    Row("port stopped", "", 408, "heartbeat", "reconnect", port_gets(signal.SIGSTOP)),
    Row(
        "port stopped, heartbeats not missed",
        "",
        408,
        "inactivity",
        "reconnect",
        port_gets(signal.SIGSTOP),
        own=DEAF,
    ),
]

BEGUN_EARLY = [
    unpaired(
        Row(
            "dial hangs in TLS",
            "DialFailed",
            408,
            "slow",
            "reconnect",
            hangs_in_tls,
            phase=SCAN,
            own=LONG_START,
        )
    ),
    Row(
        "paired, and the 515 is lost",
        "",
        515,
        "pairing",
        "reconnect",
        pairing("lose_515"),
        "new",
        within=40.0,
    ),
    Row("paired, and then silence", "", 515, "pairing", "reconnect", pairing("silence"), "new", within=40.0),
    Row(
        "link goes silent",
        "KeepAliveTimeout",
        408,
        "keepalive",
        "grace",
        black_hole,
        "new",
        within=60.0,
        healed=False,
    ),
    Row(
        "link is silent for a while",
        "KeepAliveTimeout",
        408,
        "keepalive",
        "grace",
        black_hole,
        "new",
        within=60.0,
        own={"disconnect.408.delay": "60s"},
        slow=True,
    ),
]

WITHOUT_PROXY = [
    Row("name not found", "DialFailed", 408, "dns", "reconnect", resolves_to(None), "linked"),
    Row("connection refused", "DialFailed", 503, "refused", "reconnect", resolves_to(NOBODY), "linked"),
    Row("network unreachable", "DialFailed", 503, "unreachable", "reconnect", resolves_to(NOWHERE), "linked"),
]

PLAYED = [*DROPS, *STREAM_ERRORS, *LOGINS, *DIALS, *STORES, *PAIRINGS, *PORTS]
TABLE = [*PLAYED, *BEGUN_EARLY, *WITHOUT_PROXY]
