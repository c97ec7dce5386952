"""The environment that makes an unmodified WhatsApp client use, and trust, a loopback service."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

from .site import sitecustomize as hook

SITE = Path(__file__).parent / "site"


def client_environment(
    ca_file: Path, root_key: bytes, proxy_url: str | None, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The variables to add to a client's environment; ``base`` (default: this process's) gives PYTHONPATH.

    Without ``proxy_url`` the client is only made to trust the service; it has to be pointed at it by its
    own setting.
    """
    path = (os.environ if base is None else base).get("PYTHONPATH", "")
    environment = {
        "SSL_CERT_FILE": str(ca_file),
        "NO_PROXY": "localhost,127.0.0.1",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(SITE), path))),
        hook.ROOT_KEY: root_key.hex(),
    }
    if proxy_url is not None:
        environment["HTTPS_PROXY"] = proxy_url
    if library := _library():
        environment[hook.KEY_PLACE] = hook.place_in(library).to_text()
    return environment


def _library() -> Path | None:
    """neonize's Go library, found without importing neonize; None when this interpreter has none."""
    spec = importlib.util.find_spec("neonize")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        for candidate in sorted(Path(folder).glob("neonize-linux-*.so")):
            return candidate
    return None
