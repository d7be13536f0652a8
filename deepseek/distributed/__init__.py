"""One model trained by several processes: start them, lay them out, shard, split, reduce.

Public names are imported on first use: `deepseek.distributed.layout`, which holds every choice a
user can make, costs no import of torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.distributed.clip import clip_grad_norm
    from deepseek.distributed.launcher import launch
    from deepseek.distributed.layout import Layout, Schedule, Strategy, Wire, micro_batches
    from deepseek.distributed.mesh import Mesh, all_reduce_mean, barrier, is_leader, seed_rank
    from deepseek.distributed.pipeline import PipelineRunner, owned_stages, stage_count
    from deepseek.distributed.sharding import gradient_sync, optimizer_for, shard
    from deepseek.distributed.stages import split

_HOMES = {
    "Layout": "layout",
    "Mesh": "mesh",
    "PipelineRunner": "pipeline",
    "Schedule": "layout",
    "Strategy": "layout",
    "Wire": "layout",
    "all_reduce_mean": "mesh",
    "barrier": "mesh",
    "clip_grad_norm": "clip",
    "gradient_sync": "sharding",
    "is_leader": "mesh",
    "launch": "launcher",
    "micro_batches": "layout",
    "optimizer_for": "sharding",
    "owned_stages": "pipeline",
    "seed_rank": "mesh",
    "shard": "sharding",
    "split": "stages",
    "stage_count": "pipeline",
}

__all__ = [
    "Layout",
    "Mesh",
    "PipelineRunner",
    "Schedule",
    "Strategy",
    "Wire",
    "all_reduce_mean",
    "barrier",
    "clip_grad_norm",
    "gradient_sync",
    "is_leader",
    "launch",
    "micro_batches",
    "optimizer_for",
    "owned_stages",
    "seed_rank",
    "shard",
    "split",
    "stage_count",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepseek.distributed' has no attribute {name!r}")
    return getattr(import_module(f"deepseek.distributed.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
