"""Seconds of a training step of models as people have them, beside a plain PyTorch loop in fp32.

A BERT and a GPT-2 of 110 and 124 million parameters, on one process. The plain loop has torch's
fused AdamW, which is quicker on a CPU than the one torch takes when it is not told.

Ours in fp32 must be as quick (bar 1.0), in bf16 and compiled 1.4 times so; that takes a processor
with products in bf16 (AVX512-BF16, AMX) or a GPU. Needs 6 GB of memory, and g++ to compile.
"""

import argparse
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from loops import CASES, Case, job_of, our_step, plain_step
from measure import alternate, record

from deepseek.training.quiet import quiet_transformers

BARS = {"fp32": 1.0, "bf16": 1.4}


def measure(case: Case, precision: str, rounds: int) -> None:
    """Measure one model in one precision, and print."""
    compiler = "inductor" if precision == "bf16" else "none"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, quiet_transformers():
        plain = case.config(Path(folder), 2 * rounds)
        job = job_of(replace(plain, precision=precision, compile=compiler))
        turns = {"ours": our_step(job, stack), "theirs": plain_step(job)}
        seconds = alternate(turns, rounds)
    record(
        "step of training",
        {
            "model": case.name,
            "precision": precision,
            "compile": compiler,
            "batch_size": case.batch_size,
            "sequence_length": case.sequence_length,
            "rounds": rounds,
        },
        seconds["ours"],
        seconds["theirs"],
        unit="s",
        peer="plain PyTorch loop, fp32",
        bar=BARS[precision],
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["BERT-base", "GPT-2"], choices=CASES)
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=BARS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for model in arguments.models:
        for precision in arguments.precisions:
            measure(CASES[model], precision, arguments.rounds)


if __name__ == "__main__":
    main()
