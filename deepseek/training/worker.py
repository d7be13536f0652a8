"""The life of one process of a run: put its parts together, train, and say how it went."""

from dataclasses import dataclass

from deepseek.distributed import is_leader
from deepseek.training.assemble import assemble
from deepseek.training.compilation import compiler_errors
from deepseek.training.job import Job
from deepseek.training.loop import Ending, run_loop
from deepseek.training.memory import peak_bytes
from deepseek.training.metrics import writing_metrics
from deepseek.training.quiet import quiet_transformers
from deepseek.training.signals import heeding

__all__ = ["Summary", "work"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """How a run ended.

    Attributes:
        ending: Why.
        step: Steps taken.
        best_step: After which step an evaluation was best; None without one.
        processes: How many took part.
        peak: The most memory that a process held, in bytes.
    """

    ending: Ending
    step: int
    best_step: int | None
    processes: int
    peak: int


def work(job: Job) -> Summary:
    """Train as one of the processes of the group, or as the only one.

    Raises:
        InputError: As the loop does, or the last checkpoint is of another model, or the compiler
            failed.
    """
    metrics = job.run.metrics if is_leader() else None
    board = job.run.board if job.config.tensorboard else None
    with quiet_transformers(), writing_metrics(metrics, board) as rows, heeding() as stop:
        rig, state = assemble(job, rows, stop)
        with compiler_errors(job.config.compile):
            ending = run_loop(rig, state, job.config)
    return Summary(
        ending=ending,
        step=state.step,
        best_step=state.best_step,
        processes=rig.mesh.layout.world_size,
        peak=int(rig.exchange.highest(peak_bytes())),
    )
