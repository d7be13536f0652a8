"""The same model on the same records, trained by the loops that people use.

Each runs in a process of its own, so that its memory can be told: ``python trainers.py NAME`` takes
a step for each line that it reads and answers with its seconds, and at last with the most memory it
held. So processes can take turns step by step, and what the machine does meanwhile hits all alike.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
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


class _Turns:
    """When a step may begin, and how long it took."""

    def __init__(self) -> None:
        self._answers = sys.stdout
        self._began = 0.0

    def wait(self) -> None:
        """Until it is this process's turn."""
        sys.stdin.readline()
        self._began = time.perf_counter()

    def end(self) -> None:
        """Say how long the step took."""
        self.say(time.perf_counter() - self._began)

    def say(self, answer: float) -> None:
        """Answer with a number."""
        print(json.dumps(answer), file=self._answers, flush=True)


def _take(turns: _Turns, steps: int, step: Callable[[], object]) -> None:
    for _ in range(steps):
        turns.wait()
        step()
        turns.end()


def _deepseek(job: Job, steps: int, turns: _Turns) -> None:
    with ExitStack() as stack:
        _take(turns, steps, our_step(job, stack))


def _accelerate(job: Job, steps: int, turns: _Turns) -> None:
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

    _take(turns, steps, step)


def _fabric(job: Job, steps: int, turns: _Turns) -> None:
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

    _take(turns, steps, step)


def _transformers(job: Job, steps: int, turns: _Turns) -> None:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        """What is between two steps, such as taking a batch, counts with the later of them."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            turns.wait()

        def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            turns.end()
            if state.global_step < steps:
                turns.wait()

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
    Trainer(model=model, args=arguments, train_dataset=_Records(job), callbacks=[Clock()],
            optimizers=(optimizer, None)).train()  # fmt: skip


TRAINERS: dict[str, tuple[tuple[str, ...], Callable[[Job, int, _Turns], None]]] = {
    "deepseek train": ((), _deepseek),
    "Hugging Face Trainer": (("accelerate",), _transformers),
    "accelerate": (("accelerate",), _accelerate),
    "Lightning Fabric": (("lightning_fabric",), _fabric),
}
"""By name: the modules that must be there, and what trains."""


def main() -> None:
    """Train once, a step at a turn."""
    name, case, steps, threads = sys.argv[1], CASES[sys.argv[2]], int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(int(threads))
    turns = _Turns()
    sys.stdout = sys.stderr  # some print their log
    with tempfile.TemporaryDirectory() as folder, quiet_transformers():
        job = job_of(case.config(Path(folder), steps))
        TRAINERS[name][1](job, steps, turns)
    turns.say(peak_bytes())


if __name__ == "__main__":
    main()
