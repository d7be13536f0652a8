"""What the loop costs beside the plain lines of PyTorch that do the same work.

Both train the same GPT on the same records with the same optimizer, clipping and schedule; ours
also finds its batch in the packed set, checks the loss, writes metrics and listens for signals.

The bar is 0.98: at most 2 % of overhead.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch
from loops import CASES, job_of, our_step, plain_step
from measure import alternate, record

from deepseek.training.quiet import quiet_transformers


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    case = CASES["small GPT"]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, quiet_transformers():
        job = job_of(case.config(Path(folder), 2 * arguments.rounds))
        seconds = alternate({"ours": our_step(job, stack), "theirs": plain_step(job)},
                            arguments.rounds)  # fmt: skip
    record(
        "overhead of the training loop",
        {"model": case.name, "batch_size": case.batch_size, "rounds": arguments.rounds},
        seconds["ours"],
        seconds["theirs"],
        unit="s a step",
        peer="plain PyTorch loop",
        bar=0.98,
    )


if __name__ == "__main__":
    main()
