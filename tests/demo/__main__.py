"""`python -m tests.demo`: zapvisor on a WhatsApp of this machine's own. No phone, no internet, nothing left behind."""

from __future__ import annotations

import argparse
import signal
from types import FrameType

from tests.demo.afterwards import Afterwards
from tests.demo.stage import Stage
from tests.demo.story import Story
from tests.demo.teller import StepFailed, Teller
from tests.e2e.harness import HostDied

PATIENCE = 20.0
INTERRUPTED = 130


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--once", action="store_true", help="end by itself: 0 only if every step was seen")
    parser.add_argument(
        "--patience",
        type=float,
        default=PATIENCE,
        metavar="SECONDS",
        help=f"what each thing that is waited for may take (default {PATIENCE:g})",
    )
    parsed = parser.parse_args(arguments)
    if not parsed.patience > 0:
        parser.error(f"argument --patience: {parsed.patience:g} is not above 0")
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """Play, and stay up unless told otherwise; the exit code."""
    chosen = options(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    teller = Teller()
    teller.heading(
        "zapvisor: a real host, the real client library, and a WhatsApp service of this machine's own"
    )
    played = False
    try:
        with Stage() as stage:
            try:
                story = Story(stage, teller, chosen.patience)
                story.play()
                played = True
                if chosen.once:
                    teller.say(f"the API was at {stage.host.url}")
                    story.end()
                else:
                    stay(Afterwards(stage, teller))
            finally:
                # From here on everything is being ended: a second Ctrl-C must not leave half of it behind.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except StepFailed as failure:
        teller.failed(failure)
        return 1
    except HostDied as death:
        teller.failed(StepFailed("the host stays up", str(death)))
        return 1
    except KeyboardInterrupt:
        teller.say("interrupted; everything is ended and removed")
        return 0 if played and not chosen.once else INTERRUPTED
    return 0


def stay(afterwards: Afterwards) -> None:
    """Until Ctrl-C."""
    afterwards.invite()
    afterwards.watch()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
