"""The toolkit's loop beside Hugging Face Trainer, accelerate and Lightning Fabric.

The same model, records and optimizer; steps and peak memory. Libraries take turns in processes of
their own; those that are not installed (the extra [bench]) are named on stderr and left out.
"""

import argparse
import json
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from loops import CASES
from measure import record
from trainers import TRAINERS

OURS = "deepseek train"
UNTIMED = 3
PACKAGES = {"accelerate": "accelerate", "lightning_fabric": "lightning-fabric"}


def once(name: str, arguments: argparse.Namespace) -> tuple[float, int]:
    """Median seconds of a step, and the most memory, of one run."""
    program = Path(__file__).with_name("trainers.py")
    words = [name, arguments.model, str(arguments.steps + UNTIMED), str(arguments.threads)]
    done = subprocess.run([sys.executable, str(program), *words], stdout=subprocess.PIPE,
                          text=True, check=True)  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return statistics.median(found["seconds"][UNTIMED:]), int(found["peak"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="GPT-2", choices=["small GPT", "GPT-2"])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    names = []
    for name, (needs, _) in TRAINERS.items():
        missing = [module for module in needs if find_spec(module) is None]
        if missing:
            print(f"{name}: left out, {missing[0]} is not installed", file=sys.stderr)
        else:
            names.append(name)
    runs: dict[str, list[tuple[float, int]]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            runs[name].append(once(name, arguments))
    seconds = {name: statistics.median(run[0] for run in runs[name]) for name in names}
    peaks = {name: max(run[1] for run in runs[name]) for name in names}
    case = CASES[arguments.model]
    setting = {"model": case.name, "batch_size": case.batch_size, "steps": arguments.steps,
               "sequence_length": case.sequence_length, "rounds": arguments.rounds}  # fmt: skip
    for name in names[1:]:
        packages = tuple(PACKAGES[module] for module in TRAINERS[name][0])
        for figure, values, unit in (
            ("step of training", seconds, "s"),
            ("peak memory of training", peaks, "bytes"),
        ):
            record(figure, setting, values[OURS], values[name], unit=unit, peer=name, bar=1.0,
                   packages=packages)  # fmt: skip


if __name__ == "__main__":
    main()
