"""The host's configuration: an INI file and the environment, validated into frozen settings."""

from supervisor.config.codes import DisconnectRule
from supervisor.config.datadir import ApiKey, prepare_data_dir, read_api_key, resolve_api_key, session_secret
from supervisor.config.errors import ConfigError, ConfigUnreadable, DataDirError, DataDirUnavailable, Problem
from supervisor.config.kinds import parse_duration, show_duration
from supervisor.config.load import INSTANCE_NAME, load, loads
from supervisor.config.models import (
    EVENTS,
    STEPS,
    ApiSettings,
    CacheSettings,
    ChatwootSettings,
    HostSettings,
    InstanceSettings,
    PortSettings,
    QrcodeSettings,
    RecoverySettings,
    SessionsSettings,
    Settings,
    Step,
    StoreSettings,
    SupervisionSettings,
    WebhookSettings,
    event_name,
)
from supervisor.config.reload import Change, Changes, apply_live, compare
from supervisor.config.urls import Address, SecretUrl

__all__ = [
    "EVENTS",
    "INSTANCE_NAME",
    "STEPS",
    "Address",
    "ApiKey",
    "ApiSettings",
    "CacheSettings",
    "Change",
    "Changes",
    "ChatwootSettings",
    "ConfigError",
    "ConfigUnreadable",
    "DataDirError",
    "DataDirUnavailable",
    "DisconnectRule",
    "HostSettings",
    "InstanceSettings",
    "PortSettings",
    "Problem",
    "QrcodeSettings",
    "RecoverySettings",
    "SecretUrl",
    "SessionsSettings",
    "Settings",
    "Step",
    "StoreSettings",
    "SupervisionSettings",
    "WebhookSettings",
    "apply_live",
    "compare",
    "event_name",
    "load",
    "loads",
    "parse_duration",
    "prepare_data_dir",
    "read_api_key",
    "resolve_api_key",
    "session_secret",
    "show_duration",
]
