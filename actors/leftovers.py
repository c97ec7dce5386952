"""What is left of an instance that is logged out or deleted, and goes with it."""

from __future__ import annotations

import structlog

from actors.cache import CacheUnavailable
from actors.credentials import CredentialsUnavailable
from actors.services import Services
from actors.store import Cleanup, Instance

log = structlog.get_logger("zapvisor.roster")


def is_void(note: Cleanup, row: Instance | None, services: Services) -> bool:
    """Whether a device was linked since a clean-up was noted, so that what is there now is not what it was about."""
    if row is None or "delete" in note.what or not row.logged_in:
        return False
    return not services.credentials.by_device or note.what.get("credentials") in (None, row.device_jid)


def wipe(services: Services, instance_id: str, device: str | None) -> bool:
    """Delete an instance's credentials and cache. False if that must be tried again at the next start."""
    try:
        services.credentials.delete(instance_id, device)
        services.cache.clear(instance_id)
    except (CredentialsUnavailable, CacheUnavailable) as error:
        log.error("clean-up is left to the next start", instance_id=instance_id, error=str(error))
        return False
    return True
