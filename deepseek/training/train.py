"""A training run from its configuration to the exported model."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from deepseek.distributed import launch
from deepseek.errors import InputError
from deepseek.progress import Progress, silent
from deepseek.training.checkpoint.folder import CheckpointFolder
from deepseek.training.config import TrainConfig
from deepseek.training.data.prepare import prepare
from deepseek.training.export import export_model
from deepseek.training.follow import following
from deepseek.training.metrics import read_metrics
from deepseek.training.model import build_model, find_model
from deepseek.training.tasks import TASKS
from deepseek.training.worker import Job, Summary, work

__all__ = ["train"]

_SCHEMA = "deepseek.train/1"


def train(
    config: TrainConfig,
    *,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train as configured; what ``report.json`` says comes back.

    Args:
        config: The run.
        progress: Told of steps.
        say: Told in lines what goes on.

    Raises:
        InputError: Something that was given cannot be used.
    """
    source = find_model(config.model, config.model_options)
    folder = _run_folder(config, source.name)
    data = prepare(config, progress)
    job = Job(config=config, folder=folder, source=source, data=data)
    with following(folder / "metrics.jsonl", config, progress, say):
        summary: Summary = launch(work, job, nproc=config.processes)
    latest = CheckpointFolder(folder / "checkpoints").latest()
    assert latest is not None
    report = _report(config, folder, summary)
    task = TASKS[config.task](data.vocabulary, config.seed)
    model = build_model(source, task.auto_class, data.settings)
    export_model(model, latest, folder / "model", tokenizer=data.tokenizer, report=report)
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (folder / "report.json").write_text(text, encoding="utf-8")
    return report


def _run_folder(config: TrainConfig, name: str) -> Path:
    folder = config.output or next(
        place for n in count(1) if not (place := Path("runs") / f"{name}-{n}").exists()
    )
    if folder.exists() and config.overwrite:
        shutil.rmtree(folder)
    if folder.exists() and not config.resume:
        raise InputError(
            f"expected a new folder for the run, {folder} exists already",
            hint="give --resume to go on with it, or --overwrite to replace it",
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _report(config: TrainConfig, folder: Path, summary: Summary) -> dict[str, Any]:
    rows = read_metrics(folder / "metrics.jsonl")
    return {"schema": _SCHEMA, "folder": str(folder), **asdict(summary), "rows": len(rows)}
