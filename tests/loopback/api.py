"""The scriptable face of a loopback service, the same for one in this process and for one behind its
control port.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .journal import Event
from .link import Drop
from .pairing import Forgery
from .rules import How, Outcome

TIMEOUT = 10.0
"""The default deadline, in seconds, of everything that waits."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What came of a scan or of a typed code.

    ``outcome`` is ``paired`` (then ``jid`` is the new device), ``refused`` (by the device; ``code`` and
    ``text`` are its answer, or the phone's complaint about a wrong code), ``unanswered`` or
    ``no_multidevice``.
    """

    outcome: str
    jid: str
    code: str
    text: str

    @property
    def paired(self) -> bool:
        return self.outcome == "paired"


class LoopbackApi(abc.ABC):
    """Script a service and wait for what happens in it. Every method may be called from any thread.

    Methods raise ValueError for arguments that are not allowed, LookupError for a connection or device that
    is gone, and TimeoutError when a deadline passes.
    """

    @abc.abstractmethod
    def call(self, name: str, /, **arguments: Any) -> Any:
        """Run one command of ``commands.Commands``."""

    # ---- the service

    def start(self) -> None:
        """Take connections again after ``stop``, on the same port and with the same devices."""
        self.call("start")

    def stop(self, how: Drop = "reset") -> None:
        """End every connection and refuse new ones (nothing listens; the port stays reserved) until
        ``start``.
        """
        self.call("stop", how=how)

    @contextmanager
    def stopped(self, how: Drop = "reset") -> Iterator[None]:
        """The service is down within the ``with`` block."""
        self.stop(how)
        try:
            yield
        finally:
            self.start()

    def status(self) -> dict[str, Any]:
        return dict(self.call("status"))

    # ---- faults

    def refuse_connections(
        self, how: How = "refused", at: str = "tcp", *, status: int = 503, times: int | None = None
    ) -> Rule:
        """Make new connections fail at a stage: tcp, connect, tls, websocket, noise or login.

        ``how``: ``refused`` (at tcp only: nothing listens), ``closed`` (FIN), ``reset`` (RST), ``hang`` (no
        answer ever), ``status`` (at connect and websocket: an HTTP error ``status``). ``times`` limits it
        to so many connections.
        """
        return self._rule("refuse_connections", how=how, at=at, status=status, times=times)

    def refuse_logins(
        self, reason: int, *, jid: str | None = None, times: int | None = None, **attrs: str | int
    ) -> Rule:
        """Answer logins with ``<failure reason=…>``; further attributes (``code``, ``expire``, …) are added
        to it.

        ``jid`` is a device or a bare phone number; without it, every login is refused.
        """
        extra = {name: str(value) for name, value in attrs.items()}
        return self._rule("refuse_logins", reason=reason, jid=jid, attrs=extra, times=times)

    def refuse_registrations(self, reason: int = 405, *, times: int | None = None) -> Rule:
        """Answer clients that want to be paired with ``<failure reason=…>``; 405 is an outdated client."""
        return self._rule("refuse_registrations", reason=reason, times=times)

    def silence_after_success(self, *, jid: str | None = None, times: int | None = None) -> Rule:
        """Let logins succeed and then answer nothing."""
        return self._rule("silence_after_success", jid=jid, times=times)

    def script_pairing(
        self,
        *,
        refs: int = 6,
        lifetimes: Sequence[float] = (),
        outcome: Outcome = "normal",
        times: int | None = None,
    ) -> Rule:
        """Change how the next registrations go.

        ``refs``: references in a batch; the client shows the first of six for 60 s and every other for 20
        s, then hangs up. ``lifetimes``: instead, push one new code after each of these lifetimes (seconds),
        and hang up after the last. ``outcome``: ``normal``; ``lose_515`` (hang up in place of the 515);
        ``silence`` (nothing after the confirmation); ``no_success`` (a scan is never followed by
        pair-success).
        """
        arguments = {"refs": refs, "lifetimes": list(lifetimes), "outcome": outcome}
        return self._rule("script_pairing", **arguments, times=times)

    def clear_rules(self) -> None:
        """End all of the above. A client that is left hanging stays so until it is dropped."""
        self.call("end_rules")

    def _rule(self, command: str, **arguments: Any) -> Rule:
        return Rule(self, int(self.call(command, **arguments)))

    # ---- phones and devices

    def phone(self, number: str) -> Phone:
        """The handset of a number (international, digits only); it exists from its first use on."""
        return Phone(self, number)

    def devices(self, number: str | None = None) -> list[str]:
        """The linked devices, as ``number:device@s.whatsapp.net``."""
        return list(self.call("devices", number=number))

    def link_device(
        self, number: str, noise_key: bytes, identity_key: bytes, *, prekeys: int = 812
    ) -> tuple[str, str]:
        """Link a device of these public keys without a pairing; returns its address and its hidden address (LID).

        For tests and benchmarks that need many devices at once; ``harness.Template`` makes the clients' side
        of it.
        """
        keys = {"noise_key": noise_key.hex(), "identity_key": identity_key.hex()}
        linked = self.call("link_device", number=number, **keys, prekeys=prekeys)
        return linked["jid"], linked["lid"]

    def prekeys(self, jid: str) -> int:
        """How many one-time keys the service holds for a device."""
        return int(self.call("prekeys", jid=jid))

    def forget_device(self, jid: str) -> bool:
        """Lose a device without a word; its next login fails with 401. False if it was not known."""
        return bool(self.call("remove_device", jid=jid, tell=False))

    # ---- connections

    def connections(self, jid: str | None = None) -> list[Connection]:
        """Every connection, or the logged-in ones of a device or a bare number; oldest first."""
        return [Connection(self, entry) for entry in self.call("connections", jid=jid)]

    def connection(self, jid: str) -> Connection:
        """The logged-in connection of a device or number; raises LookupError if there is none."""
        found = self.connections(jid)
        if not found:
            raise LookupError(f"{jid!r} is not connected")
        return found[-1]

    def drop_all(self, how: Drop = "reset") -> None:
        """End every connection, those that hang included."""
        self.call("drop_all", how=how)

    # ---- waiting

    def mark(self) -> int:
        """The number of the latest event, to be given to ``wait_for`` as ``after``."""
        return int(self.call("last_event"))

    def events(
        self,
        kind: str | None = None,
        *,
        jid: str | None = None,
        connection: int | None = None,
        after: int = 0,
    ) -> list[Event]:
        found = self.call("events", kind=kind, jid=jid, connection=connection, after=after)
        return [Event(**entry) for entry in found]

    def wait_for(
        self,
        kind: str | None = None,
        *,
        jid: str | None = None,
        connection: int | None = None,
        where: Callable[[Event], bool] | None = None,
        after: int = 0,
        timeout: float = TIMEOUT,
    ) -> Event:
        """The first event after number ``after`` with this kind, device (or bare number), connection and
        condition.
        """
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            arguments = {"kind": kind, "jid": jid, "connection": connection, "after": after, "timeout": left}
            event = Event(**self.call("wait_event", **arguments))
            if where is None or where(event):
                return event
            after = event.number

    def wait_open(self, jid: str | None = None, *, count: int = 1, timeout: float = TIMEOUT) -> list[str]:
        """Wait until ``count`` logged-in clients (of a device or number, or of all) are active; returns
        their devices.
        """
        return list(self.call("wait_open", jid=jid, count=count, timeout=timeout))


class Rule:
    """Something a service was told to do wrong; usable as a context manager that ends it."""

    def __init__(self, api: LoopbackApi, number: int) -> None:
        self._api = api
        self.number = number

    @property
    def hits(self) -> int:
        """How often it struck. ``refused`` is not counted, since nothing sees those attempts."""
        return int(self._api.call("rule_hits", number=self.number))

    def end(self) -> None:
        self._api.call("end_rule", number=self.number)

    def __enter__(self) -> Rule:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end()


class Phone:
    """A handset: the primary device of an account."""

    def __init__(self, api: LoopbackApi, number: str) -> None:
        self._api = api
        self.number = number

    @property
    def devices(self) -> list[str]:
        return self._api.devices(self.number)

    def scan(
        self,
        qr_text: str,
        *,
        forge: Forgery | None = None,
        multidevice: bool = True,
        timeout: float = TIMEOUT,
    ) -> Scan:
        """Scan a QR code and see the linking through, up to the device's confirmation.

        ``forge`` spoils the HMAC (``bad_hmac``) or the account's signature (``bad_signature``); a good
        client refuses both. ``multidevice=False`` is a phone that cannot link devices. Raises ValueError
        for a code that cannot be read, is not current, or does not belong to the connection that showed it.
        """
        arguments = {"number": self.number, "text": qr_text, "forge": forge, "multidevice": multidevice}
        return Scan(**self._api.call("scan", **arguments, timeout=timeout))

    def enter_code(self, code: str, *, timeout: float = TIMEOUT) -> Scan:
        """Type the eight-character code that a device showed for this number.

        A wrong code gives the outcome ``refused``. Raises ValueError if it has the wrong form, or if no
        device asked.
        """
        return Scan(**self._api.call("enter_code", number=self.number, code=code, timeout=timeout))

    def remove_device(self, jid: str) -> bool:
        """Unlink a device; if it is connected it gets stream error 401 ``device_removed``. False if it was
        not linked.
        """
        return bool(self._api.call("remove_device", jid=jid, tell=True))


class Connection:
    """One client's connection as it was when it was listed; the methods act on it as it is now."""

    def __init__(self, api: LoopbackApi, entry: Mapping[str, Any]) -> None:
        self._api = api
        self.number: int = entry["number"]
        self.jid: str = entry["jid"]
        self.state: str = entry["state"]
        self.stage: str = entry["stage"]
        self.proxy_user: str = entry["proxy_user"]
        self.age: float = entry["age"]

    def __repr__(self) -> str:
        return f"Connection(number={self.number}, jid={self.jid!r}, state={self.state!r})"

    def drop(self, how: Drop = "reset") -> None:
        """End it with RST, a websocket close frame, or a bare FIN."""
        self._api.call("drop", number=self.number, how=how)

    def stream_error(self, code: int | str = 503, conflict: str | None = None) -> None:
        """Send ``<stream:error code=…>``, with a ``<conflict type=…>`` (``replaced``, ``device_removed``),
        and hang up.
        """
        self._api.call("stream_error", number=self.number, code=str(code), conflict=conflict)

    def black_hole(self, on: bool = True) -> None:
        """Let nothing through in either direction; when it is switched off, what was held arrives."""
        self._api.call("black_hole", number=self.number, on=on)

    def silence(self, on: bool = True) -> None:
        """Ignore what the client sends; TCP and the websocket go on working."""
        self._api.call("silence", number=self.number, on=on)

    def wait_closed(self, timeout: float = TIMEOUT) -> None:
        self._api.wait_for("closed", connection=self.number, timeout=timeout)
