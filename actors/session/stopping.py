"""How a link is brought down on purpose, and what is true afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.disconnect import BAD_SESSION, CLOSED, LOGGED_OUT, TEMPORARY_BAN, Disconnection
from actors.messages import BeingDeleted, NotNow
from actors.session.effects import CancelTimer, ClearCache, PortCommand, Purged, Reply, SetTimer, StopLink
from actors.session.effects import WipeCredentials as Wipe
from actors.session.memory import Ending, Link, Memory, Now, Purpose
from actors.session.starting import resume, start_up
from actors.views import Desired, Phase

UNLINK = "unlink"
COOLDOWN = "cooldown"
NOBODY_SCANNED = Disconnection(CLOSED, "qr")
LIMIT_MESSAGE = "QR code limit reached, please login again"


def stop(m: Memory, ending: Ending, now: Now) -> None:
    """End the link; `finish` follows once the supervisor says that it is down."""
    take_up(m, ending, now)
    m.restart_due = None
    m.healing = False
    m.link = Link.STOPPING
    m.ask(StopLink())


def take_up(m: Memory, ending: Ending, now: Now) -> None:
    """Store what is to come of it, and why: a host that dies before the end comes back to that, not to where it was.

    What is stopped for good with a device linked is about to lose it, and nothing else is: `recall` relies on that.
    """
    m.ending = ending
    m.enter(Phase.STOPPING)
    if ending.purpose is Purpose.PURGE:
        no_reason(m)
    elif ending.purpose is not Purpose.RESTART or ending.wipe:
        ending.disconnection = ending.disconnection or Disconnection(LOGGED_OUT, "command")
        store_reason(m, ending.disconnection, now.wall)
    if ending.failed:
        m.store(failed_reason=ending.message)
        return
    back_up = ending.purpose is Purpose.RESTART and not ending.wipe
    m.store(desired=Desired.UP if back_up else Desired.DOWN, failed_reason=None)


def store_reason(m: Memory, reason: Disconnection, at: float) -> None:
    m.write(disconnection_code=reason.code, disconnection_object=describe(reason), disconnection_at=at)


def no_reason(m: Memory) -> None:
    """Nothing is left to be told but that the instance is gone."""
    m.write(disconnection_code=None, disconnection_object=None, disconnection_at=None)


def unlink_then_stop(m: Memory, ending: Ending, now: Now) -> None:
    """Tell the phone first where there is a link to say it on; the command's deadline bounds the wait."""
    if m.phase is not Phase.OPEN:
        stop(m, ending, now)
        return
    take_up(m, ending, now)
    m.ask(PortCommand("logout", UNLINK), SetTimer(UNLINK, m.rules.command_timeout + 1.0))


def after_unlink(m: Memory, *, told: bool) -> None:
    """The phone was told, or could not be in time."""
    if m.ending is None or m.link is not Link.RUNNING:
        return
    m.ending.unlinked = told
    m.ask(CancelTimer(UNLINK))
    m.link = Link.STOPPING
    m.ask(StopLink())


def link_ended_early(m: Memory, why: Disconnection | None = None) -> None:
    """The connection ended by itself while it was being stopped: the supervisor may still hold or restart it.

    A logout can be over before the command that asked for it is answered: the phone was told.
    """
    if m.ending is not None and why is not None and why.code == LOGGED_OUT:
        m.ending.unlinked = True
    if m.ending is not None and m.link is not Link.STOPPING:
        m.ask(CancelTimer(UNLINK))
        m.link = Link.STOPPING
        m.ask(StopLink())


def at_qr_limit(m: Memory, now: Now) -> None:
    """One code more than the limit: refuse and close, as Evolution does."""
    m.store(qr_count=0, logged_in=False)  # who is shown codes has no device linked
    stop(m, Ending(Purpose.QR_LIMIT, disconnection=NOBODY_SCANNED, message=LIMIT_MESSAGE), now)


def finish(m: Memory, now: Now) -> None:
    """The link is down: settle what the stop was for."""
    ending = m.ending
    assert ending is not None
    # A purge has no end here: what is asked until the roster removes the instance is refused by it.
    m.ending = ending if ending.purpose is Purpose.PURGE else None
    refuse_asked(m)
    match ending.purpose:
        case Purpose.RESTART:
            restarted(m, ending, now)
        case Purpose.QR_LIMIT:
            limit_reached(m)
        case Purpose.PURGE:
            m.ask(Wipe(m.device_jid), ClearCache(), Purged())
            m.waiters, gone = [], m.waiters
            m.ask(*(Reply(caller, refusal=BeingDeleted(m.name)) for caller in [*ending.callers, *gone]))
            return
        case Purpose.PERMANENT if ending.wipe and m.logged_in and m.waiters:
            closed(m, ending, now)
            # Somebody has just asked for a connection: without that session it is a new code.
            start_up(m, now)
        case Purpose.LOGOUT | Purpose.RESET | Purpose.PERMANENT:
            closed(m, ending, now)
    answer(m, ending)


