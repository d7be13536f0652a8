"""The share of a step in which a stage of a pipeline has nothing to do."""

from deepseek.distributed.layout import Schedule

__all__ = ["bubble_of"]


def bubble_of(schedule: Schedule, stages: int, micro_batches: int) -> float:
    """Idle time of a process, were every pass of every stage equally long and sending free.

    A backward pass counts as two forward passes; half of it, the gradients of weights, can wait
    in the schedules that split it (Qi et al., "Zero Bubble Pipeline Parallelism", 2023).
    """
    work = 3.0 * micro_batches
    idle = (stages - 1) * _IDLE[schedule]
    return idle / (work + idle)


_IDLE: dict[Schedule, float] = {
    "gpipe": 3.0,
    "1f1b": 3.0,
    "interleaved": 3.0,
    "bfs": 3.0,
    "interleaved_zero_bubble": 1.0,
    "zbv": 0.0,
    "dualpipev": 0.5,
}
