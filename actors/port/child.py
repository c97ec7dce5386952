"""The client library, as a port uses it: one client, one connection, once.

Its callbacks run one after another on the library's own thread, so they do nothing but report. What would
abort the process is not done: no device that the database does not hold, no question to a client that does
not exist yet or was stopped, no stop from a callback.
"""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from neonize import _binder as binder
from neonize.client import NewClient  # this module is imported once the Go half is bound
from neonize.exc import GetProfilePictureError, NeonizeError
from neonize.proto import Neonize_pb2 as proto
from neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2 import DeviceProps
from neonize.utils.enum import ClientType, Presence
from neonize.utils.jid import Jid2String, JIDToNonAD

from actors.port import events, failures, session_file
from actors.port.spec import PortSpec, split_jid

_log = logging.getLogger("port")

Emit = Callable[[events.Event], None]

_REASONS: Mapping[str, int] = {
    "GENERIC": 400,
    "LOGGED_OUT": 401,
    "TEMP_BANNED": 402,
    "MAIN_DEVICE_GONE": 403,
    "CLIENT_OUTDATED": 405,
    "UNKNOWN_LOGOUT": 406,
    "BAD_USER_AGENT": 409,
    "INTERNAL_SERVER_ERROR": 500,
    "EXPERIMENTAL": 501,
    "SERVICE_UNAVAILABLE": 503,
}
_BANS: Mapping[str, int] = {
    "SEND_TO_TOO_MANY_PEOPLE": 101,
    "BLOCKED_BY_USERS": 102,
    "CREATED_TOO_MANY_GROUPS": 103,
    "SENT_TOO_MANY_SAME_MESSAGE": 104,
    "BROADCAST_LIST": 106,
}
_NO_PICTURE = ("does not have a profile picture", "hidden their profile picture")
_PAIRING_BROWSERS = ("CHROME", "EDGE", "FIREFOX", "IE", "OPERA", "SAFARI")


