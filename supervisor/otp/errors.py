"""The errors of the library: one small tree under `OtpError`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pykka

if TYPE_CHECKING:
    from supervisor.otp.reasons import ExitReason
    from supervisor.otp.ref import Ref


class OtpError(Exception):
    """Base of every error of this library."""


class CallError(OtpError):
    """A call got no answer."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}")
        self.path = path


class NoSuchActor(CallError):
    """No actor has that name (OTP: ``noproc``)."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "no such actor")


class ActorDown(CallError, pykka.ActorDeadError):
    """The actor is dead, or died before it answered; ``reason`` is its exit reason."""

    def __init__(self, path: str, reason: ExitReason) -> None:
        super().__init__(path, f"down: {reason}")
        self.reason = reason


class CallTimeout(CallError):
    """No answer within the time limit.

    ``phase`` is ``queued`` or ``running``: whether the actor had begun.
    """

    def __init__(self, path: str, seconds: float, phase: str = "queued") -> None:
        super().__init__(path, f"no answer within {seconds:g} s ({phase})")
        self.seconds = seconds
        self.phase = phase


class CallingSelf(CallError):
    """An actor called itself, which could never be answered (OTP: ``calling_self``)."""

    def __init__(self, path: str) -> None:
        super().__init__(path, "an actor cannot call itself")


class MailboxFull(CallError):
    """The mailbox holds as many messages as its class allows."""

    def __init__(self, path: str, limit: int) -> None:
        super().__init__(path, f"mailbox full ({limit} messages)")
        self.limit = limit


class Fenced(OtpError):
    """The sender was killed while its thread still ran: what it sends is refused."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path}: fenced: this actor was killed, its effects are refused")
        self.path = path


class InitFailed(OtpError):
    """An actor ended before its ``init`` had finished; ``reason`` is its exit reason."""

    def __init__(self, path: str, reason: ExitReason) -> None:
        super().__init__(f"{path}: init failed: {reason}")
        self.path = path
        self.reason = reason


class NameTaken(OtpError):
    """Another living actor has that name (OTP: ``{already_started, Pid}`` of a named start)."""

    def __init__(self, path: str, ref: Ref) -> None:
        super().__init__(f"{path}: an actor of that name is running")
        self.path = path
        self.ref = ref


class SystemStopped(OtpError):
    """The system is shut down: nothing can be started in it."""


class BadSpec(OtpError, ValueError):
    """A child spec, supervisor flags or a class attribute is wrong.

    Names field, value and what is allowed.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        super().__init__(f"{field}: {value!r} is not allowed; allowed: {allowed}")
        self.field = field
        self.value = value
        self.allowed = allowed


class Refusal(OtpError):
    """Raised in ``handle_call``: goes to the caller alone, and the actor lives.

    Any other exception in a handler crashes the actor, as in OTP.
    """


class UnknownMessage(Refusal):
    """The actor does not understand this message."""

    def __init__(self, path: str, message: object) -> None:
        super().__init__(f"{path}: unknown message {type(message).__name__}")


class AdminError(Refusal):
    """A supervisor's refusal of a child administration call (supervisor(3), ``{error, _}``)."""

    answer = "error"

    def __init__(self, id: str) -> None:
        super().__init__(f"child {id!r}: {self.answer}")
        self.id = id


class AlreadyStarted(AdminError):
    """A child with that id is running: ``{already_started, Child}``."""

    answer = "already started"

    def __init__(self, id: str, ref: Ref) -> None:
        super().__init__(id)
        self.ref = ref


class AlreadyPresent(AdminError):
    """A child with that id exists and is not running: ``already_present``."""

    answer = "already present"


class Running(AdminError):
    """The child is running: ``running``."""

    answer = "running"


class Restarting(AdminError):
    """The child is about to be restarted: ``restarting``."""

    answer = "restarting"


class NotFound(AdminError):
    """The supervisor has no child with that id: ``not_found``."""

    answer = "not found"


class NotRestarting(AdminError):
    """The child is stopped, not waiting for a restart."""

    answer = "not restarting"


class NotSupported(AdminError):
    """A dynamic supervisor keeps no spec of a stopped child: ``simple_one_for_one``."""

    answer = "not supported by a dynamic supervisor"


class StartFailed(Refusal):
    """The child could not be started; ``reason`` is the exit reason that its ``init`` ended with."""

    def __init__(self, id: str, reason: ExitReason) -> None:
        super().__init__(f"child {id!r}: start failed: {reason}")
        self.id = id
        self.reason = reason
