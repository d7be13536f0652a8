"""The toolkit's loop beside Hugging Face Trainer, accelerate and Lightning Fabric.

The same model, records and optimizer; steps and peak memory. Each library is a process beside one
of ours, and the two take turns step by step, so that both find the machine in the same state; those
that are not installed (the extra [bench]) are named on stderr and left out.
"""

import argparse
import json
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from loops import CASES
from measure import record
from trainers import TRAINERS

OURS = "deepseek train"
UNTIMED = 2
PACKAGES = {"accelerate": "accelerate", "lightning_fabric": "lightning-fabric"}


class Runner:
    """A training in a process of its own that takes a step when it is told."""

    def __init__(self, name: str, arguments: argparse.Namespace) -> None:
        program = Path(__file__).with_name("trainers.py")
        words = [name, arguments.model, str(arguments.steps + UNTIMED), str(arguments.threads)]
        self._process = subprocess.Popen([sys.executable, str(program), *words], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
        self.seconds: list[float] = []

    def step(self) -> None:
        """Take a step and note its seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.seconds.append(self._answer())

    def end(self) -> int:
        """The most memory that it held."""
        peak = int(self._answer())
        self._process.communicate()
        return peak

    def _answer(self) -> float:
        assert self._process.stdout is not None
        return float(json.loads(self._process.stdout.readline()))


def side_by_side(peer: str, arguments: argparse.Namespace) -> tuple[list[float], list[int]]:
    """Median seconds of a step, and peak memory in bytes: of ours, and of a peer."""
    runners = [Runner(name, arguments) for name in (OURS, peer)]
    for number in range(arguments.steps + UNTIMED):
        for runner in runners if number % 2 == 0 else reversed(runners):
            runner.step()
    seconds = [statistics.median(runner.seconds[UNTIMED:]) for runner in runners]
    return seconds, [runner.end() for runner in runners]


def main() -> None:
    """Measure and print."""
    peers = [name for name in TRAINERS if name != OURS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="GPT-2", choices=["small GPT", "GPT-2"])
    parser.add_argument("--peers", nargs="+", default=peers, choices=peers)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    case = CASES[arguments.model]
    setting = {"model": case.name, "batch_size": case.batch_size, "steps": arguments.steps,
               "sequence_length": case.sequence_length}  # fmt: skip
    for peer in arguments.peers:
        needs = TRAINERS[peer][0]
        missing = [module for module in needs if find_spec(module) is None]
        if missing:
            print(f"{peer}: left out, {missing[0]} is not installed", file=sys.stderr)
            continue
        packages = tuple(PACKAGES[module] for module in needs)
        seconds, peaks = side_by_side(peer, arguments)
        for figure, (ours, theirs), unit in (
            ("step of training", seconds, "s"),
            ("peak memory of training", peaks, "bytes"),
        ):
            record(figure, setting, ours, theirs, unit=unit, peer=peer, bar=1.0, packages=packages)


if __name__ == "__main__":
    main()
