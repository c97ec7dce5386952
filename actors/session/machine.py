"""The instance as a state machine: each input is one small function from memory to memory.

Nothing here waits, reads a clock or touches the outside: what is to be done is put on the tray of `Memory`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from actors.disconnect import CLOSED, UNAVAILABLE, Disconnection
from actors.recovery import Step
from actors.session import commands, losing, stopping
from actors.session.effects import Effect, Escalate, PortCommand, SetTimer, Stable
from actors.session.inputs import (
    Alive,
    CodeShown,
    CommandDone,
    Crashed,
    Exited,
    Input,
    LinkDown,
    LinkStopped,
    Notice,
    Opened,
    Paired,
    PortUp,
    Purge,
    Reachable,
    Resume,
    Silent,
    Started,
    StartFailed,
    Tick,
)
from actors.session.losing import ESCALATE, STABLE
from actors.session.memory import Ending, Link, Memory, Now, Purpose
from actors.session.replies import WAIT, answer_waiters, waited_long_enough
from actors.session.starting import ask_pairing_code, start_up, tell_code
from actors.views import Awaits, Desired, Phase, QrView


def handle(m: Memory, item: Input, now: Now) -> list[Effect]:
    """Apply one input.

    Args:
        m: the memory; changed in place.
        item: what happened.
        now: when.

    Returns:
        what to do about it, in order.
    """
    if isinstance(item, Notice) and current(m, item):
        m.alive_at = now.wall
    match item:
        case Started():
            on_started(m, item, now)
        case Exited() if current(m, item):
            losing.on_exited(m, item.disconnection, now)
        case Crashed() if current(m, item):
            losing.on_crashed(m, item.reason, now)
        case CommandDone() if current(m, item):
            commands.on_command_done(m, item)
        case Paired(jid=jid) if current(m, item):
            on_paired(m, jid)
        case Notice() if not current(m, item) or m.phase is Phase.STOPPING:
            pass
        case Silent():
            losing.on_silent(m, now)
        case PortUp(pid=pid):
            m.pid = pid
        case Alive(rss_bytes=rss, at=at):
            m.rss_bytes, m.heartbeat_at = rss, at
        case CodeShown(code=code):
            on_code(m, code, now)
        case Opened():
            on_opened(m, item, now)
        case LinkDown(disconnection=disconnection):
            losing.on_link_down(m, disconnection, now)
        case LinkStopped():
            on_link_stopped(m, now)
        case StartFailed(reason=reason):
            on_start_failed(m, reason, now)
        case Tick(name=name):
            on_tick(m, name, now)
        case Resume():
            on_resume(m, now)
        case Reachable(after=after):
            on_reachable(m, after, now)
        case Purge():
            commands.on_purge(m, now)
    return m.drain()


def command(m: Memory, caller: int, message: Any, now: Now) -> list[Effect]:
    """Apply a user's command; `caller` is the number that the replies carry."""
    commands.dispatch(m, caller, message, now)
    return m.drain()


def current(m: Memory, notice: Notice) -> bool:
    return notice.incarnation == m.incarnation and m.link is not Link.ABSENT


# -- the connection begins ---------------------------------------------------------------------------------


def on_started(m: Memory, item: Started, now: Now) -> None:
    m.incarnation = item.incarnation
    m.began = now.mono
    m.pid = m.rss_bytes = m.heartbeat_at = m.restart_due = None
    m.alive_at = now.wall
    m.codes_shown = 0
    m.healing = False
    if m.link is not Link.STOPPING:
        m.link = Link.RUNNING


def begin(m: Memory, now: Now) -> list[Effect]:
    """What a fresh session asks for: a failed instance whose attempts are used up is tried again later."""
    by_its_code = m.last_code is not None and (
        m.rules.rule(m.last_code).action == "logout" or losing.contested(m, m.last_code)
    )
    if m.phase is Phase.FAILED and m.desired is Desired.UP and not by_its_code:
        stopping.cool_down(m, now, m.rules.recovery.cooldown)
    return m.drain()


