"""How a connection is lost, and what is done about it: the client's own try, the ladder, or the end."""

from __future__ import annotations

from dataclasses import replace

from actors import recovery
from actors.disconnect import CLOSED, MULTIDEVICE_MISMATCH, REPLACED, TIMED_OUT, UNAVAILABLE, Disconnection
from actors.recovery import Permanent, Reconnect, Step
from actors.session import stopping
from actors.session.effects import CancelTimer, ResumeLink, SetTimer
from actors.session.memory import Ending, Link, Memory, Now, Purpose
from actors.views import Phase

STABLE = "stable"
CRASH = "crash"
"""The cause of what is the supervisor's to count, not the recovery's."""
ESCALATE = "escalate"
GRACE = "grace"
"""The action after a drop that the client may heal; it counts only if that fails."""
SELF = "self"
"""The strategy of such a recovery."""
INACTIVITY = "inactivity"
"""The strategy after silence."""
NEXT_BATCH = "next-batch"
"""The action after a connection that was waiting for its scan: no attempt of a recovery, so it counts as none."""
ABORT = "abort"
"""The action when nothing more is tried for now."""
QR_LIMIT = "qr-limit"
"""The action when nobody has scanned the last code of the limit: the instance is closed."""
FALLEN_LIMIT = 1000
"""Disconnections kept in memory; no limit of the configuration is above it."""
GIVEN_BACK_IN_A_ROW = 5
"""So many codes are given back for losses that follow each other soon; the limit of codes ends the rest."""
CALM_SECONDS = 60.0
"""A connection that showed codes for so long, as long as the first of them is valid, is no loss soon after another."""
GIVEN_BACK = (CLOSED, TIMED_OUT, UNAVAILABLE)
"""Codes whose loss of a QR connection is not the user's fault: one count is given back."""


def on_link_down(m: Memory, disconnection: Disconnection, now: Now) -> None:
    """The link is gone; the client has a grace to heal it, but `open` it is no more."""
    if m.phase is Phase.OPEN:
        went_down(m, disconnection, now, action=GRACE)
        m.healing = True
        m.strategy = SELF


def went_down(m: Memory, disconnection: Disconnection, now: Now, action: str) -> None:
    """Leave `open` (or the way to it): the fact is stored, recorded and reported once."""
    previous = m.phase
    if previous is Phase.RECOVERING:
        m.stats.not_recovered(m.strategy)
    record(m, disconnection, now, action)
    m.last = disconnection
    m.down_since = m.down_since or now
    m.enter(Phase.RECOVERING)
    m.ask(CancelTimer(STABLE))
    m.write(
        disconnection_code=disconnection.code,
        disconnection_object=stopping.describe(disconnection),
        disconnection_at=now.wall,
    )
    if previous is Phase.OPEN:
        m.event("connection.update", state="connecting", statusReason=disconnection.code)


def record(m: Memory, disconnection: Disconnection, now: Now, action: str) -> None:
    """A row of history, from which the line of the log is made too, and the figures."""
    m.history.append(
        {
            "kind": "disconnection",
            "at": now.wall,
            "code": disconnection.code,
            "name": disconnection.name,
            "cause": disconnection.cause,
            "action": action,
            "duration_s": now.mono - m.opened.mono if m.opened else None,
            "previous_phase": str(m.phase),
            "incarnation": m.incarnation,
            "attempt": m.recovery_attempts,
            "detail": {"signal": disconnection.signal, **disconnection.detail},
        }
    )
    m.noted = True
    m.stats.disconnected(now.wall, disconnection.code, action)


def on_exited(m: Memory, disconnection: Disconnection, now: Now) -> None:
    m.link = Link.HELD if m.link is Link.RUNNING else m.link
    m.pid = m.rss_bytes = None
    stopping.refuse_asked(m)
    if m.phase is Phase.STOPPING:
        stopping.link_ended_early(m, disconnection)
    elif m.codes_shown and not m.logged_in and disconnection.code in GIVEN_BACK:
        next_batch(m, disconnection, now)
    else:
        recover(m, disconnection, now)


def next_batch(m: Memory, disconnection: Disconnection, now: Now) -> None:
    """A connection that was waiting for its scan ended: the next one starts at once.

    A batch whose codes all ran out cost the user all of them; any other end took the last code away early. Losses that
    follow each other soon wait like attempts of a recovery, and after some of them no code is given back any more: else
    a code that nobody scans would be followed by the next without a pause and without an end.
    """
    record(m, disconnection, now, NEXT_BATCH)
    if disconnection.cause == "qr" or now.mono - m.began >= CALM_SECONDS:
        m.qr_losses = 0
    if disconnection.cause != "qr":
        m.qr_losses += 1
        if m.qr_losses <= GIVEN_BACK_IN_A_ROW:
            m.store(qr_count=max(0, m.qr_count - 1))
    m.enter(Phase.STARTING)
    delay = m.rules.rule(disconnection.code).delay
    after = recovery.backoff(delay, m.rules.recovery, m.qr_losses - 1) if m.qr_losses > 1 else 0.0
    put_off(m, now, after, floor=after, step=Step.RECONNECT)
    m.ask(ResumeLink(after))


