"""One step of the toolkit's loop, and one of a loop as it is written by hand, of the same run."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from deepseek.progress import silent
from deepseek.training.assemble import assemble
from deepseek.training.config import TrainConfig
from deepseek.training.data.prepare import prepare
from deepseek.training.job import Job
from deepseek.training.loop import take_step
from deepseek.training.metrics import writing_metrics
from deepseek.training.model import build_model, find_model
from deepseek.training.optimizer import parameter_groups
from deepseek.training.run_folder import begin_run, find_run
from deepseek.training.schedule import rate_at
from deepseek.training.signals import heeding
from deepseek.training.tasks import IGNORED, TASKS

__all__ = ["CASES", "Case", "job_of", "our_step", "plain_step"]

Step = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained.

    Attributes:
        name: As it is printed.
        task: What it learns.
        model: Its type or preset.
        options: Changes to its configuration: no dropout, as each loop draws its own.
        batch_size: Records in a step.
        sequence_length: Tokens in a record.
    """

    name: str
    task: str
    model: str
    options: tuple[str, ...] = ()
    batch_size: int = 8
    sequence_length: int = 128

    def config(self, folder: Path, steps: int) -> TrainConfig:
        """The run that learns it."""
        return TrainConfig(
            task=self.task,  # type: ignore[arg-type]
            model=self.model,
            model_options=self.options,
            batch_size=self.batch_size,
            sequence_length=self.sequence_length,
            steps=steps,
            output=folder / "run",
            eval_every=0,
            checkpoint_every=0,
        )


CASES = {
    case.name: case
    for case in (
        Case(name="small GPT", task="causal_lm", model="small_gpt", batch_size=16),
        Case(
            name="BERT-base",
            task="masked_lm",
            model="bert",
            options=(
                "vocab_size=30522",
                "hidden_dropout_prob=0.0",
                "attention_probs_dropout_prob=0.0",
            ),
        ),
        Case(
            name="GPT-2",
            task="causal_lm",
            model="gpt2",
            options=("vocab_size=50257", "resid_pdrop=0.0", "embd_pdrop=0.0", "attn_pdrop=0.0"),
        ),
    )
}


def job_of(config: TrainConfig) -> Job:
    """A run that could begin."""
    source = find_model(config.model, config.model_options)
    run = find_run(config, source.name)
    data = prepare(config, source, silent)
    begin_run(run, config, lambda _: None)
    return Job(config=config, run=run, source=source, data=data)


def our_step(job: Job, stack: ExitStack) -> Step:
    """One step of the toolkit's loop: metrics are written and signals heeded, as ever."""
    rows = stack.enter_context(writing_metrics(job.run.metrics))
    stop = stack.enter_context(heeding())
    rig, state = assemble(job, rows, stop)
    return lambda: take_step(rig, state, job.config)


def plain_step(job: Job) -> Step:
    """One step by hand: the same model, optimizer, clipping and schedule, in fp32."""
    config, data = job.config, job.data
    task = TASKS[config.task](data.vocabulary, config.seed)
    torch.manual_seed(config.seed)
    model = build_model(job.source, task.auto_class, data.settings).train()
    settings = config.optimizer
    optimizer = torch.optim.AdamW(
        parameter_groups(model.parameters(), settings.weight_decay),
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        fused=True,
    )
    records = data.train.open(pad=data.pad, longest=data.longest)
    inputs, labels = task.prepare(
        records.gather(np.arange(len(records))), torch.arange(len(records))
    )
    step = 0

    def take() -> None:
        nonlocal step
        chosen = torch.randint(len(labels), (config.batch_size,))
        logits = model(**{name: tensor[chosen] for name, tensor in inputs.items()}).logits
        loss = functional.cross_entropy(
            logits.flatten(0, 1), labels[chosen].flatten(), ignore_index=IGNORED
        )

        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        rate = settings.lr * rate_at(step, steps=config.steps, config=config.schedule)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        step += 1

    return take
