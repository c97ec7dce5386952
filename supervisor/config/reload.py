"""What a changed configuration asks for: which keys a running host may take, and which need a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.config.codes import DisconnectRule
from supervisor.config.environment import RULE_OPTIONS
from supervisor.config.errors import HIDDEN
from supervisor.config.frozen import FrozenDict
from supervisor.config.kinds import kind_of
from supervisor.config.models import INSTANCE_SECTIONS, SECTIONS, InstanceSettings, Section, Settings

LIVE: Mapping[str, frozenset[str]] = FrozenDict(
    {
        "host": frozenset({"log_level", "log_format"}),
        "api": frozenset({"server_url"}),
        "store": frozenset({"history_retention"}),
        "sessions": frozenset(),
        "cache": frozenset(),
        "supervision": frozenset(),
        "recovery": frozenset(SECTIONS["recovery"].model_fields),
        "qrcode": frozenset(SECTIONS["qrcode"].model_fields),
        # Those of the port's process itself are taken by the connections that start afterwards.
        "port": frozenset(SECTIONS["port"].model_fields),
        "webhook": frozenset(SECTIONS["webhook"].model_fields),
        "chatwoot": frozenset({"enabled"}),
    }
)
"""The keys that may change in a running host. All of `[disconnect.NNN]` and `[instance:NAME]` may, too."""


@dataclass(frozen=True, slots=True)
class Change:
    """One key with another value. `old` and `new` are as the INI writes them, with secrets hidden."""

    section: str
    option: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"[{self.section}] {self.option}: {self.old or '(empty)'} -> {self.new or '(empty)'}"


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference between two configurations.

    Attributes:
        live: may be applied at once.
        restart: take effect at the next start of the host.
    """

    live: tuple[Change, ...]
    restart: tuple[Change, ...]


def compare(old: Settings, new: Settings) -> Changes:
    """Every key that differs, by whether it may be applied at once."""
    live: list[Change] = []
    restart: list[Change] = []
    for name in SECTIONS:
        for change in _section_changes(name, "", getattr(old, name), getattr(new, name)):
            (live if change.option in LIVE[name] else restart).append(change)
    live += _rule_changes("", old, new)
    for name in sorted({*old.instances, *new.instances}):
        live += _instance_changes(
            name, old.instance(name), new.instance(name), {(c.section, c.option) for c in live}
        )
    return Changes(tuple(live), tuple(restart))


def apply_live(old: Settings, new: Settings) -> Settings:
    """The new settings as far as they may be applied at once; for all else the old ones."""
    update: dict[str, Any] = {
        name: getattr(old, name).model_copy(
            update={option: getattr(getattr(new, name), option) for option in LIVE[name]}
        )
        for name in SECTIONS
    }
    update |= {
        "disconnect": new.disconnect,
        "disconnect_default": new.disconnect_default,
        "instances": new.instances,
    }
    return old.model_copy(update=update)


def _section_changes(section: str, prefix: str, old: Section, new: Section) -> Iterator[Change]:
    for option in type(new).model_fields:
        before, after = getattr(old, option), getattr(new, option)
        if before != after:
            kind = kind_of(type(new), option)
            shown = [kind.redact(kind.show(value)) for value in (before, after)]
            if shown[0] == shown[1]:
                shown = [HIDDEN, f"{HIDDEN} (another one)"]
            yield Change(section, f"{prefix}{option}", *shown)


def _rule_changes(prefix: str, old: _Rules, new: _Rules) -> Iterator[Change]:
    for code in sorted({*old.disconnect, *new.disconnect}):
        yield from _row_changes(
            f"disconnect.{code}", prefix, old.disconnect_rule(code), new.disconnect_rule(code)
        )
    yield from _row_changes("disconnect.default", prefix, old.disconnect_default, new.disconnect_default)


def _row_changes(name: str, prefix: str, old: DisconnectRule, new: DisconnectRule) -> Iterator[Change]:
    for option in RULE_OPTIONS:
        before, after = getattr(old, option), getattr(new, option)
        if before != after:
            section, key = (prefix, f"{name}.{option}") if prefix else (name, option)
            kind = kind_of(DisconnectRule, option)
            yield Change(section, key, kind.show(before), kind.show(after))


def _instance_changes(
    name: str, old: InstanceSettings, new: InstanceSettings, shared: set[tuple[str, str]]
) -> Iterator[Change]:
    """The changes of one instance, without those that it only inherits."""
    section = f"instance:{name}"
    for group in INSTANCE_SECTIONS:
        for change in _section_changes(section, f"{group}.", getattr(old, group), getattr(new, group)):
            if (group, change.option.removeprefix(f"{group}.")) not in shared:
                yield change
    for change in _rule_changes(section, old, new):
        rule, _, option = change.option.rpartition(".")
        if (rule, option) not in shared:
            yield change


_Rules = Settings | InstanceSettings
