"""The settings: one frozen model for each section of the INI, with the default of each key.

Durations are seconds as floats. What may hold a secret is a `SecretStr` or a `SecretUrl`, which never show
it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from supervisor.config.codes import DEFAULT_RULE, DEFAULT_RULES, DisconnectRule
from supervisor.config.errors import OptionError
from supervisor.config.frozen import FrozenDict
from supervisor.config.kinds import Choice, Color, Directory, Number, Seconds, Switch, Whole, Words
from supervisor.config.urls import Address, Headers, Listen, Origins, Secret, SecretUrl, Url

Step = Literal["reconnect", "clear-cache", "reset-session", "restart-instance"]
STEPS: tuple[Step, ...] = ("reconnect", "clear-cache", "reset-session", "restart-instance")
"""The rungs of the recovery ladder, in their default order."""

EVENTS: tuple[str, ...] = (
    "instance.create",
    "instance.delete",
    "qrcode.updated",
    "connection.update",
    "status.instance",
    "logout.instance",
    "remove.instance",
    "no.connection",
    "reconnection.success",
    "multidevice.conflict",
    "recovery.attempt",
    "instance.crash",
)
"""The events that a webhook may ask for."""

_DAY = 86400.0
_HTTP = (("http",), ("https",))
_POSTGRESQL = ("postgresql", "postgres")


def event_name(text: str) -> str:
    """The name of an event however it is spelled: Evolution API's `QRCODE_UPDATED` is `qrcode.updated`."""
    return text.strip().lower().replace("_", ".").replace("-", ".")


class Section(BaseModel):
    """What all sections have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, hide_input_in_errors=True)


class HostSettings(Section):
    """`[host]`: the process itself."""

    data_dir: Annotated[Path, Directory()] = Path("data")
    log_level: Annotated[str, Choice(("debug", "info", "warning", "error"))] = "info"
    log_format: Annotated[Literal["console", "json"], Choice(("console", "json"))] = "console"
    boot_concurrency: Annotated[int, Whole(1, 256)] = 8


class ApiSettings(Section):
    """`[api]`: the control API. `server_url` None: derived from `listen`.

    Attributes:
        cors_origins: pages of these origins may use the API from a browser; a key is needed all the same.
    """

    listen: Annotated[Address, Listen()] = Address("127.0.0.1", 8080)
    api_key: Annotated[SecretStr | None, Secret(8, "one is made at the first start")] = None
    threads: Annotated[int, Whole(2, 256)] = 16
    server_url: Annotated[
        SecretUrl | None, Url(_HTTP, "https://wa.example.org", "the address of [api] listen")
    ] = None
    dashboard: Annotated[bool, Switch()] = True
    cors_origins: Annotated[tuple[str, ...], Origins("none but the API's own")] = ()

    @property
    def public_url(self) -> str:
        """The address that events and clients are told, without a slash at the end."""
        if self.server_url is not None:
            return self.server_url.get_secret_value().rstrip("/")
        return f"http://{self.listen}"


class StoreSettings(Section):
    """`[store]`: the host's own database. A relative SQLite path is inside the data directory."""

    url: Annotated[
        SecretUrl,
        Url((("sqlite",), _POSTGRESQL), "sqlite:///zapvisor.db or postgresql://user@host/database"),
    ] = SecretUrl("sqlite:///zapvisor.db")
    history_retention: Annotated[float, Seconds(1, 3650 * _DAY)] = 30 * _DAY


class SessionsSettings(Section):
    """`[sessions]`: credentials. `url` None: one SQLite file for each instance in `data_dir/sessions`."""

    url: Annotated[
        SecretUrl | None,
        Url((_POSTGRESQL,), "postgresql://user@host/database", "one SQLite file for each instance"),
    ] = None


class CacheSettings(Section):
    """`[cache]`: what may be lost at any time."""

    url: Annotated[
        SecretUrl, Url((("memory",), ("redis",), ("rediss",)), "memory:// or redis://host:6379/0")
    ] = SecretUrl("memory://")
    ttl: Annotated[float, Seconds(1, 365 * _DAY)] = 7 * _DAY


