"""For how long a checkpoint keeps training waiting, beside saving it on the spot.

A GPT whose weights take about 500 MB, with AdamW: 1.5 GB in all. Ours copies the tensors and
writes them in a thread; theirs is the same writer, waited for. Needs 5 GB of disk and 8 of memory.

Prints one JSON object; ``ratio`` is theirs / ours, the bar 10: a tenth of the time.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from measure import record
from torch import nn

from deepseek.distributed import training_state
from deepseek.training.checkpoint.folder import CheckpointFolder
from deepseek.training.checkpoint.save import CheckpointWriter

WIDTH = 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    arguments = parser.parse_args()
    layers = arguments.megabytes * 10**6 // (4 * 4 * WIDTH * WIDTH)
    model = nn.Sequential(*(nn.Linear(WIDTH, 4 * WIDTH, bias=False) for _ in range(layers)))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    tensors = training_state([model], optimizer)
    stalled, waited = [], []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        writer = CheckpointWriter(CheckpointFolder(Path(folder)), 1, print)
        for step in range(arguments.rounds + 1):
            began = time.perf_counter()
            writer.save(step, tensors, {"step": step})
            returned = time.perf_counter()
            assert writer.wait()
            if step:  # the first makes its buffers
                stalled.append(returned - began)
                waited.append(time.perf_counter() - began)
    size = sum(tensor.nbytes for section in tensors.values() for tensor in section.values())
    ours, theirs = statistics.median(stalled), statistics.median(waited)
    record(
        "stall of a checkpoint",
        {"bytes": size, "rounds": arguments.rounds},
        ours,
        theirs,
        unit="s",
        peer="the same writer, waited for",
        bar=10.0,
    )


if __name__ == "__main__":
    main()
