"""What a fresh session knows: what was stored, and a link that is yet to come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from actors.context import InstanceContext
from actors.disconnect import CLOSED, REPLACED, Disconnection
from actors.recovery import REPLACED_WINDOW, Rule
from actors.session.losing import CRASH, GRACE, NEXT_BATCH, QR_LIMIT, SELF, STABLE
from actors.session.memory import Link, Memory, Now, RecoveryPolicy
from actors.session.starting import FRESH
from actors.session.stopping import (
    NOBODY_SCANNED,
    ban_end,
    forget_account,
    say_closed,
    say_limit,
    say_logged_out,
)
from actors.store import HistoryEntry, Instance
from actors.views import Desired, Phase

WAITED = (NEXT_BATCH, QR_LIMIT)
"""Actions after what was waiting for a scan, and so no disconnection to count."""


class ConfiguredRules:
    """The machine's view of the configuration, as it is when it looks."""

    def __init__(self, context: InstanceContext) -> None:
        self._context = context

    @property
    def recovery(self) -> RecoveryPolicy:
        return self._context.settings.recovery

    @property
    def qr_limit(self) -> int:
        return self._context.settings.qrcode.limit

    @property
    def command_timeout(self) -> float:
        return self._context.settings.port.command_timeout

    def rule(self, code: int) -> Rule:
        return self._context.settings.disconnect_rule(code)


def remember(row: Instance, past: Sequence[HistoryEntry], context: InstanceContext, now: Now) -> Memory:
    """The state that a session starts from.

    Args:
        row: the instance as stored.
        past: its latest history, newest first.
        context: where its subtree is.
        now: the time.
    """
    desired = Desired(row.desired)
    phase = first_phase(row, desired)
    starts = phase in (Phase.STARTING, Phase.RECOVERING) and context.granted
    last = last_disconnection(row)
    memory = Memory(
        name=row.name,
        rules=ConfiguredRules(context),
        phase=phase,
        desired=desired,
        logged_in=row.logged_in,
        number=row.number,
        owner_jid=row.owner_jid,
        device_jid=row.device_jid,
        profile_name=row.profile_name,
        profile_pic_url=row.profile_pic_url,
        failed_reason=row.failed_reason,
        recovery_attempts=row.recovery_attempts,
        qr_count=row.qr_count,
        incarnation=context.incarnation,
        link=Link.RUNNING if starts else Link.ABSENT,
        fallen=fallen_since_stable(past),
        noted=noted_since(past),
        replaced_at=replaced_lately(past, now),
        stats=context.stats,
        last=last if phase is Phase.RECOVERING else None,
        down_since=down_since(row, now) if phase is Phase.RECOVERING else None,
        strategy="restart-instance",
        last_code=row.disconnection_code,
        banned_until=ban_end(last, row.disconnection_at or 0.0) if last and phase is Phase.FAILED else None,
    )
    catch_up(memory, Phase(row.phase), last, row.disconnection_at or now.wall)
    return memory


def catch_up(m: Memory, stored: Phase, last: Disconnection | None, at: float) -> None:
    """Put on the tray what nobody came to: the host was killed, or the session crashed, before it could say so.

    A logout or a reset whose link was still being ended loses its credentials now. What is going to be launched is
    left to its launch.

    Args:
        stored: the phase that the row says.
        last: the disconnection that the row says; of a stop, the reason (`stopping.take_up`).
        at: when that was.
    """
    ended = m.phase in (Phase.CLOSED, Phase.FAILED) and stored is not m.phase
    if ended:
        m.write(phase=m.phase)
    if ended and stored is Phase.STOPPING:
        say_how(m, last, at)
    elif ended:
        m.event("connection.update", state="close", statusReason=CLOSED, wuid=m.owner_jid)
    elif m.link is Link.RUNNING and stored is Phase.OPEN:
        m.write(phase=m.phase)
        m.event("connection.update", state="connecting", statusReason=200)


def say_how(m: Memory, why: Disconnection | None, at: float) -> None:
    """Tell of a stop that was under way what would have been told at its end; the rest of a delete is the roster's."""
    at_limit = why is not None and (why.code, why.cause) == (NOBODY_SCANNED.code, NOBODY_SCANNED.cause)
    if at_limit:
        say_limit(m)
    elif why is not None:
        say_closed(m, why, at)
    if m.phase is Phase.CLOSED and m.logged_in:
        m.store(recovery_attempts=0)
        forget_account(m)
    if why is None:
        m.event("connection.update", state="close", statusReason=CLOSED, wuid=m.owner_jid)
    elif not at_limit:
        say_logged_out(m, why)


def first_phase(row: Instance, desired: Desired) -> Phase:
    """At rest it stays at rest, also what was on its way to it; all else has to be brought up again."""
    if row.phase == Phase.FAILED or (row.phase == Phase.STOPPING and row.failed_reason is not None):
        return Phase.FAILED
    if desired is Desired.DOWN:
        return Phase.CLOSED
    return Phase.RECOVERING if row.phase == Phase.RECOVERING else Phase.STARTING


def last_disconnection(row: Instance) -> Disconnection | None:
    if row.disconnection_code is None:
        return None
    detail = dict(row.disconnection_object or {})
    cause = str(detail.pop("cause", ""))
    return Disconnection(row.disconnection_code, cause, detail)


def down_since(row: Instance, now: Now) -> Now | None:
    """When the link was lost, on both clocks; the monotonic one did not run with the former host."""
    if row.disconnection_at is None:
        return None
    return Now(now.mono - max(0.0, now.wall - row.disconnection_at), row.disconnection_at)


def replaced_lately(past: Sequence[HistoryEntry], now: Now) -> list[float]:
    """When the session was last replaced by another client, in monotonic seconds, oldest first.

    A rung of the ladder starts the whole instance anew, and whoever replaces it must not gain by that.
    """
    ago = [now.wall - at for at, code in counted(past, up_to=(FRESH,)) if code == REPLACED]
    return [now.mono - seconds for seconds in ago if 0 <= seconds <= REPLACED_WINDOW][::-1]


def fallen_since_stable(past: Sequence[HistoryEntry]) -> list[tuple[float, int]]:
    """Time and code of each disconnection since the connection was last stable, or had a fresh budget, oldest first."""
    return list(counted(past, up_to=(STABLE, FRESH)))[::-1]


def counted(past: Sequence[HistoryEntry], up_to: Sequence[str]) -> Iterator[tuple[float, int]]:
    """Time and code of each disconnection that the recovery had to judge, newest first.

    A drop that the client healed does not count, and one that has a row for its end too counts as that.

    Args:
        past: the history, newest first.
        up_to: results, at the newest of which it ends.
    """
    after: HistoryEntry | None = None
    for entry in past:
        if entry.result in up_to:
            return
        ended = entry.kind == "disconnection" and entry.cause != CRASH and entry.action not in WAITED
        settled = entry.action == GRACE and after is not None and settles(after, entry)
        if ended and not settled and entry.code is not None and entry.at is not None:
            yield entry.at, entry.code
        after = entry


def noted_since(past: Sequence[HistoryEntry]) -> bool:
    """Whether any disconnection has a row since the connection was last stable, or had a fresh budget."""
    for entry in past:
        if entry.result in (STABLE, FRESH) or entry.kind == "disconnection":
            return entry.kind == "disconnection"
    return False


def settles(later: HistoryEntry, drop: HistoryEntry) -> bool:
    """Whether this row says what became of the drop: the client healed it, or its connection ended."""
    healed = later.kind == "recovery" and later.strategy == SELF
    return healed or (later.kind == "disconnection" and later.incarnation == drop.incarnation)
