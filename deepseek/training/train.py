"""A training run, from its configuration to the exported model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from deepseek.distributed import launch
from deepseek.progress import Progress, silent
from deepseek.training.boards import check_tensorboard
from deepseek.training.config import TrainConfig
from deepseek.training.data.prepare import prepare
from deepseek.training.export import export_model
from deepseek.training.follow import following
from deepseek.training.job import Job
from deepseek.training.layout import layout_of, share_of
from deepseek.training.model import build_model, find_model
from deepseek.training.quiet import quiet_transformers
from deepseek.training.rehearse import rehearse
from deepseek.training.report import make_report, write_json
from deepseek.training.run_folder import begin_run, find_run
from deepseek.training.stage_costs import stage_costs
from deepseek.training.tasks import TASKS
from deepseek.training.torchrun import is_under_torchrun, lead_and_share, restarts, world_size
from deepseek.training.worker import Summary, work

__all__ = ["train"]

_GRACE = 300.0  # seconds for a process to finish its step and save when asked to stop

Say = Callable[[str], None]


def train(
    config: TrainConfig, *, progress: Progress = silent, say: Say = lambda _text: None
) -> dict[str, Any]:
    """Train as configured, in as many processes as the layout needs.

    Under torchrun this is called in every process, and rank 0 speaks for all.

    Args:
        config: The run.
        progress: Told of records packed and steps taken.
        say: Told in lines what goes on.

    Returns:
        What ``report.json`` says, or the plan where one was asked for; nothing on ranks other
        than 0.

    Raises:
        InputError: Something that was given cannot be used, or the loss is no number.
        KeyboardInterrupt: The run was asked to stop; it is saved, and can be resumed.
    """
    if config.plan:
        return _plan(config, progress)
    if is_under_torchrun():
        if restarts() > 0:
            config = replace(config, resume=True, overwrite=False)
        return launch(_train_as_rank, config, progress, say, nproc=1)
    job = _prepare_job(config, progress, say)
    with following(job.run.metrics, config, progress, say):
        summary = launch(work, job, nproc=config.processes, grace=_GRACE)
    return _finish(job, summary, say)


def _train_as_rank(config: TrainConfig, progress: Progress, say: Say) -> dict[str, Any]:
    job, leads = lead_and_share(lambda: _prepare_job(config, progress, say))
    if not leads:
        work(job)
        return {}
    with following(job.run.metrics, config, progress, say):
        summary = work(job)
    return _finish(job, summary, say)


def _plan(config: TrainConfig, progress: Progress) -> dict[str, Any]:
    from deepseek.training.plan.plan import make_plan

    world = world_size(config)
    share_of(config, layout_of(config, world))
    source = find_model(config.model, config.model_options)
    return make_plan(config, source, prepare(config, source, progress), world).to_json()


def _prepare_job(config: TrainConfig, progress: Progress, say: Say) -> Job:
    source = find_model(config.model, config.model_options)
    run = find_run(config, source.name)
    world = world_size(config)
    share_of(config, layout_of(config, world))
    if config.tensorboard:
        check_tensorboard()
    data = prepare(config, source, progress)
    rehearse(config, source, data, world)
    begin_run(run, config, say)
    costs = stage_costs(config, source, data, world, run.costs)
    return Job(config=config, run=run, source=source, data=data, costs=costs)


def _finish(job: Job, summary: Summary, say: Say) -> dict[str, Any]:
    report = make_report(job.config, job.run, summary)
    if summary.ending == "asked to stop":
        say(f"asked to stop at step {summary.step}; saved, go on with --resume")
        raise KeyboardInterrupt
    best = summary.best_step if job.config.patience > 0 else None
    chosen = job.run.checkpoints.at(summary.step if best is None else best)
    task = TASKS[job.config.task](job.data.vocabulary, job.config.seed)
    with quiet_transformers():
        model = build_model(job.source, task.auto_class, job.data.settings)
    export_model(model, chosen, job.run.model, tokenizer=job.data.tokenizer, report=report)
    write_json(job.run.report, report)
    return report
