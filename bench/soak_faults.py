"""What a soak does to a host: each kind of fault is one function, which returns when it is over."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, cast

from bench.soak_host import SoakHost
from bench.soak_model import Model
from tests.loopback.api import Connection, LoopbackApi
from tests.loopback.link import Drop

BACK_WITHIN = 120.0
"""Seconds within which an instance is open again after a fault: several replacements on a busy machine."""

SILENT_FOR = 75.0
"""Seconds that a link is black-holed unless that is noticed before (after 32, and all pings of a busy client)."""

TEMPORARY = (503, 500, 502, 515, 429, 408)
"""Codes of stream errors after which a client is to come back."""

Victims = Mapping[str, int]
"""The instances that a fault is for, and how often each had fallen before."""


@dataclass
class Field:
    """What faults act on.

    Attributes:
        over: set when the time of faults is over.
        pace: what lasts a while takes so many times its usual while.
    """

    host: SoakHost
    wa: LoopbackApi
    model: Model
    over: threading.Event
    pace: float = 1.0

    def links(self, names: Sequence[str] | Victims) -> Iterator[Connection]:
        """The logged-in connections of some instances."""
        for name in names:
            with suppress(LookupError):
                yield self.wa.connection(self.model[name].number)

    def last(self, rng: Random, least: float, most: float) -> None:
        """Let what is going on last for a while."""
        self.over.wait(self.pace * rng.uniform(least, most))


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault.

    Attributes:
        weight: how often it is chosen among all.
        run: does it, and returns when it was over, from where recoveries are counted (epoch seconds).
        victims: how many it is for: one, some, or all that are there.
        noticed: the link is lost by it; what passes unnoticed has no recovery.
        takes: seconds of the time of faults that must be left for it.
    """

    kind: str
    weight: int
    run: Callable[[Field, Victims, Random], float]
    victims: Literal["one", "some", "all"] = "one"
    noticed: bool = True
    takes: float = 0.0


# -- links -------------------------------------------------------------------------------------------------


def drop(field: Field, victims: Victims, rng: Random) -> float:
    """The socket is gone, in one of three ways."""
    ways: Sequence[Drop] = ("reset", "fin", "close_frame")
    began, how = time.time(), rng.choice(ways)
    for link in field.links(victims):
        with suppress(LookupError):
            link.drop(how)
    return began


def stream_error(field: Field, victims: Victims, rng: Random) -> float:
    began = time.time()
    for link in field.links(victims):
        with suppress(LookupError):
            link.stream_error(rng.choice(TEMPORARY))
    return began


def replaced(field: Field, victims: Victims, rng: Random) -> float:
    """Another client has taken the session, and gives it back at once."""
    began = time.time()
    for link in field.links(victims):
        with suppress(LookupError):
            link.stream_error(409, "replaced")
    return began


def black_hole(field: Field, victims: Victims, rng: Random) -> float:
    """Nothing gets through until it is noticed; from then on recovery is counted."""
    for (name, falls), link in zip(victims.items(), field.links(victims), strict=False):
        with suppress(LookupError), field.host.holed(link):
            field.model.fell(name, falls, SILENT_FOR)
            began = time.time()
            with suppress(TimeoutError):
                field.model.wait_back(name, falls, BACK_WITHIN)
            with suppress(LookupError):
                link.drop()
            return began
    return time.time()


def short_black_hole(field: Field, victims: Victims, rng: Random) -> float:
    """Nothing gets through for a moment, and then all of it at once."""
    for link in field.links(victims):
        with suppress(LookupError), field.host.holed(link):
            field.last(rng, 1, 6)
            link.black_hole(False)
    return time.time()


# -- the service -------------------------------------------------------------------------------------------


def drop_all(field: Field, victims: Victims, rng: Random) -> float:
    began = time.time()
    field.wa.drop_all(rng.choice(("reset", "fin")))
    return began


def storm(field: Field, victims: Victims, rng: Random) -> float:
    """Every link drops, and logins are refused for a while."""
    with field.wa.refuse_logins(503):
        field.wa.drop_all()
        field.last(rng, 2, 5)
    return time.time()


def away(field: Field, victims: Victims, rng: Random) -> float:
    """The whole service is gone for a while."""
    with field.wa.stopped():
        field.last(rng, 1, 4)
    return time.time()


def refused_logins(field: Field, victims: Victims, rng: Random) -> float:
    """One number's logins are refused for a while."""
    for name in victims:
        with field.wa.refuse_logins(rng.choice((500, 503)), jid=field.model[name].number):
            drop(field, {name: 0}, rng)
            field.last(rng, 2, 6)
    return time.time()


