"""What each part of a model takes in time, measured once for a run and kept in its folder.

Measured times differ a little each time, and with them where stages are cut and how sums round: so
a run that is resumed goes on with those that it began with.
"""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from deepseek.distributed import measure_costs
from deepseek.distributed.costs import Costs
from deepseek.training.adapt import adapt, device_of
from deepseek.training.config import TrainConfig
from deepseek.training.data.prepared import Prepared
from deepseek.training.layout import layout_of, share_of
from deepseek.training.model import ModelSource, build_model
from deepseek.training.precision import autocast
from deepseek.training.quiet import quiet_transformers
from deepseek.training.tasks import TASKS

__all__ = ["stage_costs"]


def stage_costs(
    config: TrainConfig, source: ModelSource, data: Prepared, world: int, kept: Path
) -> Costs | None:
    """Costs to cut the stages by; None where weights are counted instead.

    Args:
        config: The run.
        source: The model.
        data: The records.
        world: Processes of the run.
        kept: Where a run that began has them.
    """
    if config.pipeline_stages == 1 or config.pipeline_balance == "weights":
        return None
    if config.resume and kept.is_file():
        found = json.loads(kept.read_text(encoding="utf-8"))
        return Costs(found["entrance"], tuple(found["blocks"]), found["exit"])
    costs = _measured(config, source, data, world)
    kept.write_text(json.dumps(asdict(costs)) + "\n", encoding="utf-8")
    return costs


def _measured(config: TrainConfig, source: ModelSource, data: Prepared, world: int) -> Costs:
    """Seconds of a micro-batch in each part; weights need not be the real ones."""
    share = share_of(config, layout_of(config, world))
    device = device_of(config, 0)
    task = TASKS[config.task](data.vocabulary, config.seed)
    records = data.train.open(pad=data.pad, longest=data.longest)
    ids = np.arange(share.rows // share.parts) % len(records)
    inputs, _ = task.prepare(records.gather(ids), torch.from_numpy(ids))
    with torch.random.fork_rng(), quiet_transformers(), autocast(config.precision, device):
        model = build_model(replace(source, weights=None), task.auto_class, data.settings)
        adapt(model, replace(config, compile="none"))
        model.to(device).train()
        return measure_costs(model, {name: tensor.to(device) for name, tensor in inputs.items()})
