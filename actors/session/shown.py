"""What a session shows of its instance."""

from __future__ import annotations

from actors.session import machine
from actors.session.memory import Memory
from actors.store import Instance
from actors.views import InstanceView


def view(row: Instance, m: Memory) -> InstanceView:
    """The snapshot of an instance: its row, and what only the session knows."""
    return InstanceView(
        id=row.id,
        name=row.name,
        phase=m.phase,
        desired=m.desired,
        logged_in=m.logged_in,
        token=row.token,
        created_at=row.created_at,
        updated_at=row.updated_at,
        integration=row.integration,
        number=m.number,
        owner_jid=m.owner_jid,
        device_jid=m.device_jid,
        profile_name=m.profile_name,
        profile_pic_url=row.profile_pic_url,
        client_name=row.client_name,
        disconnection_code=row.disconnection_code,
        disconnection_object=row.disconnection_object,
        disconnection_at=row.disconnection_at,
        failed_reason=m.failed_reason,
        recovery_attempts=m.recovery_attempts,
        restart_due=m.restart_due,
        awaits=machine.awaits(m),
        open_since=m.opened.wall if m.opened else None,
        incarnation=m.incarnation,
        pid=m.pid,
        rss_bytes=m.rss_bytes,
        heartbeat_at=m.heartbeat_at,
        alive_at=m.alive_at,
        banned_until=m.banned_until,
        figures=m.stats.figures(),
        settings=row.settings,
        webhook=row.webhook,
        proxy=row.proxy,
        chatwoot=row.chatwoot,
        qr=m.qr,
    )