def on_start_failed(m: Memory, reason: str, now: Now) -> None:
    """The supervisor could not start a connection at all: no descriptors, no forkserver; tried again later.

    Whatever it still has of one, were it only a restart that is due, is ended first: else the next is refused too.
    """
    if m.phase is Phase.STOPPING or m.link is Link.HELD:
        return  # what was asked for meanwhile, or has ended since, is dealt with already
    fault = Disconnection(UNAVAILABLE, "start", {"error": reason})
    m.fallen.append((now.wall, fault.code))
    losing.record(m, fault, now, losing.ABORT)
    ending = Ending(Purpose.PERMANENT, disconnection=fault, failed=True, retry=True, message=reason)
    stopping.stop(m, ending, now)


def on_resume(m: Memory, now: Now) -> None:
    """The host has booted: what is desired comes up with a fresh budget.

    No ban is broken, and no session taken back from another host that has it.
    """
    if m.desired is Desired.DOWN or m.link is not Link.ABSENT or m.phase is Phase.STOPPING:
        return
    banned = m.banned_until is not None and now.wall < m.banned_until
    others = m.phase is Phase.FAILED and m.last_code is not None and losing.contested(m, m.last_code)
    if not banned and not others:
        start_up(m, now)


# -- pairing -----------------------------------------------------------------------------------------------


def on_code(m: Memory, code: str, now: Now) -> None:
    """A QR code: counted, shown, and refused at the limit (Evolution's `connectionUpdate`)."""
    if m.qr_count >= m.rules.qr_limit:
        losing.record(m, Disconnection(CLOSED, "qr"), now, losing.QR_LIMIT)
        stopping.at_qr_limit(m, now)
        return
    m.codes_shown += 1
    m.stats.code_shown()
    m.store(qr_count=m.qr_count + 1)
    if m.logged_in:
        m.store(logged_in=False)
    enter_pairing(m, Phase.AWAITING_SCAN)
    m.down_since = None
    before = m.qr if m.codes_shown > 1 else None
    m.qr = QrView(code, None, m.qr_count, now.wall)
    if before is not None:
        m.qr = replace(m.qr, pairing_code=before.pairing_code, pairing_error=before.pairing_error)
    if m.pairing_number and m.qr.pairing_code is None and m.qr.pairing_error is None:
        ask_pairing_code(m)
    else:
        tell_code(m)


def enter_pairing(m: Memory, phase: Phase) -> None:
    """Nobody who was told that it is open is left believing it."""
    if m.phase is Phase.OPEN:
        m.event("connection.update", state="connecting", statusReason=200)
    m.enter(phase)


def on_paired(m: Memory, jid: str | None) -> None:
    """A device is linked: whoever stops it right now has to know which, to delete what it has stored."""
    if m.phase is not Phase.STOPPING:
        enter_pairing(m, Phase.PAIRING)
    elif m.ending is not None and m.ending.purpose is Purpose.QR_LIMIT:
        # Scanned at the last moment: a host that dies before the end keeps the device.
        m.write(desired=Desired.UP)
    elif m.ending is not None and m.ending.wipe:
        # Scanned at the last moment: the device goes, and nobody tells the phone.
        m.ending.unlinked = False
        m.ending.message = m.ending.message.replace(commands.NOTHING_LINKED, commands.LOGGED_OUT_DONE)
    m.store(logged_in=True)
    know_account(m, jid)


# -- open --------------------------------------------------------------------------------------------------


