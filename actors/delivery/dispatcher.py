"""Sees to it that every destination with something to deliver has a lane, and that the lane knows."""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import urlsplit

import tenacity

from actors.delivery.context import Delivering, Idle, Poke, Withdrawn
from actors.delivery.lane import REPORTS_LIMIT, STOP_SECONDS, Lane
from actors.events import PATH as EVENTS
from actors.events import Committed, Subscribe, global_target
from actors.store import StoreUnavailable, deliveries, outbox, write
from supervisor.otp import (
    Actor,
    AdminError,
    ChildSpec,
    Ladder,
    NotFound,
    Ref,
    Start,
    StartFailed,
    start_child,
    terminate_child,
)

CALL_DEADLINE = 10.0
LAG = REPORTS_LIMIT + 32
"""Messages in a lane's mailbox beyond which another poke tells it nothing new: one is surely among them."""

RETRY = 1.0
"""Seconds after which a lane that could not be started is started again."""

LANE_BACK = tenacity.wait_exponential(multiplier=0.5, max=60)
"""Seconds before a lane that crashed is started again."""


class Dispatcher(Actor):
    """Starts a lane for each destination that has deliveries, and stops lanes that have long had none."""

    def init(self, context: Delivering, lanes: str) -> None:
        """Subscribe to commits, then start the lanes that the outbox asks for.

        Args:
            lanes: the path of the lanes' supervisor.

        Raises:
            StoreUnavailable: the outbox cannot be read.
        """
        self._context = context
        self._lanes = lanes
        self._pokes: dict[str, int] = {}
        self.system.call(EVENTS, Subscribe(self.ref), CALL_DEADLINE)
        self._redirect_global()
        for destination in context.reader.query(outbox.lanes, CALL_DEADLINE):
            self._poke(destination)

    def handle_cast(self, message: Any) -> None:
        match message:
            case Committed(topics=topics):
                for topic in topics:
                    if topic.startswith(outbox.LANE_TOPIC):
                        self._poke(topic[len(outbox.LANE_TOPIC) :])
                    elif topic.startswith(outbox.WITHDRAWN_TOPIC):
                        lane = lane_id(topic[len(outbox.WITHDRAWN_TOPIC) :])
                        self.system.cast(f"{self._lanes}/{lane}", Withdrawn())
            case Idle(destination=destination, poke=poke):
                self._idle(destination, poke)
            case _:
                super().handle_cast(message)

    def handle_info(self, message: Any) -> None:
        match message:
            case _Again(destination=destination):
                self._poke(destination)
            case _:
                super().handle_info(message)

    def _poke(self, destination: str) -> None:
        number = self._pokes[destination] = self._pokes.get(destination, 0) + 1
        lane = self.system.whereis(f"{self._lanes}/{lane_id(destination)}")
        if lane is None:
            self._start_lane(destination)
        elif lane.mailbox_length < LAG:
            lane.cast(Poke(number))

    def _start_lane(self, destination: str) -> None:
        """Start it, unless it waits for its restart: then it reads the outbox when it is back."""
        start = Start(Lane, destination, self._context, self._lanes, self.path)
        recovery = Ladder([None], LANE_BACK)
        spec = ChildSpec(lane_id(destination), start, shutdown=STOP_SECONDS + 3, recovery=recovery)
        try:
            start_child(self._supervisor(), spec, CALL_DEADLINE)
        except StartFailed as failure:
            self.log.error("a lane could not be started: %s", failure.reason)
            self.send_after(RETRY, _Again(destination))
        except AdminError:
            self.log.debug("the lane of a destination is being restarted")

    def _idle(self, destination: str, poke: int) -> None:
        """Stop a lane without work; one that does not know the last poke yet is told again."""
        last = self._pokes.get(destination, poke)
        if last == poke:
            self._stop_lane(destination)
        else:
            self.system.cast(f"{self._lanes}/{lane_id(destination)}", Poke(last))

    def _stop_lane(self, destination: str) -> None:
        self._pokes.pop(destination, None)
        try:
            terminate_child(self._supervisor(), lane_id(destination), CALL_DEADLINE)
        except NotFound:
            self.log.debug("an idle lane was gone already")

    def _supervisor(self) -> Ref:
        ref = self.system.whereis(self._lanes)
        if ref is None:
            raise StoreUnavailable("the lanes' supervisor is down")
        return ref

    def _redirect_global(self) -> None:
        """What waits for a host-wide webhook that is no longer configured goes to the one that is."""
        settings = self._context.settings
        places = [settings.webhook, *(own.webhook for own in settings.instances.values())]
        known = {target.destination for place in places if (target := global_target(place)) is not None}
        target = global_target(settings.webhook)
        moved = write(
            self.system,
            lambda tx: deliveries.retarget_global(tx, sorted(known), target),
            CALL_DEADLINE,
            path=self._context.store,
        )
        if moved:
            self.log.warning("%d deliveries waited for a host-wide webhook that is gone", moved)


class _Again:
    """Time to try a destination's lane again."""

    __match_args__ = ("destination",)

    def __init__(self, destination: str) -> None:
        self.destination = destination


def lane_id(destination: str) -> str:
    """A name for a destination's lane that tells its host and no secret of its URL."""
    try:
        host = urlsplit(destination).hostname or "unknown"
    except ValueError:
        host = "unknown"
    plain = re.sub(r"[^a-z0-9.-]", "-", host.lower())[:60]
    return f"{plain}-{hashlib.sha256(destination.encode()).hexdigest()[:10]}"
