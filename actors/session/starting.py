"""How a connection is brought up, and how its codes are made known."""

from __future__ import annotations

from actors.session.effects import PortCommand, StartLink
from actors.session.memory import Link, Memory, Now
from actors.session.replies import answer_waiters
from actors.views import Desired, Phase

PAIR = "pair:"
"""The tag of what is asked for a number, which follows it: an answer for another number comes too late."""


FRESH = "fresh"
"""The result that a row of history has from which on disconnections are counted anew."""


def start_up(m: Memory, now: Now) -> None:
    """From rest to a connection, with a fresh budget; noted, so that a restarted session counts from here too."""
    m.last = m.down_since = m.banned_until = None
    m.qr_losses = 0
    if m.noted:
        m.fallen, m.replaced_at, m.noted = [], [], False
        m.history.append({"kind": "recovery", "at": now.wall, "result": FRESH, "incarnation": m.incarnation})
    m.store(desired=Desired.UP, recovery_attempts=0, failed_reason=None)
    m.enter(Phase.STARTING)
    launch(m)


def resume(m: Memory) -> None:
    """A new connection as part of a recovery: what was lost, and when, is not forgotten."""
    m.enter(Phase.RECOVERING)
    launch(m)


def launch(m: Memory) -> None:
    m.link = Link.RUNNING
    m.restart_due = None
    m.write(phase=m.phase)  # after a boot the row may still say what was true of the former host
    m.event("connection.update", state="connecting", statusReason=200)
    m.ask(StartLink())


def ask_pairing_code(m: Memory) -> None:
    m.ask(PortCommand("pair_phone", f"{PAIR}{m.pairing_number}", {"number": m.pairing_number}))


def tell_code(m: Memory) -> None:
    """Report the code at hand, and answer who waits for it."""
    assert m.qr is not None
    m.event(
        "qrcode.updated",
        qrcode={"instance": m.name, "pairingCode": m.qr.pairing_code, "code": m.qr.code, "count": m.qr.count},
    )
    answer_waiters(m, waiting_to_be_scanned(m))


def waiting_to_be_scanned(m: Memory) -> str:
    text = f"Code {m.qr_count} of {m.rules.qr_limit} is waiting to be scanned"
    if m.qr is not None and m.qr.pairing_error is not None:
        text += f"; there is no pairing code: {m.qr.pairing_error}"
    return text