class CommandError(Exception):
    """A command was not carried out.

    Attributes:
        kind: why, as in `actors.port.messages.CommandResult.error_kind`.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Client:
    """One client of the library.

    Args:
        spec: what to connect.
        emit: gets each event, on the library's thread.
        fatal: called when a callback fails; must not return.
    """

    def __init__(self, spec: PortSpec, emit: Emit, fatal: Callable[[], None]) -> None:
        self._spec = spec
        self._emit = emit
        self._fatal = fatal
        self._known = threading.Event()  # the Go half has its client: it may be asked from now on
        self._code_shown = threading.Event()
        self._gate = (
            threading.Lock()
        )  # between a callback's short questions and the stop that makes them fatal
        self._stopped = False
        self._was_open = False
        self._refused: dict[str, str] | None = None
        self._pair_error: str | None = None
        self._library: Any = self._make_client()
        self.commands: Mapping[str, Callable[..., Any]] = {
            "pair_phone": self.pair_phone,
            "logout": self.logout,
            "profile": self.profile,
            "set_presence": self.set_presence,
            "stop": self.stop,
        }

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for."""
        return self._stopped

    def connect(self) -> events.Event:
        """Connect and stay, most often for ever. Gives the event that says why it ended."""
        proxy = (
            None if self._spec.proxy_url is None else binder.ProxySettings(proxy_address=self._spec.proxy_url)
        )
        try:
            self._library.connect(proxy)
        except NeonizeError as error:
            return self._why_returned(str(error))
        return events.ConnectReturned(None)

    def pair_phone(self, number: str) -> dict[str, str]:
        """Ask for a code to be typed on the phone, once the first QR code is there."""
        if not (number.isascii() and number.isdecimal()):
            raise CommandError("bad-argument", "number: must be digits only")
        if not self._code_shown.is_set():
            raise CommandError("not-ready", "a pairing code can be asked for after the first QR code")
        browser = self._spec.platform if self._spec.platform in _PAIRING_BROWSERS else "CHROME"
        return {"code": self._library.PairPhone(number, True, client_type=ClientType[browser])}

    def logout(self) -> None:
        """Unlink this device and delete its session. The library reports no event for it."""
        self._require_known()
        self._library.logout()

    def profile(self) -> dict[str, str | None]:
        """Give the account's own names and picture, which may be absent."""
        self._require_known()
        me = self._library.get_me()
        if not me.HasField("JID"):
            raise CommandError("not-ready", "the account is not linked yet")
        try:
            url = self._library.get_profile_picture(JIDToNonAD(me.JID)).URL
        except GetProfilePictureError as error:
            url = ""
            if not any(text in str(error) for text in _NO_PICTURE):
                _log.warning("no profile picture: %s", error)
        return {
            "jid": Jid2String(me.JID),
            "lid": _jid_or_none(me.LID),
            "push_name": me.PushName,
            "business_name": me.BussinessName,
            "platform": me.Platform,
            "picture_url": url or None,
        }

    def set_presence(self, presence: str) -> None:
        """Appear as `available` or `unavailable`."""
        if presence not in ("available", "unavailable"):
            raise CommandError("bad-argument", "presence: allowed are available, unavailable")
        self._require_known()
        self._library.send_presence(Presence[presence.upper()])

    def stop(self) -> None:
        """Close the connection. Nothing may be asked of this client any more."""
        with self._gate:
            self._stopped = True
        if self._known.is_set():
            self._library.stop()

    def note_log(self, text: str) -> bool:
        """Look at a log record of the library for what it does not pass on otherwise.

        Returns:
            Whether this process has to end before the library goes on: it would delete the session.
        """
        logged_out = failures.logged_out(text)
        if logged_out is not None:
            self._emit(logged_out)
            return True
        self._refused = failures.failure_attributes(text) or self._refused
        self._pair_error = failures.pair_error(text) or self._pair_error
        untold = failures.untold(text)
        of_a_pairing = (
            isinstance(untold, events.StreamError) and not self._was_open
        )  # each of them ends with a 515
        if untold is not None and not of_a_pairing:
            self._emit(untold)
        return False

    def _make_client(self) -> NewClient:
        spec = self._spec
        jid = None
        if spec.jid is not None:
            user, agent, device, server = split_jid(spec.jid)
            jid = proto.JID(
                User=user, RawAgent=agent, Device=device, Integrator=0, Server=server, IsEmpty=False
            )
        client = NewClient(
            spec.session_url if spec.is_postgres else session_file.library_name(Path(spec.session_url)),
            jid=jid,
            props=DeviceProps(
                os=spec.device_name, platformType=DeviceProps.PlatformType.Value(spec.platform)
            ),
            uuid="port",
            new_device=spec.is_postgres and jid is None,
        )
        client.qr(self._on_qr)
        internals: Any = client
        internals._NewClient__onLoginStatus = self._guard(self._on_login_status)
        internals._NewClient__onQr = self._guard(internals._NewClient__onQr)
        internals.event.execute = self._guard(internals.event.execute)
        for kind, handler in self._handlers().items():
            client.event(kind)(handler)
        return client

    def _handlers(self) -> Mapping[type[Any], Callable[[NewClient, Any], None]]:
        emit = self._emit

        def plain(event: events.Event) -> Callable[[NewClient, Any], None]:
            return lambda _client, _event: emit(event)

        return {
            proto.PairStatus: lambda _, event: emit(_pair_status(event)),
            proto.Connected: lambda _client, _event: self._on_connected(),
            proto.Disconnected: plain(events.Disconnected()),
            proto.KeepAliveTimeout: lambda _, event: emit(
                events.KeepAliveTimeout(event.ErrorCount, event.LastSuccess)
            ),
            proto.KeepAliveRestored: plain(events.KeepAliveRestored()),
            proto.StreamReplaced: plain(events.StreamReplaced()),
            proto.LoggedOut: lambda _, event: emit(events.LoggedOut(event.OnConnect, _reason(event))),
            proto.TemporaryBan: lambda _, event: emit(
                events.TemporaryBan(_BANS.get(_name(event, "Code"), 0), event.Expire)
            ),
            proto.ConnectFailure: lambda _, event: emit(events.ConnectFailure(_reason(event), event.Message)),
            proto.ClientOutdated: plain(events.ClientOutdated()),
            proto.StreamError: lambda _, event: emit(events.StreamError(event.Code)),
        }

    def _guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        """A callback that fails would only be printed by ctypes and forgotten; here it ends the port."""

        def guarded(*args: Any) -> None:
            self._known.set()
            try:
                callback(*args)
            except BaseException:  # noqa: BLE001  (it ends the process)
                _log.exception("a callback failed")
                self._fatal()

        return guarded

    def _on_qr(self, _client: NewClient, code: bytes) -> None:
        self._code_shown.set()
        self._emit(events.QrCode(code.decode()))

    def _on_login_status(self, _uuid: int, status: int) -> None:
        text = ctypes.string_at(status).decode()
        refusal = self._refusal() if text == "err-unexpected-state" else None
        self._emit(refusal or events.LoginStatus(text, self._pair_error if text == "error" else None))

    def _on_connected(self) -> None:
        with self._gate:
            if self._stopped:
                return
            me = self._library.get_me()
        self._was_open = True
        self._emit(events.Connected(Jid2String(me.JID), me.PushName, _jid_or_none(me.LID)))

    def _require_known(self) -> None:
        if not self._known.is_set():
            raise CommandError("not-ready", "the port has not connected yet")
        if self._stopped:
            raise CommandError("stopping", "the port is stopping")

    def _why_returned(self, text: str) -> events.Event:
        if failures.is_dial_error(text):
            return events.DialFailed(text, failures.dial_cause(text))
        if text.startswith("proto:"):
            return self._refusal() or events.ConnectReturned(text)
        return events.SessionStoreFailed(text, failures.store_fault(text))

    def _refusal(self) -> events.Event | None:
        """Give the failure that the library told nothing but its log: it has no name for it, or was showing codes."""
        if self._refused is None:
            return None
        reason = _number(self._refused.get("reason"))
        if reason == _REASONS["TEMP_BANNED"]:
            return events.TemporaryBan(
                _number(self._refused.get("code")), _number(self._refused.get("expire"))
            )
        return events.ConnectFailure(reason, self._refused.get("message", ""))


