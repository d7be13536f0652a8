"""Build everything once without memory, so that what cannot work is refused before it costs."""

from contextlib import nullcontext
from dataclasses import replace

import torch

from deepseek.distributed import split, stage_count
from deepseek.errors import InputError
from deepseek.training.adapt import adapt, device_of
from deepseek.training.config import TrainConfig
from deepseek.training.data.prepared import Prepared
from deepseek.training.layout import layout_of, share_of
from deepseek.training.model import ModelSource, build_model
from deepseek.training.quiet import quiet_transformers
from deepseek.training.tasks import TASKS

__all__ = ["rehearse"]


def rehearse(config: TrainConfig, source: ModelSource, data: Prepared, world: int) -> None:
    """Make task, model and stages on torch's meta device.

    Raises:
        InputError: As the run would.
    """
    layout = layout_of(config, world)
    share_of(config, layout)
    device_of(config, 0)
    _check_lengths(source, data)
    task = TASKS[config.task](data.vocabulary, config.seed)
    # Code of the user's own may not expect tensors without memory.
    place = nullcontext() if source.own else torch.device("meta")
    with quiet_transformers(), place:
        model = build_model(replace(source, weights=None), task.auto_class, data.settings)
        adapt(model, config)
        if layout.stages > 1:
            split(model, stage_count(config.pipeline_schedule, layout.stages))


def _check_lengths(source: ModelSource, data: Prepared) -> None:
    """Refuse texts that are longer than the positions a model has."""
    positions = getattr(source.config, "max_position_embeddings", None)
    for records in (data.train, data.held_out):
        tokens = records.open(longest=data.longest).widest
        if isinstance(positions, int) and tokens is not None and tokens > positions:
            raise InputError(
                f"expected records of at most {positions} tokens, as {source.name} has positions, "
                f"got {tokens}",
                hint=f"--sequence_length {positions}"
                + ("" if source.weights else f", or more of them with --model_options "
                   f"max_position_embeddings={tokens}"),
            )  # fmt: skip