def bad_way(field: Field, victims: Victims, rng: Random) -> float:
    """New connections of anybody fail at one of the steps for a while."""
    how, at = rng.choice(
        (("reset", "tls"), ("closed", "websocket"), ("status", "connect"), ("hang", "websocket"))
    )
    with field.wa.refuse_connections(cast(Any, how), at):
        drop(field, victims, rng)
        field.last(rng, 1, 3)
    return time.time()


# -- processes ---------------------------------------------------------------------------------------------


def kill(field: Field, victims: Victims, rng: Random) -> float:
    began = time.time()
    for name in victims:
        field.host.signal_port(
            name, rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT))
        )
    return began


def freeze(field: Field, victims: Victims, rng: Random) -> float:
    """The process stands still until it is replaced."""
    began = time.time()
    for name in victims:
        field.host.signal_port(name, signal.SIGSTOP)
    return began


def short_freeze(field: Field, victims: Victims, rng: Random) -> float:
    """The process stands still for a moment."""
    pids = [field.host.signal_port(name, signal.SIGSTOP) for name in victims]
    field.over.wait(rng.uniform(0.2, 1.5))
    for pid in pids:
        if pid and pid in field.host.ports():
            os.kill(pid, signal.SIGCONT)
    return time.time()


# -- commands ----------------------------------------------------------------------------------------------


def restart(field: Field, victims: Victims, rng: Random) -> float:
    began = time.time()
    for name in victims:
        field.host.call("POST", f"/instance/{rng.choice(('restart', 'forceReconnection'))}/{name}")
    return began


def logout(field: Field, victims: Victims, rng: Random) -> float:
    """Logged out over the API, and linked again."""
    for name in victims:
        field.model.logging_out(name)
        field.host.call("DELETE", f"/instance/logout/{name}", expect=(200, 400))
        return _link_again(field, name, rng)
    return time.time()


def unlinked(field: Field, victims: Victims, rng: Random) -> float:
    """Logged out on the phone, and linked again."""
    for name in victims:
        field.model.logging_out(name)
        field.wa.phone(field.model[name].number).remove_device(field.model[name].device)
        return _link_again(field, name, rng)
    return time.time()


def _link_again(field: Field, name: str, rng: Random) -> float:
    """At once or after a while; not at all if the time is over before."""
    field.model.wait_phase(name, ("closed",), BACK_WITHIN)
    field.last(rng, 0, rng.choice((0.0, 5.0, 30.0)))
    began = time.time()
    if not field.over.is_set():
        field.host.link(name, BACK_WITHIN)
    return began


FAULTS: Sequence[Fault] = (
    Fault("link dropped", 16, drop),
    Fault("links of several dropped", 6, drop, "some"),
    Fault("stream error", 12, stream_error),
    Fault("replaced by another", 2, replaced),
    Fault("black hole", 4, black_hole, takes=90.0),
    Fault("black hole, short", 4, short_black_hole, noticed=False),
    Fault("all links dropped", 2, drop_all, "all"),
    Fault("storm of 503", 1, storm, "all"),
    Fault("service away", 1, away, "all"),
    Fault("logins refused", 6, refused_logins),
    Fault("connections refused", 4, bad_way, "some"),
    Fault("port killed", 16, kill),
    Fault("port stopped", 6, freeze),
    Fault("port stopped, short", 4, short_freeze, noticed=False),
    Fault("restart by API", 8, restart),
    Fault("logout by API, scan", 4, logout),
    Fault("logout by phone, scan", 4, unlinked),
)


def suffer(field: Field, fault: Fault, names: Sequence[str], rng: Random) -> None:
    """Do it to some instances, and see every one of them open again, or closed if that is what it should be."""
    model, life = field.model, field.model.life
    victims = model.claim(fault.kind, names, everybody=fault.victims != "one")
    held = set(victims)
    try:
        over = fault.run(field, victims, rng)
        for name, falls in victims.items():
            seconds = _returned(field, fault, name, falls) - over
            held.discard(name)
            model.release([name])
            if fault.noticed and model[name].wanted and model.life == life:
                model.was_back(fault.kind, seconds)
    except Exception as error:
        model.problem(f"{fault.kind}: {type(error).__name__}: {error}")
    finally:
        model.release(held)


def _returned(field: Field, fault: Fault, name: str, falls: int) -> float:
    """Wait until an instance is open again, if it should be; since when, epoch seconds."""
    model = field.model
    if not model[name].wanted:
        return time.time()
    if fault.noticed:
        return model.wait_back(name, falls, BACK_WITHIN)
    model.wait_phase(name, ("open",), BACK_WITHIN)
    return time.time()