def answer(m: Memory, ending: Ending) -> None:
    message = ending.message
    if ending.unlinked is False:
        message += "; the phone could not be told and still lists the device"
    m.ask(*(Reply(caller, message) for caller in ending.callers))
    if m.phase in (Phase.CLOSED, Phase.FAILED):
        m.waiters, waiters = [], m.waiters
        m.ask(*(Reply(caller, message) for caller in waiters))


def restarted(m: Memory, ending: Ending, now: Now) -> None:
    """A new connection right after the old one."""
    if ending.wipe:
        forget_account(m)
    if ending.recovers:
        resume(m)
    else:
        start_up(m, now)


def limit_reached(m: Memory) -> None:
    m.store(desired=Desired.DOWN)
    m.enter(Phase.CLOSED)
    m.pairing_number = None
    say_limit(m)


def say_limit(m: Memory) -> None:
    m.event("qrcode.updated", message=LIMIT_MESSAGE, statusCode=BAD_SESSION)
    m.event("connection.update", state="refused", statusReason=CLOSED, wuid=m.owner_jid)
    m.event("no.connection", statusReason=CLOSED)


def closed(m: Memory, ending: Ending, now: Now) -> None:
    """The permanent end of a connection: status, row, logout, close, and only then the credentials."""
    reason = ending.disconnection or Disconnection(LOGGED_OUT, "command")
    say_closed(m, reason, now.wall)
    m.store(failed_reason=ending.message if ending.failed else None)
    if not ending.failed:
        m.store(desired=Desired.DOWN, qr_count=0, recovery_attempts=0)
    if ending.wipe:
        forget_account(m)
    m.pairing_number = None
    m.down_since = None
    m.enter(Phase.FAILED if ending.failed else Phase.CLOSED)
    later(m, ending, reason, now)
    say_logged_out(m, reason)


def say_closed(m: Memory, reason: Disconnection, at: float) -> None:
    """The first that is told of a permanent end, and its mark in the row."""
    m.event(
        "status.instance",
        status="closed",
        disconnectionAt=at,
        disconnectionReasonCode=reason.code,
        disconnectionObject=describe(reason),
        cause=reason.cause,
    )
    store_reason(m, reason, at)


def say_logged_out(m: Memory, reason: Disconnection) -> None:
    """The last that is told of a permanent end."""
    m.event("logout.instance", statusReason=reason.code, cause=reason.cause)
    m.event("connection.update", state="close", statusReason=reason.code, wuid=m.owner_jid)


def later(m: Memory, ending: Ending, reason: Disconnection, now: Now) -> None:
    """What is known of when another try makes sense: after the cooldown, or after the ban."""
    m.banned_until = ban_end(reason, now.wall)
    if ending.retry:
        cool_down(m, now, m.rules.recovery.cooldown)


def cool_down(m: Memory, now: Now, seconds: float) -> None:
    """Try again by itself after some seconds, if the configuration says so."""
    if m.rules.recovery.on_limit == "cooldown":
        m.restart_due = now.wall + seconds
        m.ask(SetTimer(COOLDOWN, seconds))


def ban_end(reason: Disconnection, at: float) -> float | None:
    """When a temporary ban ends, in seconds since the epoch; None if it is none, or none that says so."""
    seconds = reason.detail.get("expireSeconds")
    return at + seconds if reason.code == TEMPORARY_BAN and seconds else None


def forget_account(m: Memory) -> None:
    """No device is linked any more: its credentials go, and everything that was kept with them."""
    m.ask(Wipe(m.device_jid), ClearCache())
    m.store(logged_in=False, device_jid=None, qr_count=0)


def refuse_asked(m: Memory) -> None:
    """Callers whose command went to a port that is no more."""
    m.asked, asked = [], m.asked
    why = "the connection ended before it answered"
    m.ask(*(Reply(caller, refusal=NotNow(m.name, m.phase, why)) for caller in asked))


def describe(disconnection: Disconnection) -> Mapping[str, Any]:
    """A disconnection as JSON, for rows and events."""
    return {
        "statusCode": disconnection.code,
        "name": disconnection.name,
        "cause": disconnection.cause,
        **disconnection.detail,
    }
