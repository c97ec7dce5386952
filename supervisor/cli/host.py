"""`run` and `check`."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import NoReturn

import click

from supervisor import logs
from supervisor.cli.failures import Misconfigured, Refused
from supervisor.cli.options import config_option, json_option
from supervisor.cli.target import load_settings
from supervisor.config import (
    ConfigError,
    ConfigUnreadable,
    DataDirError,
    DataDirUnavailable,
    Problem,
    Settings,
    load,
)
from supervisor.lean import absent
from supervisor.otp import Crash, FailedToStart, InitFailed, Shutdown


@click.command()
@config_option
def run(config: str | None) -> None:
    """Runs the host in the foreground.

    Logs go to stderr. SIGTERM and SIGINT stop it in order; SIGHUP reads the INI again, where that is safe.
    """
    settings = load_settings(config)
    require_drivers(settings)
    logs.configure(settings.host.log_level, settings.host.log_format)
    for secret in settings.secrets():
        logs.register_secret(secret)
    host = import_host(settings)
    try:
        sys.exit(host.run(settings))
    except DataDirUnavailable as error:
        # Not the code of a wrong configuration: the service manager is to try again.
        raise Refused(f"the host could not start: [host] data_dir: {error}") from None
    except DataDirError as error:
        raise Misconfigured(f"[host] data_dir: {error}") from None
    except InitFailed as error:
        # The log has the whole of it; here stands what a person has to do something about.
        raise Refused(f"the host could not start: {_cause(error)}") from None


@click.command()
@config_option
@json_option
def check(config: str | None, as_json: bool) -> None:
    """Validates the INI file and the environment.

    Every mistake is told with its section, key, value and what is allowed; the exit code is then 2. The data directory
    and what else the settings name are not looked at.
    """
    if as_json:
        _check_as_json(config)
    require_drivers(load_settings(config))
    click.echo(f"{config or 'defaults and environment'}: valid")


DRIVERS = {"postgresql": "psycopg", "redis": "redis", "rediss": "redis"}
EXTRAS = {"psycopg": "postgres", "redis": "redis"}


def require_drivers(settings: Settings) -> None:
    """See that what the settings need is installed.

    Raises:
        Misconfigured: it is not; another try would not find it either.
    """
    for problem in missing_drivers(settings):
        raise Misconfigured(f"[{problem.section}] {problem.option}: {problem.reason}")


def missing_drivers(settings: Settings) -> list[Problem]:
    """The URLs whose driver is not installed."""
    urls = {"store": settings.store.url, "sessions": settings.sessions.url, "cache": settings.cache.url}
    problems = []
    for section, url in urls.items():
        driver = DRIVERS.get(url.scheme) if url is not None else None
        if driver is not None and find_spec(driver) is None:
            reason = (
                f"needs the package {driver}, which is not installed; it comes with the extra "
                f"{EXTRAS[driver]}, as in: {sys.executable} -m pip install '.[{EXTRAS[driver]}]' (docs/operations.md)"
            )
            problems.append(Problem(section, "url", None, reason))
    return problems


def import_host(settings: Settings) -> ModuleType:
    """Import the host without what its libraries would load for others (about 11 MiB).

    httpx has a command line of its own, on rich and pygments; peewee loads each driver that is installed.
    """
    of_postgresql = ["psycopg"] if settings.store.url.get_secret_value().startswith("sqlite:") else []
    with absent("rich", "pygments", *of_postgresql):
        from supervisor import host
    return host


def _check_as_json(config: str | None) -> NoReturn:
    """Every mistake in the configuration, for programs; secrets are replaced in the values."""
    from supervisor.cli import render

    problems: Sequence[Problem] = ()
    code = 0
    try:
        settings = load(config, os.environ)
    except ConfigError as error:
        problems = error.problems
        code = (Refused if isinstance(error, ConfigUnreadable) else Misconfigured).exit_code
    else:
        problems = missing_drivers(settings)
        code = Misconfigured.exit_code if problems else 0
    render.print_json(
        {"valid": not problems, "problems": [dataclasses.asdict(problem) for problem in problems]}
    )
    sys.exit(code)


def _cause(error: InitFailed) -> str:
    """The part of the tree that failed first, and why."""
    path, reason = error.path, error.reason
    while isinstance(reason, Shutdown) and isinstance(reason.term, FailedToStart):
        path, reason = reason.term.id, reason.term.reason
    if isinstance(reason, Crash):
        return f"{path}: {logs.describe_exception(reason.exception)}"
    return f"{path}: {reason}"