class SupervisionSettings(Section):
    """`[supervision]`: crashes. More than `intensity` restarts in `period` seconds end a subtree."""

    intensity: Annotated[int, Whole(0, 1000)] = 5
    period: Annotated[float, Seconds(0.001, 3600)] = 60.0
    shutdown: Annotated[float, Seconds(0.1, 300)] = 10.0


class RecoverySettings(Section):
    """`[recovery]`: what is done about lost connections.

    Attributes:
        max_attempts: attempts before the instance is closed; 0 closes it at the first disconnection.
        jitter: each wait is multiplied by a random factor between 1 - jitter and 1 + jitter.
        on_limit: once the attempts, or the disconnections with one code, are used up: `abort` leaves the
            instance failed until it is connected again, `cooldown` tries it anew after `cooldown` seconds.
        ladder: attempt n runs step n first; attempts after the last step run the last one.
    """

    max_attempts: Annotated[int, Whole(0, 1000)] = 5
    multiplier: Annotated[float, Number(1, 10)] = 2.0
    max_delay: Annotated[float, Seconds(0, _DAY)] = 300.0
    jitter: Annotated[float, Number(0, 1, percent=True)] = 0.2
    stable_after: Annotated[float, Seconds(0, _DAY)] = 60.0
    ladder: Annotated[tuple[Step, ...], Words(STEPS)] = STEPS
    history_window: Annotated[float, Seconds(1, 365 * _DAY)] = _DAY
    same_code_limit: Annotated[int, Whole(1, 1000)] = 5
    on_limit: Annotated[Literal["abort", "cooldown"], Choice(("abort", "cooldown"))] = "cooldown"
    cooldown: Annotated[float, Seconds(0.05, _DAY)] = 300.0
    inactivity_timeout: Annotated[float, Seconds(0.1, _DAY)] = 300.0
    inactivity_check: Annotated[float, Seconds(0.05, 3600)] = 60.0
    reachability_check: Annotated[float, Seconds(0, 3600)] = 1.0


class QrcodeSettings(Section):
    """`[qrcode]`: pairing."""

    limit: Annotated[int, Whole(1, 10_000)] = 30
    color: Annotated[str, Color()] = "#198754"


class PortSettings(Section):
    """`[port]`: the process of one connection."""

    heartbeat: Annotated[float, Seconds(0.05, 300)] = 10.0
    missed_heartbeats: Annotated[int, Whole(1, 100)] = 3
    command_timeout: Annotated[float, Seconds(0.05, 600)] = 10.0
    start_timeout: Annotated[float, Seconds(0.1, 600)] = 30.0


class WebhookSettings(Section):
    """`[webhook]`: the destination of all instances' events, and how every destination is treated.

    The defaults of retries are Evolution API 2.3's. `events` empty: all of them.
    """

    url: Annotated[SecretUrl | None, Url(_HTTP, "https://example.org/hook", "no webhook for all")] = None
    events: Annotated[tuple[str, ...], Words(EVENTS, "all", limit=50, spell=event_name)] = ()
    by_events: Annotated[bool, Switch()] = False
    base64: Annotated[bool, Switch()] = True
    headers: Annotated[FrozenDict[str, SecretStr], Headers()] = FrozenDict()
    secret: Annotated[SecretStr | None, Secret(8, "requests are not signed")] = None
    timeout: Annotated[float, Seconds(0.05, 300)] = 60.0
    max_attempts: Annotated[int, Whole(1, 1000)] = 10
    initial_delay: Annotated[float, Seconds(0, 3600)] = 5.0
    max_delay: Annotated[float, Seconds(0, _DAY)] = 300.0
    jitter: Annotated[float, Number(0, 1, percent=True)] = 0.2
    allow_private: Annotated[bool, Switch()] = True

    @model_validator(mode="after")
    def _delays_in_order(self) -> Self:
        if self.initial_delay > self.max_delay:
            raise OptionError("max_delay", "shorter than initial_delay")
        return self


