"""The dynamic supervisor: OTP's ``simple_one_for_one``, with a name and a spec of its own for each child."""

from __future__ import annotations

from collections.abc import Sequence

from supervisor.otp import admin
from supervisor.otp.children import Phase
from supervisor.otp.errors import BadSpec, NotSupported
from supervisor.otp.spec import ONE_FOR_ONE, ChildSpec, Start, SupervisorFlags, check_child
from supervisor.otp.supervisor import Supervisor


class DynamicSupervisor(Supervisor):
    """Children come and go, in no order; one that ended for good is forgotten, and all are stopped at once.

    As with ``simple_one_for_one`` there is no ``restart_child`` and no ``delete_child``.
    """

    def init(
        self,
        flags: SupervisorFlags | None = None,
        children: Sequence[ChildSpec] = (),
        template: ChildSpec | None = None,
    ) -> object:
        """Start with these children, usually none. ``template`` serves `start_from_template`.

        Raises:
            BadSpec: the flags or a spec are wrong; the strategy is not ONE_FOR_ONE.
        """
        flags = SupervisorFlags() if flags is None else flags
        if flags.strategy is not ONE_FOR_ONE:
            raise BadSpec("strategy", flags.strategy, "ONE_FOR_ONE for a dynamic supervisor")
        if template is not None:
            check_child(template, flags)
        self._template = template
        return super().init(flags, children)

    def _start_from_template(self, message: admin.StartFromTemplate) -> object:
        template = self._template
        if template is None:
            raise NotSupported(message.id)
        start = template.start
        return self._start_child(
            ChildSpec(
                message.id,
                Start(
                    start.actor_class,
                    *start.args,
                    *message.args,
                    **{**start.kwargs, **(message.kwargs or {})},
                ),
                template.restart,
                template.shutdown,
                template.kind,
                template.significant,
                template.recovery,
            )
        )

    def _restart_child(self, id: str) -> object:
        raise NotSupported(id)

    def _delete_child(self, id: str) -> None:
        raise NotSupported(id)

    def _remove_ended(self, id: str) -> None:
        del self._state.children[id]

    def _stop_all(self) -> None:
        for id, child in list(self._state.children.items()):
            if child.phase is not Phase.RUNNING:
                self._stop_child(id)
        stopping = [
            (child, child.ref, self._begin_stop(child.spec, child.ref))
            for child in self._state.children.values()
            if child.ref is not None
        ]
        for child, ref, stop in stopping:
            self._end_stop(child, ref, stop)
