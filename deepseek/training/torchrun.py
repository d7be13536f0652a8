"""When torchrun, rather than we, started the processes."""

import os
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist

from deepseek.errors import DeepseekError
from deepseek.training.config import TrainConfig

__all__ = ["is_under_torchrun", "lead_and_share", "restarts", "world_size"]

T = TypeVar("T")


def is_under_torchrun() -> bool:
    """Whether the environment names our place among processes that somebody else started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def world_size(config: TrainConfig) -> int:
    """How many processes train: as many as torchrun started, or as configured."""
    return int(os.environ["WORLD_SIZE"]) if is_under_torchrun() else config.processes


def restarts() -> int:
    """How many times the processes were started again after one of them died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def lead_and_share(make: Callable[[], T]) -> tuple[T, bool]:
    """Make something on rank 0 and give it to all; whether this is rank 0 comes back too.

    Raises:
        DeepseekError: What rank 0 raised, on every rank.
    """
    leads = dist.get_rank() == 0
    made: list[T | DeepseekError | None] = [None]
    if leads:
        try:
            made[0] = make()
        except DeepseekError as error:
            made[0] = error
    dist.broadcast_object_list(made, src=0)
    if isinstance(made[0], DeepseekError):
        raise made[0]
    assert made[0] is not None
    return made[0], leads