def shared_store_fault(spec: PortSpec) -> events.SessionStoreFailed | None:
    """Look whether a shared session store holds the spec's device. Leaves a database connection behind."""
    quiet = binder.func_callback_bytes2(lambda _address, _size: None)
    answer = binder.gocode.GetAllDevices(spec.session_url.encode(), quiet).decode()
    if answer.startswith("error: "):
        text = answer.removeprefix("error: ")
        return events.SessionStoreFailed(text, failures.store_fault(text))
    held = {device.partition(",")[0] for device in answer.split("|\1|")}
    if spec.jid not in held:
        return events.SessionStoreFailed(
            f"session store does not hold the device {spec.jid}", "device-missing"
        )
    return None


def _pair_status(event: Any) -> events.PairStatus:
    return events.PairStatus(
        jid=Jid2String(event.ID),
        lid=None,
        business_name=event.BusinessName,
        platform=event.Platform,
        error=(event.Error or "refused") if _name(event, "Status") == "ERROR" else None,
    )


def _reason(event: Any) -> int:
    return _REASONS.get(_name(event, "Reason"), 0)


def _name(event: Any, field: str) -> str:
    kind = event.DESCRIPTOR.fields_by_name[field].enum_type
    return str(kind.values_by_number[getattr(event, field)].name)


def _jid_or_none(jid: Any) -> str | None:
    return Jid2String(jid) if jid.User else None


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0
