"""The host is killed with SIGKILL, again and again, while receivers answer as receivers do on a bad day.

Every event that was committed must arrive at each of its destinations, in order for its instance, and whatever
arrives twice must have the same id. `python -m tests.actors.delivery.kills --kills 50` runs it by hand.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.actors.delivery.receiver import Answer, Got, Receiver

INSTANCES = 6
DRAIN_SECONDS = 120


@dataclass
class Committed:
    """What the killed processes said they had committed: number to event id, by instance."""

    events: dict[str, dict[int, str]] = field(default_factory=dict)

    def add(self, line: str) -> None:
        instance, number, event_id = line.split()
        self.events.setdefault(instance, {})[int(number)] = event_id

    @property
    def count(self) -> int:
        return sum(len(events) for events in self.events.values())


def moody(luck: random.Random) -> Any:
    """Answers 200 mostly, and 500, 429 with Retry-After, a time-out or a reset now and then."""

    def answer(_: Got) -> Answer:
        draw = luck.random()
        if draw < 0.85:
            return 200
        if draw < 0.93:
            return 500
        if draw < 0.98:
            return "reset"
        return "hang" if draw < 0.99 else (429, {"retry-after": "1"})

    return answer


def run(url: str, data_dir: Path, number: int, receivers: Sequence[Receiver]) -> subprocess.Popen[str]:
    own = [receivers[1 + n % (len(receivers) - 1)].url for n in range(INSTANCES)]
    with (data_dir / "errors").open("a") as log:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.actors.delivery.driver",
                url,
                str(data_dir),
                str(number),
                receivers[0].url,
                *own,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def kill_again_and_again(url: str, data_dir: Path, kills: int, seed: int) -> tuple[Committed, list[Receiver]]:
    """Run and kill, then let a last run deliver what is left."""
    luck = random.Random(seed)
    receivers = [Receiver(moody(random.Random(seed + n))).start() for n in range(3)]
    committed = Committed()
    try:
        for number in range(kills):
            process = run(url, data_dir, number, receivers)
            assert process.stdout
            lines = luck.randint(1, 250)
            for line, _ in zip(process.stdout, range(lines), strict=False):
                committed.add(line)
            process.send_signal(signal.SIGKILL)
            for line in process.stdout.read().splitlines():
                committed.add(line)
            assert process.wait(30) == -signal.SIGKILL, (data_dir / "errors").read_text()[-2000:]
        last = run(url, data_dir, kills, receivers)
        for receiver in receivers:
            receiver.script = lambda _: 200
        output, _ = last.communicate("stop\n", timeout=DRAIN_SECONDS)
        for line in output.splitlines():
            committed.add(line)
        assert last.returncode == 0, (data_dir / "errors").read_text()[-2000:]
    finally:
        for receiver in receivers:
            receiver.stop()
    return committed, receivers


def check(committed: Committed, receivers: Sequence[Receiver]) -> Counter[str]:
    """Check what arrived against what was committed.

    Raises:
        AssertionError: an event is missing, out of order, or has two ids.
    """
    counts: Counter[str] = Counter(committed=committed.count)
    for everybody, receiver in enumerate(receivers):
        arrived: dict[str, dict[int, str]] = {}
        for got in receiver.got:
            counts[f"answered {got.answer}"] += 1
            number, instance = got.json["data"]["number"], got.json["instance"]
            known = arrived.setdefault(instance, {}).get(number) if got.delivered else None
            if got.delivered and known is None:
                arrived[instance][number] = got.event_id
            elif known is not None:
                counts["twice"] += 1
                assert known == got.event_id, f"{instance} {number} came with two ids"
        for instance, events in arrived.items():
            assert list(events) == sorted(events), f"{instance} came out of order"
        expected = committed.events if everybody == 0 else {name: committed.events[name] for name in arrived}
        for instance, sent in expected.items():
            missing = sent.items() - arrived[instance].items()
            assert not missing, f"{instance}: {len(missing)} of {len(sent)} events are missing"
    assert sum(len({got.json["instance"] for got in one.got}) for one in receivers[1:]) == INSTANCES
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--url", default="sqlite:///zapvisor.db")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="zapvisor-kills-") as place:
        committed, receivers = kill_again_and_again(options.url, Path(place), options.kills, options.seed)
    for what, count in sorted(check(committed, receivers).items()):
        print(f"{what}: {count}")


if __name__ == "__main__":
    main()
