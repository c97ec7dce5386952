"""The janitor: deletes what instances leave behind, so that nobody else waits for a store that does not answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from actors import cache, credentials, register
from actors.cache import CacheUnavailable
from actors.credentials import CredentialsUnavailable
from actors.services import Services
from actors.store import Cleanup, StoreUnavailable, write
from supervisor.otp import Actor, Caller, Fenced
from supervisor.otp.context import check_not_fenced

log = structlog.get_logger("zapvisor.janitor")

WIPE_DEADLINE = credentials.DEADLINE + cache.DEADLINE
"""Seconds that one wipe takes at the most: a question to each of the stores, neither of which answers."""
AWAY = 5.0
"""Seconds for which a store that all instances share is not asked again after it did not answer."""
STORE_DEADLINE = 15.0


@dataclass(frozen=True, slots=True)
class Wipe:
    """Ask for the clean-ups of one instance; what cannot be done now stays noted.

    The reply is None once the credentials are gone, or why they are not, for people.

    Attributes:
        tells: whoever asks says so itself if they are not.
    """

    instance_id: str
    notes: tuple[Cleanup, ...]
    tells: bool = False


@dataclass(frozen=True, slots=True)
class Sweep:
    """Time to remove what an earlier deletion has set aside."""


class Janitor(Actor):
    """Child `janitor` of the root, before the roster that asks it. One wipe at a time, in the order of the asking.

    A store that all share and that does not answer holds up one wipe: those that wait behind it are put off, as that
    one is, until they are asked for again (`actors.leftovers`). Killed while it waits for a store, it begins nothing
    more.
    """

    def init(self, services: Services) -> None:
        self._services = services
        self._away: dict[str, float] = {}
        self.ref.cast(Sweep())

    def handle_call(self, message: Any, caller: Caller) -> Any:
        match message:
            case Wipe():
                return self._wipe(message)
            case _:
                return super().handle_call(message, caller)

    def handle_cast(self, message: Any) -> None:
        match message:
            case Sweep():
                why = self._try("credentials", self._services.credentials.sweep, shared=False)
                if why is not None:
                    log.warning("deleted credentials may be left on the disk", error=why)
            case _:
                super().handle_cast(message)

    def _wipe(self, asked: Wipe) -> str | None:
        credentials = self._services.credentials
        gone: list[Cleanup] = []
        failure: str | None = None
        for note in asked.notes:
            check_not_fenced()
            delete = partial(credentials.delete, asked.instance_id, note.what.get("credentials"))
            why = self._try("credentials", delete, shared=credentials.by_device)
            if why is None:
                gone.append(note)
            failure = why or failure
        there = failure
        why = self._try("cache", partial(self._services.cache.clear, asked.instance_id), shared=True)
        if why is None:
            failure = self._strike(gone) or failure
        failure = why or failure
        if failure is None:
            log.info("a clean-up is finished", instance_id=asked.instance_id)
        elif there is None or not asked.tells:
            log.error("a clean-up is put off", instance_id=asked.instance_id, error=failure)
        return there

    def _try(self, store: str, step: Callable[[], None], *, shared: bool) -> str | None:
        """None, or why it could not be done now."""
        if shared and self.clock.monotonic() < self._away.get(store, 0.0):
            return f"{store}: the store has just not answered"
        try:
            step()
        except (CredentialsUnavailable, CacheUnavailable) as error:
            self._away[store] = self.clock.monotonic() + AWAY
            return f"{store}: {error}"
        except Fenced:
            raise
        except Exception as error:
            # A note is there again at each start: a crash over it would be one at each start, of the API too.
            log.exception("a clean-up failed")
            return f"{store}: {type(error).__name__}"
        return None

    def _strike(self, notes: list[Cleanup]) -> str | None:
        """None, or why the notes stay; what they say is then done once more, and nothing is there any more."""
        trouble = self._services.condition.trouble
        if trouble is not None:
            return trouble.why
        try:
            write(self.system, partial(register.strike, notes=notes), STORE_DEADLINE)
        except StoreUnavailable as error:
            return str(error)
        except Fenced:
            raise
        except Exception as error:
            # As above; and who waits for the end of the credentials, which are gone, waits no longer.
            log.exception("a clean-up could not be struck out")
            return f"database: {type(error).__name__}"
        return None
