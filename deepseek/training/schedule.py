"""The learning rate of a step: a function of its number, so that it has no state to lose."""

from collections.abc import Callable
from math import cos, pi

from deepseek.training.config import ScheduleConfig

__all__ = ["rate_at"]

_SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda _way: 1.0,
    "linear": lambda way: 1.0 - way,
    "cosine": lambda way: 0.5 * (1.0 + cos(pi * way)),
}


def rate_at(step: int, *, steps: int, config: ScheduleConfig) -> float:
    """The learning rate of step ``step`` (from 0) of ``steps``, as a share of the highest."""
    warmup = round(config.warmup * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    way = (step - warmup) / max(1, steps - warmup)
    floor = 1.0 if config.name == "constant" else config.floor
    return floor + (1.0 - floor) * _SHAPES[config.name](way)
