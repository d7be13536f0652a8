"""One model trained by several processes: start them, lay them out, shard, split, reduce.

Public names are imported on first use: `deepseek.distributed.layout`, which holds every choice a
user can make, costs no import of torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.distributed.balance import Balancer
    from deepseek.distributed.clip import clip_grad_norm
    from deepseek.distributed.costs import Costs, estimate_costs, measure_costs
    from deepseek.distributed.launcher import RankError, launch
    from deepseek.distributed.layout import Layout, Schedule, Strategy, Wire
    from deepseek.distributed.mesh import Mesh, all_reduce_mean, barrier, is_leader, seed_rank
    from deepseek.distributed.pipeline import PipelineRunner, owned_stages
    from deepseek.distributed.planning import bubble, wire_bytes
    from deepseek.distributed.reporting import report
    from deepseek.distributed.schedules import micro_batches, stage_count
    from deepseek.distributed.sharding import gradient_sync, optimizer_for, shard, unwrap
    from deepseek.distributed.stages import Stage, split
    from deepseek.distributed.state import TrainingState, restoring, training_state
    from deepseek.distributed.wire import load_wire_state, wire_state

_HOMES = {
    "Balancer": "balance",
    "Costs": "costs",
    "Layout": "layout",
    "Mesh": "mesh",
    "PipelineRunner": "pipeline",
    "RankError": "launcher",
    "Schedule": "layout",
    "Stage": "stages",
    "Strategy": "layout",
    "TrainingState": "state",
    "Wire": "layout",
    "all_reduce_mean": "mesh",
    "barrier": "mesh",
    "bubble": "planning",
    "clip_grad_norm": "clip",
    "estimate_costs": "costs",
    "gradient_sync": "sharding",
    "is_leader": "mesh",
    "launch": "launcher",
    "load_wire_state": "wire",
    "measure_costs": "costs",
    "micro_batches": "schedules",
    "optimizer_for": "sharding",
    "owned_stages": "pipeline",
    "report": "reporting",
    "restoring": "state",
    "seed_rank": "mesh",
    "shard": "sharding",
    "split": "stages",
    "stage_count": "schedules",
    "training_state": "state",
    "unwrap": "sharding",
    "wire_bytes": "planning",
    "wire_state": "wire",
}

__all__ = [
    "Balancer",
    "Costs",
    "Layout",
    "Mesh",
    "PipelineRunner",
    "RankError",
    "Schedule",
    "Stage",
    "Strategy",
    "TrainingState",
    "Wire",
    "all_reduce_mean",
    "barrier",
    "bubble",
    "clip_grad_norm",
    "estimate_costs",
    "gradient_sync",
    "is_leader",
    "launch",
    "load_wire_state",
    "measure_costs",
    "micro_batches",
    "optimizer_for",
    "owned_stages",
    "report",
    "restoring",
    "seed_rank",
    "shard",
    "split",
    "stage_count",
    "training_state",
    "unwrap",
    "wire_bytes",
    "wire_state",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepseek.distributed' has no attribute {name!r}")
    return getattr(import_module(f"deepseek.distributed.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
