"""What users ask: each command accepted in each phase, or refused with a reason that names the phase."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from actors.disconnect import LOGGED_OUT, Disconnection
from actors.messages import (
    Banned,
    BeingDeleted,
    Configure,
    Connect,
    ForceReconnection,
    Logout,
    NotLoggedIn,
    NotNow,
    Reset,
    Restart,
    SetPresence,
)
from actors.recovery import Step
from actors.session import stopping
from actors.session.effects import PortCommand, ResumeLink, SetTimer
from actors.session.inputs import CommandDone
from actors.session.losing import ESCALATE
from actors.session.memory import Ending, Link, Memory, Now, Purpose
from actors.session.replies import refuse, reply, wait
from actors.session.starting import PAIR, ask_pairing_code, start_up, tell_code, waiting_to_be_scanned
from actors.views import Desired, Phase

PRESENCE = "presence:"
PROFILE = "profile"
DEFERRED_LIMIT = 32
"""Commands kept while a link is being stopped; one more is refused."""

LOGGED_OUT_DONE = "Instance logged out"
NOTHING_LINKED = "Pairing stopped; no device was linked"

AT_REST = (Phase.CLOSED, Phase.FAILED)


def dispatch(m: Memory, caller: int, message: Any, now: Now) -> None:
    """Carry a command out, or keep it until the stop under way is over."""
    if isinstance(message, Configure):
        configure(m, caller, message)
    elif m.phase is Phase.STOPPING:
        defer(m, caller, message)
    else:
        match message:
            case Connect():
                connect(m, caller, message, now)
            case Logout():
                logout(m, caller, now)
            case Restart():
                restart(m, caller, now)
            case ForceReconnection(clean_session=clean):
                force(m, caller, now, clean=clean)
            case Reset():
                reset(m, caller, now)
            case SetPresence():
                set_presence(m, caller, message)
            case _:
                raise TypeError(f"no such command: {type(message).__name__}")


def defer(m: Memory, caller: int, message: Any) -> None:
    ending = m.ending
    if ending is not None and ending.purpose is Purpose.PURGE:
        refuse(m, caller, BeingDeleted(m.name))
    elif (
        isinstance(message, Logout)
        and ending is not None
        and ending.purpose is Purpose.LOGOUT
        and not m.deferred
    ):
        ending.callers.append(caller)
    elif len(m.deferred) >= DEFERRED_LIMIT:
        refuse(m, caller, NotNow(m.name, m.phase, f"{DEFERRED_LIMIT} commands already wait"))
    else:
        m.deferred.append((caller, message))


def run_deferred(m: Memory, now: Now) -> None:
    """The stop is over: what came meanwhile, in order, until a command stops the link again."""
    while m.deferred and m.phase is not Phase.STOPPING:
        caller, message = m.deferred.pop(0)
        dispatch(m, caller, message, now)


# -- connect -----------------------------------------------------------------------------------------------


def connect(m: Memory, caller: int, message: Connect, now: Now) -> None:
    asks = False
    if message.number is not None and m.phase is not Phase.OPEN:
        asks = message.number != m.pairing_number or (m.qr is not None and m.qr.pairing_error is not None)
        if m.qr is not None and asks:
            # What it shows was for another number, or for the last time.
            m.qr = replace(m.qr, pairing_code=None, pairing_error=None)
        m.pairing_number = message.number
        m.store(number=message.number)
    match m.phase:
        case Phase.OPEN:
            reply(m, caller, "Already connected")
        case Phase.AWAITING_SCAN if asks:
            ask_pairing_code(m)
            wait(m, caller, message.wait)
        case Phase.AWAITING_SCAN if m.qr and (
            m.qr.pairing_code or m.qr.pairing_error or not m.pairing_number
        ):
            reply(m, caller, waiting_to_be_scanned(m))
        case Phase.AWAITING_SCAN:
            wait(m, caller, message.wait)  # for the pairing code, which is asked for already
        case Phase.CLOSED | Phase.FAILED:
            if message.force or not refused_as_banned(m, caller, now):
                start_up(m, now)
                wait(m, caller, message.wait)
        case _:
            # Whoever asks every second would otherwise use up all attempts in as many seconds.
            hurry(m, now, earliest=m.hurry_from)
            wait(m, caller, message.wait)


def refused_as_banned(m: Memory, caller: int, now: Now) -> bool:
    """WhatsApp bans for a time; a connection before its end would prolong it."""
    if m.banned_until is None or now.wall >= m.banned_until:
        return False
    refuse(m, caller, Banned(m.name, m.banned_until))
    return True


def hurry(m: Memory, now: Now, *, earliest: float) -> None:
    """A restart that is due later is made now, but not before `earliest` (monotonic seconds)."""
    due = max(now.mono, earliest)
    if m.link is not Link.HELD or m.restart_due is None or due >= m.due:
        return
    after = due - now.mono
    m.due, m.restart_due = due, now.wall + after
    if m.step is Step.RESTART_INSTANCE:
        m.ask(SetTimer(ESCALATE, after))
    else:
        m.ask(ResumeLink(after, m.step))


def on_command_done(m: Memory, done: CommandDone) -> None:
    """The port has carried out what it was asked, or has not."""
    if done.tag == stopping.UNLINK:
        stopping.after_unlink(m, told=done.error is None)
    elif done.tag == f"{PAIR}{m.pairing_number}":
        on_pairing_code(m, done)
    elif done.tag == PROFILE:
        on_profile(m, done)
    elif done.tag.startswith(PRESENCE):
        on_presence(m, int(done.tag.removeprefix(PRESENCE)), done)


def on_pairing_code(m: Memory, done: CommandDone) -> None:
    if m.phase is Phase.AWAITING_SCAN and m.qr is not None:
        code = str(done.value["code"]) if done.error is None else None
        m.qr = replace(m.qr, pairing_code=code, pairing_error=done.error)
        tell_code(m)


# -- commands that end a link ------------------------------------------------------------------------------


def logout(m: Memory, caller: int, now: Now) -> None:
    if m.phase in AT_REST and not m.logged_in:
        refuse(m, caller, NotLoggedIn(m.name, m.phase))
        return
    had_session = m.logged_in
    ending = Ending(Purpose.LOGOUT, [caller], wipe=True)
    ending.message = LOGGED_OUT_DONE if had_session else NOTHING_LINKED
    ending.unlinked = False if had_session else None
    stopping.unlink_then_stop(m, ending, now)


def restart(m: Memory, caller: int, now: Now) -> None:
    if m.phase is Phase.CLOSED:
        refuse(m, caller, NotNow(m.name, m.phase, "there is no connection to restart; connect it"))
    elif m.phase is Phase.FAILED:
        if not refused_as_banned(m, caller, now):
            start_up(m, now)
            reply(m, caller, "Instance restarted")
    else:
        stopping.stop(m, Ending(Purpose.RESTART, [caller], message="Instance restarted"), now)


def force(m: Memory, caller: int, now: Now, *, clean: bool) -> None:
    text = "Reconnecting with a clean session" if clean else "Reconnecting"
    ending = Ending(Purpose.RESTART, [caller], wipe=clean, message=text)
    if clean:
        ending.unlinked = False if m.logged_in else None
        stopping.unlink_then_stop(m, ending, now)
    else:
        stopping.stop(m, ending, now)


def reset(m: Memory, caller: int, now: Now) -> None:
    ending = Ending(Purpose.RESET, [caller], wipe=True, message="Instance reset")
    ending.disconnection = Disconnection(LOGGED_OUT, "reset")
    ending.unlinked = False if m.logged_in else None
    stopping.unlink_then_stop(m, ending, now)


def on_purge(m: Memory, now: Now) -> None:
    """The roster deletes the instance; a stop under way becomes the stop of the purge.

    Should this session be restarted over it, it does not connect again while it waits to be removed.
    """
    m.store(desired=Desired.DOWN)
    if m.ending is not None:
        m.ending.purpose, m.ending.wipe = Purpose.PURGE, True
        stopping.no_reason(m)
    else:
        stopping.unlink_then_stop(m, Ending(Purpose.PURGE, wipe=True), now)
    m.deferred, deferred = [], m.deferred
    for caller, _ in deferred:
        refuse(m, caller, BeingDeleted(m.name))


# -- the rest ----------------------------------------------------------------------------------------------


def set_presence(m: Memory, caller: int, message: SetPresence) -> None:
    if m.phase is not Phase.OPEN:
        refuse(m, caller, NotNow(m.name, m.phase, "presence needs an open connection"))
        return
    m.asked.append(caller)
    m.ask(PortCommand("set_presence", f"{PRESENCE}{caller}", {"presence": message.presence}))


def on_profile(m: Memory, done: CommandDone) -> None:
    """How the account presents itself; an account need not have a name or a picture, nor tell."""
    known = {"profile_name": done.value.get("push_name"), "profile_pic_url": done.value.get("picture_url")}
    if done.error is None and m.phase is Phase.OPEN:
        changed = {key: value for key, value in known.items() if value and value != getattr(m, key)}
        if changed:
            m.store(**changed)


def on_presence(m: Memory, caller: int, done: CommandDone) -> None:
    if caller in m.asked:
        m.asked.remove(caller)
        if done.error is None:
            reply(m, caller, "Presence set")
        else:
            refuse(m, caller, NotNow(m.name, m.phase, done.error))


def configure(m: Memory, caller: int, message: Configure) -> None:
    if m.ending is not None and m.ending.purpose is Purpose.PURGE:
        refuse(m, caller, BeingDeleted(m.name))
        return
    given = {
        "settings": message.settings,
        "webhook": message.webhook,
        "proxy": message.proxy,
        "chatwoot": message.chatwoot,
    }
    m.changes |= {key: dict(value) for key, value in given.items() if value is not None}
    reply(m, caller, "Stored")