def recover(m: Memory, disconnection: Disconnection, now: Now) -> None:
    told_already = m.healing and m.last is not None and m.last.code == disconnection.code
    if told_already:
        m.stats.not_recovered(m.strategy)
    verdict = judge(m, disconnection, now)
    if not told_already:
        went_down(m, disconnection, now, action=verdict.action)
    elif isinstance(verdict, Permanent):
        record(m, disconnection, now, verdict.action)
    m.healing = False
    if isinstance(verdict, Permanent):
        give_up(m, disconnection, verdict, now)
    else:
        try_again(m, verdict, disconnection, now)


def judge(m: Memory, disconnection: Disconnection, now: Now) -> recovery.Verdict:
    """Count a disconnection and decide what follows it."""
    m.fallen.append((now.wall, disconnection.code))
    return recovery.decide(
        disconnection,
        m.rules.rule(disconnection.code),
        m.rules.recovery,
        m.recovery_attempts,
        same_code=same_code_lately(m, disconnection.code, now),
        replaced=replaced_lately(m, disconnection, now),
    )


def same_code_lately(m: Memory, code: int, now: Now) -> int:
    since = now.wall - m.rules.recovery.history_window
    m.fallen = [(at, other) for at, other in m.fallen if at >= since][-FALLEN_LIMIT:]
    return sum(1 for _, other in m.fallen if other == code)


def replaced_lately(m: Memory, disconnection: Disconnection, now: Now) -> int:
    if disconnection.code == REPLACED:
        m.replaced_at = [t for t in m.replaced_at if now.mono - t <= recovery.REPLACED_WINDOW] + [now.mono]
    return len(m.replaced_at)


def give_up(m: Memory, disconnection: Disconnection, verdict: Permanent, now: Now) -> None:
    if disconnection.code == MULTIDEVICE_MISMATCH:
        m.event("multidevice.conflict", action="logout_required", statusReason=disconnection.code)
    ending = Ending(Purpose.PERMANENT, wipe=verdict.clean, disconnection=disconnection, message=verdict.why)
    ending.failed = not verdict.clean
    ending.retry = verdict.exhausted and not contested(m, disconnection.code)
    stopping.stop(m, ending, now)


def contested(m: Memory, code: int) -> bool:
    """Whether another host has the session: to take it back from it again and again would cost both."""
    limit = min(recovery.REPLACED_LIMIT, m.rules.recovery.same_code_limit)
    return code == REPLACED and sum(1 for _, fallen in m.fallen if fallen == REPLACED) >= limit


def try_again(m: Memory, verdict: Reconnect, disconnection: Disconnection, now: Now) -> None:
    m.strategy = str(verdict.step)
    floor = m.rules.rule(disconnection.code).delay  # what a first attempt waits
    put_off(m, now, verdict.after, floor=floor, step=verdict.step)
    if verdict.step is Step.RESET_SESSION:
        stopping.forget_account(m)
    count_attempt(m, verdict, disconnection, verdict.after)
    if verdict.step is Step.RESTART_INSTANCE:
        m.ask(SetTimer(ESCALATE, verdict.after))
    else:
        m.ask(ResumeLink(verdict.after, verdict.step))


def put_off(m: Memory, now: Now, after: float, *, floor: float, step: Step) -> None:
    """Note what is due and when, and how soon at the earliest for somebody who asks (`commands.hurry`)."""
    m.restart_due = now.wall + after
    m.due, m.hurry_from = now.mono + after, now.mono + floor
    m.step = step


def count_attempt(m: Memory, verdict: Reconnect, disconnection: Disconnection, after: float) -> None:
    m.store(recovery_attempts=verdict.attempt)
    m.event(
        "recovery.attempt",
        attempt=verdict.attempt,
        maxAttempts=m.rules.recovery.max_attempts,
        statusReason=disconnection.code,
        strategy=m.strategy,
        skipped=str(verdict.skipped) if verdict.skipped else None,
        delayMs=round(after * 1000),
    )


def on_crashed(m: Memory, reason: str, now: Now) -> None:
    """A bug, or a killed port: the supervisor restarts it at once and counts it in its intensity."""
    m.pid = m.rss_bytes = None
    stopping.refuse_asked(m)
    if m.phase is Phase.STOPPING:
        stopping.link_ended_early(m)
        return
    m.event("instance.crash", reason=reason, incarnation=m.incarnation)
    crash = Disconnection(CLOSED, CRASH, {"reason": reason})
    if m.codes_shown and not m.logged_in:
        record(m, crash, now, action="restart")
        m.enter(Phase.STARTING)
        return
    went_down(m, crash, now, action="restart")
    m.strategy = "restart"


def on_silent(m: Memory, now: Now) -> None:
    """No sign of life for too long, and not even its end: whatever is there is replaced, at once and not by a rung.

    It has waited for long enough, and is no network's failure. It counts as an attempt all the same.
    """
    if m.phase in (Phase.CLOSED, Phase.FAILED, Phase.STOPPING) or m.link is not Link.RUNNING:
        return
    silence = Disconnection(TIMED_OUT, "inactivity")
    verdict = judge(m, silence, now)
    went_down(m, silence, now, action=verdict.action)
    if isinstance(verdict, Permanent):
        give_up(m, silence, verdict, now)
        return
    m.strategy = INACTIVITY
    count_attempt(m, replace(verdict, skipped=None), silence, 0.0)
    stopping.stop(m, Ending(Purpose.RESTART, recovers=True, message="Reconnected after inactivity"), now)
