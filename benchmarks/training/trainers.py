"""The same model on the same records, trained by the loops that people use.

Each runs in a process of its own, so that its memory can be told: ``python trainers.py NAME``
prints the seconds of each step and the most memory it held.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from loops import CASES, job_of, our_step
from torch import nn

from deepseek.training.job import Job
from deepseek.training.memory import peak_bytes
from deepseek.training.model import build_model
from deepseek.training.quiet import quiet_transformers
from deepseek.training.tasks import TASKS

__all__ = ["TRAINERS"]


class _Records(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """The records of a job as most data sets are: inputs and labels by number."""

    def __init__(self, job: Job) -> None:
        self._records = job.data.train.open(pad=job.data.pad, longest=job.data.longest)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        tokens = self._records.gather(np.array([number]))["tokens"][0].long()
        return {"input_ids": tokens, "labels": tokens}


def _parts(job: Job) -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    """Model, optimizer and batches, as each of the libraries is given them."""
    task = TASKS[job.config.task](job.data.vocabulary, job.config.seed)
    torch.manual_seed(job.config.seed)
    model = build_model(job.source, task.auto_class, job.data.settings).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=job.config.optimizer.lr, fused=True)
    loader = torch.utils.data.DataLoader(_Records(job), job.config.batch_size, shuffle=True,
                                         drop_last=True)  # fmt: skip
    return model, optimizer, loader


def _timed(steps: int, step: Callable[[], object]) -> list[float]:
    seconds = []
    for _ in range(steps):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return seconds


def _deepseek(job: Job, steps: int) -> list[float]:
    with ExitStack() as stack:
        return _timed(steps, our_step(job, stack))


def _accelerate(job: Job, steps: int) -> list[float]:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    model, optimizer, loader = accelerator.prepare(*_parts(job))
    batches = iter(loader)

    def step() -> None:
        loss = model(**next(batches)).loss
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(model.parameters(), job.config.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return _timed(steps, step)


def _fabric(job: Job, steps: int) -> list[float]:
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="auto", devices=1)
    model, optimizer, loader = _parts(job)
    model, optimizer = fabric.setup(model, optimizer)
    batches = iter(fabric.setup_dataloaders(loader))

    def step() -> None:
        loss = model(**next(batches)).loss
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=job.config.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return _timed(steps, step)


def _transformers(job: Job, steps: int) -> list[float]:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    ends = [time.perf_counter()]

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    model, optimizer, _ = _parts(job)
    arguments = TrainingArguments(
        output_dir=str(job.run.root / "trainer"),
        per_device_train_batch_size=job.config.batch_size,
        max_steps=steps,
        max_grad_norm=job.config.optimizer.clip,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    sink, sys.stdout = sys.stdout, sys.stderr  # it prints its log
    try:
        Trainer(model=model, args=arguments, train_dataset=_Records(job), callbacks=[Clock()],
                optimizers=(optimizer, None)).train()  # fmt: skip
    finally:
        sys.stdout = sink
    return [b - a for a, b in pairwise(ends)]


TRAINERS: dict[str, tuple[tuple[str, ...], Callable[[Job, int], list[float]]]] = {
    "deepseek train": ((), _deepseek),
    "Hugging Face Trainer": (("accelerate",), _transformers),
    "accelerate": (("accelerate",), _accelerate),
    "Lightning Fabric": (("lightning_fabric",), _fabric),
}
"""By name: the modules that must be there, and what trains."""


def main() -> None:
    """Train once, and print."""
    name, case, steps, threads = sys.argv[1], CASES[sys.argv[2]], int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(int(threads))
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        job = job_of(case.config(Path(folder), steps))
        seconds = TRAINERS[name][1](job, steps)
    print(json.dumps({"seconds": seconds, "peak": peak_bytes()}))


if __name__ == "__main__":
    main()