class ChatwootSettings(Section):
    """`[chatwoot]`: whether instances may report to Chatwoot."""

    enabled: Annotated[bool, Switch()] = False


class InstanceSettings(BaseModel):
    """The settings of one instance: those of all, with its own section's overrides applied."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recovery: RecoverySettings = RecoverySettings()
    qrcode: QrcodeSettings = QrcodeSettings()
    port: PortSettings = PortSettings()
    webhook: WebhookSettings = WebhookSettings()
    disconnect: FrozenDict[int, DisconnectRule] = DEFAULT_RULES
    disconnect_default: DisconnectRule = DEFAULT_RULE

    def disconnect_rule(self, code: int) -> DisconnectRule:
        """The rule for a code; one without a row gets the default row under its own code."""
        return _rule(code, self.disconnect, self.disconnect_default)


class Settings(BaseModel):
    """Everything that the INI says.

    Attributes:
        disconnect: the rows of the table of codes; ask `disconnect_rule`, which also knows all others.
        disconnect_default: the row for codes that have none.
        instances: the settings of the instances that have a section of their own; ask `instance`.
        source: the file that was read, None when there was none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    host: HostSettings = Field(default_factory=HostSettings)
    api: ApiSettings = ApiSettings()
    store: StoreSettings = StoreSettings()
    sessions: SessionsSettings = SessionsSettings()
    cache: CacheSettings = CacheSettings()
    supervision: SupervisionSettings = SupervisionSettings()
    recovery: RecoverySettings = RecoverySettings()
    qrcode: QrcodeSettings = QrcodeSettings()
    port: PortSettings = PortSettings()
    webhook: WebhookSettings = WebhookSettings()
    chatwoot: ChatwootSettings = ChatwootSettings()
    disconnect: FrozenDict[int, DisconnectRule] = DEFAULT_RULES
    disconnect_default: DisconnectRule = DEFAULT_RULE
    instances: FrozenDict[str, InstanceSettings] = FrozenDict()
    source: Path | None = None

    def instance(self, name: str) -> InstanceSettings:
        """The settings of the instance of that name."""
        own = self.instances.get(name)
        if own is not None:
            return own
        return InstanceSettings(
            recovery=self.recovery,
            qrcode=self.qrcode,
            port=self.port,
            webhook=self.webhook,
            disconnect=self.disconnect,
            disconnect_default=self.disconnect_default,
        )

    def disconnect_rule(self, code: int) -> DisconnectRule:
        """The rule for a code; one without a row gets the default row under its own code."""
        return _rule(code, self.disconnect, self.disconnect_default)

    def secrets(self) -> frozenset[str]:
        """Every secret value in these settings, so that logs can be kept free of them."""
        sections = [getattr(self, name) for name in SECTIONS]
        for own in self.instances.values():
            sections += [getattr(own, name) for name in INSTANCE_SECTIONS]
        return frozenset(secret for section in sections for secret in _secrets_of(section))


SECTIONS: Mapping[str, type[Section]] = FrozenDict(
    {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }
)
"""The sections with a fixed name."""

INSTANCE_SECTIONS: tuple[str, ...] = ("recovery", "qrcode", "port", "webhook")
"""The sections that `[instance:NAME]` may override."""


def _rule(code: int, rules: Mapping[int, DisconnectRule], default: DisconnectRule) -> DisconnectRule:
    found = rules.get(code)
    return found if found is not None else default.model_copy(update={"code": code})


def _secrets_of(section: Section) -> Iterator[str]:
    for option in type(section).model_fields:
        value: Any = getattr(section, option)
        values = value.values() if isinstance(value, Mapping) else (value,)
        for item in values:
            if isinstance(item, SecretUrl):
                yield from filter(None, [item.password])
            elif isinstance(item, SecretStr):
                yield item.get_secret_value()
