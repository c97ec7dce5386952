"""The host process: builds the tree from the settings, runs it, and stops it in order."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
import tenacity

from actors import chatwoot
from actors.board import Board
from actors.cache import open_cache
from actors.credentials import open_credentials
from actors.delivery import Delivery
from actors.events import Events
from actors.gateway import Gateway
from actors.janitor import Janitor
from actors.metrics import Metrics
from actors.port.linux import keep_little_freed, one_malloc_arena
from actors.port.ports import Ports
from actors.reachability import PATH as REACHABILITY
from actors.reachability import Reachability
from actors.roster import Roster
from actors.services import EVENTS, INSTANCES, JANITOR, PORTS, ROSTER, Services
from actors.store import Backend, Reader, Store, open_backend
from actors.watchdog import Manager, Watchdog
from api.qrimage import data_url, png
from supervisor import limits, logs
from supervisor.config import (
    ConfigError,
    Settings,
    apply_live,
    compare,
    load,
    prepare_data_dir,
    resolve_api_key,
)
from supervisor.otp import (
    REST_FOR_ONE,
    ROOT,
    CallError,
    ChildSpec,
    DynamicSupervisor,
    ExitReason,
    Ladder,
    Ref,
    Refusal,
    Start,
    Supervisor,
    SupervisorFlags,
    System,
    restart_child,
    terminate_child,
)
from supervisor.signals import Signals
from supervisor.systemd import Notifier
from supervisor.web import Refresh, Web

log = structlog.get_logger("zapvisor.host")

WEB = "api"
DELIVERY = "delivery"
WATCHDOG = "watchdog"
STORE = "store"
STOP_DEADLINE = 60.0
STORE_SHUTDOWN = 20.0
"""Seconds that the store has to commit what is queued."""
WEB_SHUTDOWN = 10.0
DELIVERY_SHUTDOWN = 15.0
CHATWOOT_SHUTDOWN = 10.0
ASIDE_BACK = tenacity.wait_exponential(multiplier=1, max=300)
"""Seconds before what the host does without, should it go down as a whole, is started again."""

CALL_DEADLINE = 5.0
CHILD_DEADLINE = 30.0


class Root(Supervisor):
    """The top of the tree. What follows a part in the start order is restarted with it."""

    def init(  # type: ignore[override]
        self, flags: SupervisorFlags, children: Sequence[ChildSpec], ended: Callable[[ExitReason], None]
    ) -> object:
        self._ended = ended
        return super().init(flags, children)

    def terminate(self, reason: ExitReason) -> None:
        super().terminate(reason)
        self._ended(reason)


class CurrentDelivery(Delivery):
    """Deliveries by the configuration as it is when they start."""

    def init(self, services: Services, backend: Backend) -> object:  # type: ignore[override]
        settings = services.settings
        picture = partial(data_url, color=settings.qrcode.color)
        return super().init(backend, settings, picture=picture, observe=services.metrics.delivered)


def shown_to_receivers(settings: Settings) -> tuple[object, ...]:
    """What deliveries take of the configuration."""
    own = {name: instance.webhook for name, instance in settings.instances.items()}
    return settings.webhook, own, settings.api.public_url, settings.qrcode.color


@dataclass(frozen=True, slots=True)
class Running:
    """A started host.

    Attributes:
        address: host and port that the API listens on.
    """

    system: System
    root: Ref
    reader: Reader
    address: tuple[str, int]

    @property
    def url(self) -> str:
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Host:
    """One zapvisor in this process.

    Args:
        settings: the configuration.
        notifier: the service manager; none when None.

    Attributes:
        on_end: called when the tree goes down by itself.
        failed: whether it went down by itself.
    """

    def __init__(self, settings: Settings, notifier: Notifier | None = None) -> None:
        self._settings = settings
        self._notifier = notifier or Notifier()
        self._stopping = False
        self.on_end: Callable[[], None] = lambda: None
        self.failed = False

    def start(self) -> Running:
        """Start the tree; the API answers when this returns, while the instances still come up.

        Raises:
            DataDirError, StoreError: the data cannot be used.
            InitFailed: a part of the tree could not be started.
        """
        settings = self._settings
        prepare_data_dir(settings.host.data_dir)
        key = resolve_api_key(settings)
        logs.register_secret(key.value)
        log.info("the API key is ready", origin=key.origin, created=key.created)
        system = System()
        services = Services(
            system=system,
            settings=settings,
            board=Board(),
            credentials=open_credentials(settings),
            cache=open_cache(settings),
            metrics=Metrics(),
            keep_secrets=logs.keep_secrets,
        )
        system.subscribe(services.metrics.noticed)
        backend = open_backend(settings.store.url.get_secret_value(), settings.host.data_dir)
        reader = Reader(backend)
        watchdog = Start(Watchdog, services, self._manager())
        web = Start(Web, Gateway(services, reader), lambda: services.settings, key.value)
        try:
            flags, children = tree(services, backend, watchdog, web)
            root = system.start(Root, flags, children, self._tree_ended, path=ROOT)
            address = system.call(WEB, "address", CALL_DEADLINE)
        except BaseException:
            system.shutdown()
            raise
        self._services = services
        limits.report(len(services.board.views()), limits.limits())
        return Running(system, root, reader, address)

    def reload(self) -> None:
        """Read the INI again and take what may change in a running host; say what needs a restart.

        A wrong INI is logged and changes nothing.
        """
        self._notifier.reloading()
        try:
            new = load(self._settings.source, os.environ)
        except ConfigError as error:
            for problem in error.problems:
                log.error("the configuration is wrong, nothing was changed", problem=str(problem))
        else:
            self._take(new)
        self._notifier.ready()

    def _take(self, new: Settings) -> None:
        old = self._settings
        changes = compare(old, new)
        self._settings = apply_live(old, new)
        self._services.settings = self._settings
        for secret in self._settings.secrets():
            logs.register_secret(secret)
        logs.configure(self._settings.host.log_level, self._settings.host.log_format)
        for change in changes.live:
            log.info("configuration changed", change=str(change))
        for change in changes.restart:
            log.warning("configuration change needs a restart of the host", change=str(change))
        self._refresh(old, self._settings)
        log.info("reloaded", live=len(changes.live), restart=len(changes.restart))

    def _refresh(self, old: Settings, new: Settings) -> None:
        """Let those know who keep something of the configuration; all others look at it when they need it."""
        system = self._services.system
        system.cast(WEB, Refresh())
        system.cast(chatwoot.DISPATCHER, chatwoot.Refresh())
        if shown_to_receivers(old) != shown_to_receivers(new):
            self._restart(DELIVERY)  # nothing is lost by it: what is not delivered is in the database

    def _restart(self, child: str) -> None:
        root = self._services.system.whereis(ROOT)
        assert root is not None, "reload is for a running host"
        try:
            terminate_child(root, child, CHILD_DEADLINE)
            restart_child(root, child, CHILD_DEADLINE)
        except (CallError, Refusal) as error:
            log.error("not restarted with the new configuration", path=child, error=str(error))

    def stop(self, running: Running) -> None:
        """Stop the tree in reverse order, with everything committed."""
        self._stopping = True
        running.system.stop(running.root, timeout=STOP_DEADLINE)
        for actor in running.system.shutdown():
            log.error("an actor did not end in time", actor=actor.path)
        running.reader.close()

    def _manager(self) -> Manager:
        """What the service manager wants to hear: a sign of life three times as often as it insists on."""
        notifier = self._notifier
        period = notifier.watchdog_period
        status = notifier.status if notifier.enabled else None
        return Manager(notifier.watchdog, period and period / 3, status)

    def _tree_ended(self, reason: ExitReason) -> None:
        if not self._stopping:
            self.failed = True
            log.critical("the tree is down", reason=str(reason))
            self.on_end()


def tree(
    services: Services, backend: Backend, watchdog: Start, web: Start
) -> tuple[SupervisorFlags, list[ChildSpec]]:
    """The root's children, in start order."""
    supervision = services.settings.supervision
    flags = SupervisorFlags(REST_FOR_ONE, intensity=supervision.intensity, period=supervision.period)
    # A dynamic supervisor's own intensity is for bugs in it: each instance is given up before it counts here.
    instances = SupervisorFlags(intensity=supervision.intensity, period=supervision.period)

    def retention() -> float:
        return services.settings.store.history_retention

    def picture(code: str) -> bytes:
        return png(code, color=services.settings.qrcode.color)

    store = Start(Store, backend, retention, condition=services.condition)
    report = Start(chatwoot.Chatwoot, services, backend, picture)
    children = [
        ChildSpec(STORE, store, shutdown=STORE_SHUTDOWN),
        ChildSpec(EVENTS, Start(Events), shutdown=supervision.shutdown),
        ChildSpec(DELIVERY, Start(CurrentDelivery, services, backend), shutdown=DELIVERY_SHUTDOWN),
        ChildSpec(PORTS, Start(Ports), shutdown=supervision.shutdown),
        ChildSpec(INSTANCES, Start(DynamicSupervisor, instances)),
        ChildSpec(JANITOR, Start(Janitor, services), shutdown=supervision.shutdown),
        ChildSpec(ROSTER, Start(Roster, services), shutdown=supervision.shutdown),
        ChildSpec(WATCHDOG, watchdog, shutdown=supervision.shutdown),
        ChildSpec(WEB, web, shutdown=WEB_SHUTDOWN),
        # The last, and never counted: what goes on without them is not ended by them.
        ChildSpec(chatwoot.PATH, report, shutdown=CHATWOOT_SHUTDOWN, recovery=Ladder([None], ASIDE_BACK)),
        ChildSpec(
            REACHABILITY,
            Start(Reachability, services),
            shutdown=supervision.shutdown,
            recovery=Ladder([None], ASIDE_BACK),
        ),
    ]
    return flags, children


def run(settings: Settings, notifier: Notifier | None = None) -> int:
    """Run a host until SIGTERM, SIGINT or its own end.

    Args:
        settings: the configuration.
        notifier: the service manager; found in the environment when None.

    Returns:
        The exit code: 0 when it was told to stop, 1 when its tree went down.

    Raises:
        DataDirError, StoreError, InitFailed: it could not start.
    """
    one_malloc_arena()
    keep_little_freed()
    faulthandler.enable()  # a host that is ended for hanging says where each thread stands
    notifier = notifier or Notifier.from_environment()
    host = Host(settings, notifier)
    signals = Signals((signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    host.on_end = signals.wake
    running = host.start()
    log.info("ready", url=running.url)
    notifier.ready()
    while signals.wait() == signal.SIGHUP:
        host.reload()
    notifier.stopping("stopping in order")
    host.stop(running)
    signals.ignore()
    log.info("stopped")
    return 1 if host.failed else 0