def on_opened(m: Memory, item: Opened, now: Now) -> None:
    m.healing = False
    m.enter(Phase.OPEN)
    m.opened = now
    m.store(
        logged_in=True,
        qr_count=0,
        profile_name=item.push_name or m.profile_name,
    )
    m.write(last_open_at=now.wall)
    know_account(m, item.jid)
    m.pairing_number = None
    if m.down_since is not None and m.last is not None:
        report_recovery(m, now, m.down_since, m.last)
    m.down_since = None
    m.event("connection.update", state="open", statusReason=200, wuid=m.owner_jid, profileName=m.profile_name)
    m.ask(SetTimer(STABLE, m.rules.recovery.stable_after))
    if m.profile_of != m.incarnation:
        m.profile_of = m.incarnation
        m.ask(PortCommand("profile", commands.PROFILE))
    answer_waiters(m, "Connected")


def know_account(m: Memory, jid: str | None) -> None:
    """Keep both names of the account: the device's, which its credentials go by, and the owner's."""
    if jid:
        m.store(device_jid=jid, owner_jid=owner(jid))


def owner(jid: str) -> str:
    """`5511999990001:12@s.whatsapp.net` is a device of `5511999990001@s.whatsapp.net`."""
    user, at, server = jid.partition("@")
    return f"{user.partition(':')[0]}{at}{server}"


def report_recovery(m: Memory, now: Now, since: Now, last: Disconnection) -> None:
    strategy = m.strategy
    took = now.mono - since.mono
    m.event("reconnection.success", code=last.code, timeMs=round(took * 1000), strategy=strategy)
    m.stats.recovered(strategy, took)
    m.history.append(
        {
            "kind": "recovery",
            "at": now.wall,
            "code": last.code,
            "name": last.name,
            "cause": last.cause,
            "duration_s": took,
            "strategy": strategy,
            "result": "success",
            "attempt": m.recovery_attempts,
            "incarnation": m.incarnation,
        }
    )


def on_stable(m: Memory, now: Now) -> None:
    """Open for long enough: the budget is whole again. Noted, so that a restarted host counts from here too."""
    if m.recovery_attempts:
        m.store(recovery_attempts=0)
    if m.noted:
        m.fallen, m.noted = [], False
        m.history.append(
            {"kind": "recovery", "at": now.wall, "result": "stable", "incarnation": m.incarnation}
        )
    m.ask(Stable())


def on_cooled_down(m: Memory, now: Now) -> None:
    """Try again, unless it failed anew since for a reason that no wait would cure."""
    due = m.restart_due is not None
    if due and m.phase is Phase.FAILED and m.desired is Desired.UP and m.link is Link.ABSENT:
        start_up(m, now)


def on_reachable(m: Memory, after: float, now: Now) -> None:
    """What it waited for is back: nobody waits any longer for what would have been the time to look again."""
    if awaits(m) is None:
        return
    if m.phase is Phase.FAILED:
        stopping.cool_down(m, now, after)
    else:
        commands.hurry(m, now, earliest=now.mono + after)


def awaits(m: Memory) -> Awaits | None:
    """What a try that is put off waits for, as far as the last disconnection tells."""
    waiting = m.restart_due is not None and m.phase in (Phase.RECOVERING, Phase.FAILED)
    return m.last.awaits if waiting and m.last is not None else None


def on_tick(m: Memory, name: str, now: Now) -> None:
    if name == STABLE and m.phase is Phase.OPEN:
        on_stable(m, now)
    elif name == stopping.COOLDOWN:
        on_cooled_down(m, now)
    elif name == ESCALATE and m.link is Link.HELD and m.step is Step.RESTART_INSTANCE:
        # By the session that they asked, as the next one knows nothing of them.
        answer_waiters(m, "Still connecting")
        m.ask(Escalate())
    elif name == stopping.UNLINK:
        stopping.after_unlink(m, told=False)
    elif name.startswith(WAIT):
        waited_long_enough(m, name)


def on_link_stopped(m: Memory, now: Now) -> None:
    m.link = Link.ABSENT
    m.pid = m.rss_bytes = None
    if m.ending is not None:
        stopping.finish(m, now)
    commands.run_deferred(m, now)
