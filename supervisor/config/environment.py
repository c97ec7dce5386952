"""Overrides from the environment: `ZAPVISOR_<SECTION>_<KEY>`.

A row of the table of codes is `ZAPVISOR_DISCONNECT_428_DELAY` (or `ZAPVISOR_DISCONNECT_DEFAULT_DELAY`). The
sections `[instance:NAME]` cannot be reached from the environment, since names of variables cannot hold names
of instances. `ZAPVISOR_API_KEY`, which client commands read, is also the host's key, as
`ZAPVISOR_API_API_KEY` is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from supervisor.config.codes import DisconnectRule
from supervisor.config.errors import Problem, nearest
from supervisor.config.ini import Entries, Entry
from supervisor.config.models import SECTIONS

PREFIX = "ZAPVISOR_"
CLIENT_VARIABLES = frozenset({"ZAPVISOR_URL", "ZAPVISOR_API_KEY"})
"""Read by the command line, so not settings of the host (but for the key)."""

RULE_OPTIONS: tuple[str, ...] = tuple(option for option in DisconnectRule.model_fields if option != "code")

_RESERVED = re.compile(
    r"ZAPVISOR_(TEST_.*|REQUIRE_.*|SCREENSHOTS"  # test suites
    # What Kubernetes puts into every container for a service that is called zapvisor.
    r"|SERVICE_(HOST|PORT.*)|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)


def variables() -> Iterator[tuple[str, str, str]]:
    """Every variable for a section with a fixed name, as (variable, section, option)."""
    for section, model in SECTIONS.items():
        for option in model.model_fields:
            yield f"{PREFIX}{section}_{option}".upper(), section, option


def read_environment(environ: Mapping[str, str]) -> tuple[Entries, list[Problem]]:
    """The settings in an environment, and a problem for each variable with our prefix that is none."""
    known = {variable: (section, option) for variable, section, option in variables()}
    known["ZAPVISOR_API_KEY"] = ("api", "api_key")
    entries: Entries = {}
    problems: list[Problem] = []
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        place = known.get(variable) or _rule(variable)
        if place is not None:
            section, option = place
            entry = Entry(environ[variable].strip(), f"environment variable {variable}")
            other = entries.setdefault(section, {}).setdefault(option, entry)
            if other.text != entry.text:
                problems.append(Problem(section, option, None, "two variables disagree", origin=entry.origin))
        elif variable not in CLIENT_VARIABLES and not _RESERVED.fullmatch(variable):
            problems.append(_unknown(variable, known))
    return entries, problems


def _rule(variable: str) -> tuple[str, str] | None:
    found = re.fullmatch(r"ZAPVISOR_DISCONNECT_([1-9][0-9]{2}|DEFAULT)_([A-Z_]+)", variable)
    if found is None or found[2].lower() not in RULE_OPTIONS:
        return None
    return f"disconnect.{found[1].lower()}", found[2].lower()


def _unknown(variable: str, known: Mapping[str, object]) -> Problem:
    if variable.startswith("ZAPVISOR_INSTANCE_"):
        reason = "[instance:NAME] cannot be set from the environment"
    else:
        rules = [f"ZAPVISOR_DISCONNECT_428_{option.upper()}" for option in RULE_OPTIONS]
        reason = f"no such setting; {nearest(variable, [*known, *rules])}".rstrip("; ")
    return Problem("", "", None, reason, origin=f"environment variable {variable}")
