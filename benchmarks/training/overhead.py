"""What the loop costs beside the plain lines of PyTorch that do the same work.

Both train the same GPT on the same records with the same optimizer, clipping and schedule; ours
also finds its batch in the packed set, checks the loss, writes metrics and listens for signals.
Steps are taken in turns, so that drift hits both alike; on one thread CPU time counts, which other
programs do not disturb much.

Prints one JSON object; ``ratio`` is theirs / ours, the bar 0.98: at most 2 % of overhead.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path

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
from deepseek.training.quiet import quiet_transformers
from deepseek.training.run_folder import begin_run, find_run
from deepseek.training.schedule import rate_at
from deepseek.training.signals import heeding

BAR = 0.98
PEER = "plain PyTorch loop"


def ours(config: TrainConfig, stack: ExitStack) -> tuple[Job, Callable[[], object]]:
    """The job, and one step of the toolkit's loop."""
    source = find_model(config.model, config.model_options)
    run = find_run(config, source.name)
    data = prepare(config, source, silent)
    begin_run(run, config, lambda _: None)
    job = Job(config=config, run=run, source=source, data=data)
    rows = stack.enter_context(writing_metrics(run.metrics))
    stop = stack.enter_context(heeding())
    rig, state = assemble(job, rows, stop)
    return job, lambda: take_step(rig, state, config)


def plain(job: Job) -> Callable[[], object]:
    """One step of a loop as it is written by hand."""
    config = job.config
    torch.manual_seed(config.seed)
    model = build_model(job.source, "AutoModelForCausalLM", job.data.settings).train()
    settings = config.optimizer
    optimizer = torch.optim.AdamW(
        parameter_groups(model.parameters(), settings.weight_decay),
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        fused=True,
    )
    tokens = next(job.data.train.open().packed.column("tokens")).long()
    step = 0

    def take() -> None:
        nonlocal step
        chosen = tokens[torch.randint(len(tokens), (config.batch_size,))]
        logits = model(input_ids=chosen).logits
        loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), chosen[:, 1:].flatten())
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="small_gpt")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--sequence_length", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    clock = time.thread_time if arguments.threads == 1 else time.perf_counter
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, quiet_transformers():
        config = TrainConfig(
            model=arguments.model,
            batch_size=arguments.batch_size,
            sequence_length=arguments.sequence_length,
            steps=2 * arguments.steps,
            output=Path(folder) / "run",
            eval_every=0,
            checkpoint_every=0,
        )
        job, own = ours(config, stack)
        turns = {"ours": own, "theirs": plain(job)}
        seconds: dict[str, list[float]] = {name: [] for name in turns}
        for number in range(arguments.steps + 3):
            for name in sorted(turns, reverse=number % 2 == 1):
                began = clock()
                turns[name]()
                if number >= 3:
                    seconds[name].append(clock() - began)
    median = {name: statistics.median(measured) for name, measured in seconds.items()}
    ratio = median["theirs"] / median["ours"]
    line = {
        "figure": "overhead of the training loop",
        "setting": {
            key: getattr(arguments, key)
            for key in ("model", "batch_size", "sequence_length", "steps")
        },
        "ours": median["ours"],
        "theirs": median["theirs"],
        "unit": "s a step",
        "peer": PEER,
        "ratio": round(ratio, 4),
        "bar": BAR,
        "met": ratio >= BAR,
        "threads": arguments.threads,
        "load": os.getloadavg()[0],
        "cpu": platform.processor() or platform.machine(),
        "versions": {name: version(name) for name in ("torch", "transformers")},
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
