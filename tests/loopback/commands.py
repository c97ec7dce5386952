"""Everything a test can ask of a running service, as named commands with JSON arguments and results.

``dispatch`` is the one way in, for the thread-safe face (``service.LoopbackService``) and for the network
face (``control``) alike; so both offer the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast, get_args

from .core import Core
from .link import Drop
from .pairing import Forgery
from .rules import (
    ConnectionFault,
    How,
    LoginRefusal,
    Outcome,
    PairingScript,
    RegistrationRefusal,
    Silence,
    Stage,
)
from .session import Session


class CommandError(ValueError):
    """A command that does not exist or that has wrong arguments."""


def _one_of(name: str, value: str | None, allowed: tuple[Any, ...]) -> str | None:
    if value not in allowed:
        raise CommandError(f"{name}={value!r} is not one of {', '.join(map(repr, allowed))}")
    return value


class Commands:
    """The commands, each a public method; run in the event loop's thread."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def dispatch(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Run one command; raises CommandError, ValueError (bad arguments), LookupError or TimeoutError."""
        method = None if name.startswith("_") or name == "dispatch" else getattr(self, name, None)
        if method is None:
            raise CommandError(f"no command {name!r}")
        try:
            inspect.signature(method).bind(**arguments)
        except TypeError as error:
            raise CommandError(f"{name}: {error}") from error
        result = method(**arguments)
        return await result if inspect.isawaitable(result) else result

    # ---- the service

    def start(self) -> None:
        self._core.start()

    def stop(self, how: str) -> None:
        self._core.stop(cast(Drop, _one_of("how", how, get_args(Drop))))

    def status(self) -> dict[str, Any]:
        core = self._core
        return {
            "port": core.port,
            "connections": len(core.sessions),
            "live": len(core.live()),
            "last": core.journal.last,
        }

    # ---- rules

    def refuse_connections(self, how: str, at: str, status: int, times: int | None) -> int:
        _one_of("at", at, tuple(stage.value for stage in Stage))
        if how == "refused" and times is not None:
            raise CommandError("how='refused' cannot be counted: times must be None")
        fault = ConnectionFault(Stage(at), cast(How, _one_of("how", how, get_args(How))), status)
        return self._add(fault, times)

    def refuse_logins(self, reason: int, jid: str | None, attrs: dict[str, str], times: int | None) -> int:
        return self._add(LoginRefusal(reason, jid, attrs), times)

    def refuse_registrations(self, reason: int, times: int | None) -> int:
        return self._add(RegistrationRefusal(reason), times)

    def silence_after_success(self, jid: str | None, times: int | None) -> int:
        return self._add(Silence(jid), times)

    def script_pairing(self, refs: int, lifetimes: list[float], outcome: str, times: int | None) -> int:
        _one_of("outcome", outcome, get_args(Outcome))
        return self._add(PairingScript(refs, tuple(lifetimes), cast(Outcome, outcome)), times)

    def _add(self, rule: object, times: int | None) -> int:
        number = self._core.rules.add(rule, times)
        self._core.update_listening()
        return number

    def end_rule(self, number: int) -> None:
        self._core.rules.remove(number)
        self._core.update_listening()

    def end_rules(self) -> None:
        self._core.rules.clear()
        self._core.update_listening()

    def rule_hits(self, number: int) -> int:
        return self._core.rules.hits(number)

    # ---- phones and devices

    async def scan(
        self, number: str, text: str, forge: str | None, multidevice: bool, timeout: float
    ) -> dict[str, Any]:
        _one_of("forge", forge, (None, *get_args(Forgery)))
        return await self._core.scan(number, text, cast(Forgery | None, forge), multidevice, timeout)

    async def enter_code(self, number: str, code: str, timeout: float) -> dict[str, Any]:
        return await self._core.enter_code(number, code, timeout)

    def link_device(self, number: str, noise_key: str, identity_key: str, prekeys: int) -> dict[str, str]:
        """Link a device without a pairing; keys are hexadecimal."""
        accounts = self._core.accounts
        device = accounts.account(number).next_device(bytes.fromhex(noise_key), bytes.fromhex(identity_key))
        device.prekeys = prekeys
        accounts.link(number, device)
        return {"jid": device.jid, "lid": device.lid}

    def devices(self, number: str | None) -> list[str]:
        return [device.jid for device in self._core.accounts.devices(number)]

    def prekeys(self, jid: str) -> int:
        device = self._core.accounts.find(jid)
        if device is None:
            raise LookupError(f"no device {jid!r}")
        return device.prekeys

    def remove_device(self, jid: str, tell: bool) -> bool:
        return self._core.remove_device(jid, tell=tell)

    # ---- connections

    def connections(self, jid: str | None) -> list[dict[str, Any]]:
        sessions = list(self._core.sessions.values()) if jid is None else self._core.live(jid)
        return [session.describe() for session in sessions]

    def _session(self, number: int) -> Session:
        session = self._core.sessions.get(number)
        if session is None:
            raise LookupError(f"connection {number} is gone")
        return session

    def drop(self, number: int, how: str) -> None:
        self._session(number).drop(cast(Drop, _one_of("how", how, get_args(Drop))))

    def drop_all(self, how: str) -> None:
        self._core.drop_all(cast(Drop, _one_of("how", how, get_args(Drop))))

    def stream_error(self, number: int, code: str, conflict: str | None) -> None:
        self._session(number).stream_error(code, conflict)

    def black_hole(self, number: int, on: bool) -> None:
        session = self._session(number)
        self._core.record(session, "black_hole", on=on)
        session.link.black_hole(on)

    def silence(self, number: int, on: bool) -> None:
        self._session(number).silence(on)

    # ---- the journal

    def events(
        self, kind: str | None, jid: str | None, connection: int | None, after: int
    ) -> list[dict[str, Any]]:
        return [event.to_json() for event in self._core.journal.select(kind, jid, connection, after)]

    def last_event(self) -> int:
        return self._core.journal.last

    async def wait_event(
        self, kind: str | None, jid: str | None, connection: int | None, after: int, timeout: float
    ) -> dict[str, Any]:
        return (await self._core.journal.wait(kind, jid, connection, after, timeout)).to_json()

    async def wait_open(self, jid: str | None, count: int, timeout: float) -> list[str]:
        """Wait until at least ``count`` connections (of one device or number, or of all) are open."""
        opened: list[str] = []

        def look() -> bool:
            opened[:] = [session.jid for session in self._core.live(jid) if session.state == "open"]
            return len(opened) >= count

        await self._core.journal.wait_until(look, timeout, f"not {count} clients open for jid={jid!r}")
        return opened
