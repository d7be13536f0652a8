"""The orders in which a pipeline runs its passes, and how many micro-batches each needs.

Imports no torch. Which orders exist and what they ask for is torch.distributed.pipelining's. With
one part a process, ``interleaved`` is the order of ``1f1b``, run by an engine that posts what it
receives early and sends while it works, where torch's ``1f1b`` waits.
"""

from dataclasses import dataclass

from deepseek.distributed.layout import Schedule
from deepseek.errors import InputError

__all__ = ["SCHEDULES", "Kind", "check_micro_batches", "micro_batches", "parts_of", "stage_count"]

_ROWS_PER_MICRO_BATCH = 256


@dataclass(frozen=True, slots=True)
class Kind:
    """What is to know of a schedule.

    Attributes:
        torch_name: What ``torch.distributed.pipelining`` calls it.
        looped: A process may have several parts; such schedules take a list of them.
        v_shaped: A process has exactly two parts, the second on the way back.
        rounds: Micro-batches come in equal rounds of at least as many as there are processes.
        splits_backward: Gradients of inputs and of weights are taken in separate passes.
        fill: At least so many micro-batches per process in a row.
    """

    torch_name: str
    looped: bool = True
    v_shaped: bool = False
    rounds: bool = False
    splits_backward: bool = False
    fill: int = 1


SCHEDULES: dict[Schedule, Kind] = {
    "gpipe": Kind("GPipe", looped=False),
    "1f1b": Kind("1F1B", looped=False),
    "interleaved": Kind("Interleaved1F1B", rounds=True),
    "bfs": Kind("LoopedBFS"),
    "interleaved_zero_bubble": Kind("InterleavedZeroBubble", rounds=True, splits_backward=True),
    "zbv": Kind("ZBVZeroBubble", v_shaped=True, splits_backward=True),
    "dualpipev": Kind("DualPipeV", v_shaped=True, splits_backward=True, fill=2),
}


def stage_count(schedule: Schedule, stages: int, chunks: int = 1) -> int:
    """Into how many parts a model is cut for ``stages`` processes in a row.

    Args:
        schedule: The order of passes.
        stages: Processes in a row.
        chunks: Parts of a process, for the looped schedules; V-shaped ones always have two.

    Raises:
        InputError: The schedule does not take so many parts a process.
    """
    kind = SCHEDULES[schedule]
    if chunks < 1 or (chunks > 1 and (kind.v_shaped or not kind.looped)):
        raise InputError(
            f"expected one part a process with schedule {schedule}, got {chunks}",
            hint="interleaved, bfs and interleaved_zero_bubble take several",
        )
    return stages * (2 if kind.v_shaped else chunks)


def parts_of(schedule: Schedule, stage: int, stages: int, chunks: int = 1) -> tuple[int, ...]:
    """The parts that the process at place ``stage`` of ``stages`` runs, in their order."""
    total = stage_count(schedule, stages, chunks)
    if SCHEDULES[schedule].v_shaped:
        return (stage, total - 1 - stage)
    return tuple(range(stage, total, stages))


def micro_batches(batch: int, stages: int, schedule: Schedule = "interleaved") -> int:
    """Micro-batches of a step: max(stages, ceil(batch / 256)), or the next number that divides.

    Micro-batches are equal, so that the mean of their losses is the loss of the batch.

    Args:
        batch: Rows that one row of stages sees in a step.
        stages: Processes in a row.
        schedule: The order of passes.

    Raises:
        InputError: The batch has fewer rows than micro-batches, or no division suits the schedule.
    """
    kind = SCHEDULES[schedule]
    least = max(kind.fill * stages, -(-batch // _ROWS_PER_MICRO_BATCH))
    if batch < least:
        raise InputError(
            f"expected a batch of at least {least} rows, one a micro-batch of {stages} pipeline "
            f"stages with schedule {schedule}, got {batch}",
            hint=f"use a batch of {least} or more, or fewer stages",
        )
    count = _division(kind, batch, least, stages)
    if count is None:
        enough = next(rows for rows in range(batch, 2 * batch + 1)
                      if _division(kind, rows, least, stages) is not None)  # fmt: skip
        raise InputError(
            "expected a batch that divides into equal micro-batches of "
            f"{stages} pipeline stages with schedule {schedule}, got {batch} rows",
            hint=f"use a batch of {enough}",
        )
    return count


def check_micro_batches(
    count: int, batch: int, stages: int, schedule: Schedule = "interleaved"
) -> int:
    """A number of micro-batches that was asked for, if it can be.

    Args:
        count: Micro-batches of a step.
        batch: Rows that one row of stages sees in a step.
        stages: Processes in a row.
        schedule: The order of passes.

    Raises:
        InputError: It does not divide the batch, or does not suit the schedule.
    """
    kind = SCHEDULES[schedule]
    if count >= kind.fill * stages and batch % count == 0 and _suits(kind, count, stages):
        return count
    fitting = [
        n
        for n in range(kind.fill * stages, batch + 1)
        if batch % n == 0 and _suits(kind, n, stages)
    ]
    nearest = min(fitting, key=lambda n: abs(n - count), default=None)
    raise InputError(
        f"expected micro-batches that divide {batch} rows, at least {kind.fill * stages} for "
        f"{stages} pipeline stages with schedule {schedule}, got {count}",
        hint="use a larger batch" if nearest is None else f"use {nearest} micro-batches",
    )


def _division(kind: Kind, batch: int, least: int, stages: int) -> int | None:
    return next(
        (n for n in range(least, batch + 1) if batch % n == 0 and _suits(kind, n, stages)), None
    )


def _suits(kind: Kind, count: int, stages: int) -> bool:
    return not kind.rounds or count % max(1, count // stages) == 0
