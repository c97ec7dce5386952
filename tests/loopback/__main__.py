"""``python -m tests.loopback``: a loopback WhatsApp service as a process.

It prints one line of JSON with its addresses and files, then serves until SIGTERM, SIGINT, or the end of
its standard input when that is a pipe (so it ends with the process that started it).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import stat
import tempfile
import threading
from pathlib import Path

from .service import LoopbackService


def _credentials(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not colon or not user:
        raise argparse.ArgumentTypeError(f"{text!r} is not USER:PASSWORD")
    return user, password


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m tests.loopback", description=__doc__.partition("\n")[0])
    options.add_argument(
        "--port", type=int, default=0, help="port of the proxy; 0 (default) takes a free one"
    )
    options.add_argument(
        "--control-port", type=int, default=0, help="port of the control channel; 0 takes a free one"
    )
    options.add_argument(
        "--workdir", type=Path, help="certificates and devices; default: a directory that is removed"
    )
    options.add_argument(
        "--no-persist", action="store_true", help="do not keep the linked devices in the workdir"
    )
    options.add_argument("--credentials", type=_credentials, help="USER:PASSWORD that the proxy requires")
    options.add_argument(
        "--linger", type=float, default=0.2, help="seconds between an end of stream and hanging up"
    )
    return options


def _end_with_parent(stop: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    stop.set()


def main() -> None:
    options = parser().parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_args: stop.set())
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_end_with_parent, args=(stop,), daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="loopback-") as scratch:
        service = LoopbackService(
            options.workdir or scratch,
            port=options.port,
            control_port=options.control_port,
            credentials=options.credentials,
            persist=not options.no_persist,
            linger=options.linger,
        )
        with service:
            print(json.dumps(service.facts()), flush=True)
            stop.wait()


if __name__ == "__main__":
    main()
