"""From INI text and environment to settings, or to the list of everything that is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from supervisor.config.codes import DEFAULT_RULE, DEFAULT_RULES, DisconnectRule
from supervisor.config.environment import RULE_OPTIONS, read_environment
from supervisor.config.errors import ConfigError, ConfigUnreadable, OptionError, Problem, may_pass, nearest
from supervisor.config.frozen import FrozenDict
from supervisor.config.ini import Entries, Entry, IniReader
from supervisor.config.kinds import kind_of
from supervisor.config.models import INSTANCE_SECTIONS, SECTIONS, InstanceSettings, Section, Settings

INSTANCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_RULE_SECTION = re.compile(r"disconnect\.([1-9][0-9]{2}|default)")
_SIZE_LIMIT = 1024 * 1024

Model = TypeVar("Model", bound=BaseModel)


def load(path: Path | str | None, environ: Mapping[str, str]) -> Settings:
    """The settings of an INI file, or the defaults when there is none, with the environment's overrides.

    A relative `data_dir` starts at the folder of the file, or at the working directory when there is none.

    Args:
        path: the file; None for none.
        environ: the environment, as `os.environ`.

    Raises:
        ConfigError: with every problem that was found.
        ConfigUnreadable: the file cannot be read just now.
    """
    if path is None:
        return loads("", environ)
    file = Path(path)
    text = _read(file)
    return loads(text, environ, base=file.absolute().parent, name=str(path), source=file.absolute())


def loads(
    text: str,
    environ: Mapping[str, str] = FrozenDict(),
    *,
    base: Path | None = None,
    name: str = "supervisor.ini",
    source: Path | None = None,
) -> Settings:
    """The settings of an INI text.

    Args:
        text: the contents of an INI file.
        environ: the environment's variables.
        base: where a relative `data_dir` starts; the working directory when None.
        name: what to call the text in errors.
        source: the file that the text came from, kept in the settings.

    Raises:
        ConfigError: with every problem that was found.
    """
    reader = IniReader(text, name)
    overrides, problems = read_environment(environ)
    loader = _Loader(_overlay(reader.entries, overrides), reader.sections, base or Path.cwd())
    settings = loader.settings(source)
    found = [*reader.problems, *problems, *loader.problems]
    if found:
        raise ConfigError(found)
    return settings


def _read(file: Path) -> str:
    kind = ConfigError
    try:
        with file.open("rb") as stream:
            data = stream.read(_SIZE_LIMIT + 1)
        if len(data) > _SIZE_LIMIT:
            reason = f"larger than {_SIZE_LIMIT} bytes"
        else:
            return data.decode("utf-8")
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        kind = ConfigUnreadable if may_pass(error) else ConfigError
    except UnicodeDecodeError as error:
        reason = f"not UTF-8 at byte {error.start}"
    raise kind([Problem("", "", None, reason, origin=str(file))]) from None


def _overlay(entries: Entries, overrides: Entries) -> Entries:
    sections = dict.fromkeys([*entries, *overrides])
    return {name: {**entries.get(name, {}), **overrides.get(name, {})} for name in sections}


class _Loader:
    """Validates section by section; a section with a problem counts as its defaults for those that follow."""

    def __init__(self, entries: Entries, sections: Mapping[str, str], base: Path) -> None:
        self.problems: list[Problem] = []
        self._entries = entries
        self._sections = sections
        self._base = base

    def settings(self, source: Path | None) -> Settings:
        for name in self._entries:
            self._check_name(name)
        sections: dict[str, Any] = {name: self._section(name, model) for name, model in SECTIONS.items()}
        default = self._rule(DEFAULT_RULE, "disconnect.default")
        settings = Settings.model_construct(
            **sections,
            disconnect=FrozenDict(self._rules(default)),
            disconnect_default=default,
            source=source,
        )
        instances = {
            name.removeprefix("instance:"): self._instance(name, settings)
            for name in self._entries
            if name.startswith("instance:")
        }
        return settings.model_copy(update={"instances": FrozenDict(instances)})

    def _check_name(self, name: str) -> None:
        if name in SECTIONS or _RULE_SECTION.fullmatch(name):
            return
        if name.startswith("instance:"):
            if not INSTANCE_NAME.fullmatch(name.removeprefix("instance:")):
                self._problem(name, "", None, "not an instance's name", f"[instance:NAME], {_NAME_RULE}")
        elif name.startswith("disconnect"):
            self._problem(
                name, "", None, "no such section", "[disconnect.100] to [disconnect.999], or .default"
            )
        else:
            known = [*SECTIONS, "disconnect.NNN", "instance:NAME"]
            hint = nearest(name, known)
            self._problem(name, "", None, f"no such section{f'; {hint}' if hint else ''}", ", ".join(known))

    def _section(self, name: str, model: type[Section]) -> Section:
        entries = self._entries.get(name, {})
        known = self._known(name, entries, list(model.model_fields))
        texts = {option: entry.text for option, entry in known.items()}
        section, faults = _validate(model, texts, self._base)
        self._report(name, model, known, faults)
        return section

    def _known(self, section: str, entries: Mapping[str, Entry], options: list[str]) -> dict[str, Entry]:
        for option in entries:
            if option not in options:
                self._unknown_option(section, option, options)
        return {option: entry for option, entry in entries.items() if option in options}

    def _unknown_option(self, section: str, option: str, options: list[str]) -> None:
        homes = [name for name, model in SECTIONS.items() if option in model.model_fields]
        hint = nearest(option, options) or (f"it belongs to [{'] or ['.join(homes)}]" if homes else "")
        reason = f"no such key{f'; {hint}' if hint else ''}"
        self._problem(section, option, None, reason, "" if hint else ", ".join(options))

    def _rules(self, default: DisconnectRule) -> dict[int, DisconnectRule]:
        rules = dict(DEFAULT_RULES)
        for name in self._entries:
            found = _RULE_SECTION.fullmatch(name)
            if found and found[1] != "default":
                code = int(found[1])
                row = rules.get(code, default.model_copy(update={"code": code}))
                rules[code] = self._rule(row, name)
        return dict(sorted(rules.items()))

    def _rule(self, row: DisconnectRule, name: str) -> DisconnectRule:
        known = self._known(name, self._entries.get(name, {}), list(RULE_OPTIONS))
        return self._override(row, name, known)

    def _override(
        self, row: DisconnectRule, name: str, known: Mapping[str, Entry], prefix: str = ""
    ) -> DisconnectRule:
        values = {**dict(row), **{option: entry.text for option, entry in known.items()}}
        rule, faults = _validate(DisconnectRule, values, self._base)
        self._report(name, DisconnectRule, known, faults, prefix)
        return rule if not faults else row

    def _instance(self, name: str, settings: Settings) -> InstanceSettings:
        groups = self._grouped(name)
        sections: dict[str, Any] = {
            section: self._overridden(name, section, groups) for section in INSTANCE_SECTIONS
        }
        rules = dict(settings.disconnect)
        fallback = groups.get("disconnect.default", {})
        default = self._override(settings.disconnect_default, name, fallback, "disconnect.default.")
        for group, entries in groups.items():
            found = _RULE_SECTION.fullmatch(group)
            if found and found[1] != "default":
                row = settings.disconnect_rule(int(found[1]))
                rules[row.code] = self._override(row, name, entries, f"{group}.")
        return InstanceSettings.model_construct(
            **sections, disconnect=FrozenDict(rules), disconnect_default=default
        )

    def _overridden(self, name: str, section: str, groups: Mapping[str, Mapping[str, Entry]]) -> Section:
        model = SECTIONS[section]
        shared = {
            option: entry
            for option, entry in self._entries.get(section, {}).items()
            if option in model.model_fields
        }
        own = groups.get(section, {})
        texts = {option: entry.text for option, entry in {**shared, **own}.items()}
        merged, faults = _validate(model, texts, self._base)
        inherited = {option for option, _ in _validate(model, _texts(shared), self._base)[1]}
        new = [(option, reason) for option, reason in faults if option in own or option not in inherited]
        self._report(name, model, own, new, prefix=f"{section}.")
        return merged

    def _grouped(self, name: str) -> dict[str, dict[str, Entry]]:
        groups: dict[str, dict[str, Entry]] = {}
        for key, entry in self._entries[name].items():
            places = list(_places(key))
            if not places:
                self._unknown_option(name, key, _instance_keys())
            elif len(places) > 1:
                spelled = " or ".join(f"{section}.{option}" for section, option in places)
                self._problem(name, key, None, f"more than one section has this key; write {spelled}")
            else:
                section, option = places[0]
                if option in groups.setdefault(section, {}):
                    self._problem(name, key, None, f"{section}.{option} is set twice")
                groups[section][option] = entry
        return groups

    def _report(
        self,
        section: str,
        model: type[BaseModel],
        entries: Mapping[str, Entry],
        faults: Iterable[tuple[str, str]],
        prefix: str = "",
    ) -> None:
        for option, reason in faults:
            kind, entry = kind_of(model, option), entries.get(option)
            value = kind.redact(entry.text) if entry else None
            origin = entry.origin if entry else self._sections.get(section, "")
            self.problems.append(Problem(section, f"{prefix}{option}", value, reason, kind.allowed, origin))

    def _problem(self, section: str, option: str, value: str | None, reason: str, allowed: str = "") -> None:
        entry = self._entries.get(section, {}).get(option)
        origin = entry.origin if entry else self._sections.get(section, "")
        self.problems.append(Problem(section, option, value, reason, allowed, origin))


_NAME_RULE = "where NAME is 1 to 64 letters, digits, '_', '.' and '-', the first a letter or digit"


def _validate(
    model: type[Model], values: Mapping[str, Any], base: Path
) -> tuple[Model, list[tuple[str, str]]]:
    """The validated model, or the model of what remains without the options at fault, and these faults."""
    try:
        return model.model_validate(dict(values), context={"base": base}), []
    except ValidationError as error:
        faults = [_fault(details) for details in error.errors(include_url=False, include_input=False)]
    wrong = {option for option, _ in faults}
    rest = {option: value for option, value in values.items() if option not in wrong}
    if len(rest) == len(values):
        return model.model_validate({}, context={"base": base}), faults
    remaining, more = _validate(model, rest, base)
    return remaining, faults + [fault for fault in more if fault[0] not in wrong]


def _fault(details: Any) -> tuple[str, str]:
    error = details.get("ctx", {}).get("error")
    if isinstance(error, OptionError):
        return error.option, str(error)
    return str(details["loc"][0]), str(error) if error is not None else details["msg"]


def _texts(entries: Mapping[str, Entry]) -> dict[str, str]:
    return {option: entry.text for option, entry in entries.items()}


def _places(key: str) -> Iterable[tuple[str, str]]:
    section, dot, option = key.rpartition(".")
    if _RULE_SECTION.fullmatch(section) and option in RULE_OPTIONS:
        return [(section, option)]
    sections = [section] if dot else INSTANCE_SECTIONS
    return [
        (name, option)
        for name in sections
        if name in INSTANCE_SECTIONS and option in SECTIONS[name].model_fields
    ]


def _instance_keys() -> list[str]:
    return [
        f"{section}.{option}" for section in INSTANCE_SECTIONS for option in SECTIONS[section].model_fields
    ]
