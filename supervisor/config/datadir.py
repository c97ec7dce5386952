"""The data directory and the secrets inside it: readable by their owner alone."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from supervisor.config.errors import DataDirError, DataDirUnavailable, may_pass
from supervisor.config.models import Settings

KEY_FILE = "api_key"
SESSION_FILE = "session_secret"
_OTHERS = 0o077
_OURS = frozenset({KEY_FILE, SESSION_FILE, "zapvisor.db", "sessions", "lost+found"})
_KEY_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The host's key.

    Attributes:
        value: the key itself.
        origin: where it came from, in words that may be logged.
        created: it was made just now.
    """

    value: str = field(repr=False)
    origin: str
    created: bool = False


def prepare_data_dir(path: Path) -> None:
    """Makes the directory with mode 0700, or sees to it that only its owner can read the one that is there.

    Permissions that are too wide are corrected only where nothing else can depend on them: in a directory
    that is empty or already holds zapvisor's data.

    Raises:
        DataDirError: it cannot be made, is no directory, belongs to someone else, or holds other things and
            is open to others.
        DataDirUnavailable: it cannot be made or written just now.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
        if status.st_uid != os.geteuid():
            raise DataDirError(f"{path}: belongs to another user (uid {status.st_uid}, not {os.geteuid()})")
        if stat.S_IMODE(status.st_mode) & _OTHERS:
            _close_to_others(path)
        probe = path / f".probe-{os.getpid()}-{secrets.token_hex(4)}"
        probe.touch(mode=0o600)
        probe.unlink()
    except FileExistsError:
        raise DataDirError(f"{path}: not a directory") from None
    except OSError as error:
        raise _refused(path, error) from None


def resolve_api_key(settings: Settings, environ: Mapping[str, str] | None = None) -> ApiKey:
    """The host's key: from the environment or the INI, from systemd's credential, or from the data directory.

    Without any it is made and written to `data_dir/api_key` (mode 0600), never half and never over another.

    Args:
        settings: the settings; `host.data_dir` is made when the key has to be kept there.
        environ: where `CREDENTIALS_DIRECTORY` is looked up (see systemd.exec(5)); the process's when None.

    Raises:
        DataDirError: a key file cannot be read, written, or is no key.
        DataDirUnavailable: it cannot be read or written just now.
    """
    if settings.api.api_key is not None:
        return ApiKey(settings.api.api_key.get_secret_value(), "[api] api_key")
    credentials = (os.environ if environ is None else environ).get("CREDENTIALS_DIRECTORY")
    if credentials:
        given = read_api_key(Path(credentials))
        if given is not None:
            return ApiKey(given, f"systemd credential {KEY_FILE}")
    prepare_data_dir(settings.host.data_dir)
    return _kept_key(settings.host.data_dir / KEY_FILE)


def read_api_key(data_dir: Path) -> str | None:
    """The key in a data directory, or None when there is none; for clients on the same machine.

    Raises:
        DataDirError: there is a file, but it cannot be read or is no key.
        DataDirUnavailable: it cannot be read just now.
    """
    file = data_dir / KEY_FILE
    try:
        present = file.exists()
    except OSError as error:
        raise _refused(file, error) from None
    return _read_key(file) if present else None


def session_secret(data_dir: Path) -> str:
    """What the dashboard's sessions are signed with: made at the first start, then kept in the data directory.

    Raises:
        DataDirError: its file cannot be read, written, or holds something else.
        DataDirUnavailable: it cannot be read or written just now.
    """
    prepare_data_dir(data_dir)
    return _kept_key(data_dir / SESSION_FILE).value


def _kept_key(file: Path) -> ApiKey:
    try:
        if not file.exists():
            with contextlib.suppress(FileExistsError):
                _write_new(file, secrets.token_urlsafe(32))
                return ApiKey(_read_key(file), str(file), created=True)
        if stat.S_IMODE(file.stat().st_mode) & _OTHERS:
            file.chmod(0o600)
        return ApiKey(_read_key(file), str(file))
    except OSError as error:
        raise _refused(file, error) from None


def _write_new(file: Path, key: str) -> None:
    """Writes the file whole or not at all; FileExistsError when another process was first."""
    draft = file.with_name(f".{file.name}-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(f"{key}\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.link(draft, file)
    finally:
        draft.unlink()
    with _directory(file.parent) as parent:
        os.fsync(parent)


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_key(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            key = stream.read(_KEY_LIMIT).decode("ascii").strip()
    except OSError as error:
        raise _refused(file, error) from None
    except UnicodeDecodeError:
        key = ""
    if not 8 <= len(key) <= 256 or not all("!" <= character <= "~" for character in key):
        raise DataDirError(
            f"{file}: not a key; allowed: 8 to 256 ASCII letters, digits and signs without blanks"
        )
    return key


def _refused(path: Path, error: OSError) -> DataDirError:
    kind = DataDirUnavailable if may_pass(error) else DataDirError
    return kind(f"{path}: {error.strerror or error}")


def _close_to_others(path: Path) -> None:
    names = {entry.name for entry in path.iterdir()}
    if names and not names & _OURS:
        raise DataDirError(
            f"{path}: others can read it, and it holds other things than zapvisor's; "
            f"choose a directory of its own, or run: chmod 700 {path}"
        )
    path.chmod(0o700)
