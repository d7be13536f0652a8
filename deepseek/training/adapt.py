"""What is done to a model before it is laid out: recompute activations, compile its blocks."""

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from deepseek.distributed.anatomy import block_lists
from deepseek.errors import InputError
from deepseek.training.compilation import check_compiler, compile_modules
from deepseek.training.config import TrainConfig

__all__ = ["adapt", "device_of"]


def device_of(config: TrainConfig, local_rank: int) -> torch.device:
    """Where this process computes.

    Raises:
        InputError: A GPU was asked for and there is none.
    """
    if config.device == "cpu" or not torch.cuda.is_available():
        if config.device == "cuda":
            raise InputError("expected a GPU for --device cuda, found none", hint="--device cpu")
        return torch.device("cpu")
    return torch.device("cuda", local_rank % torch.cuda.device_count())


def adapt(model: nn.Module, config: TrainConfig) -> None:
    """Change the model in place as configured.

    Raises:
        InputError: The model cannot recompute activations, or there is no compiler.
    """
    config_of_model: Any = getattr(model, "config", None)
    if getattr(config_of_model, "use_cache", False):
        # Keys and values of past tokens: nobody asks for them, and as each block has its own place
        # in them, no two blocks would share a compilation.
        config_of_model.use_cache = False
    if config.compile != "none":
        check_compiler(config.compile)
        compile_modules(_blocks(model) or [model], config.compile)
    if config.gradient_checkpointing:
        _recompute(model)  # around what is compiled: torch's compiler leaves recomputation alone


def _recompute(model: nn.Module) -> None:
    blocks = _blocks(model)
    if not blocks:
        raise InputError(
            f"expected a model with a list of blocks to recompute, found none in "
            f"{type(model).__name__}",
            hint="leave out --gradient_checkpointing",
        )
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _blocks(model: nn.Module) -> list[nn.Module]:
    return [block for blocks in block_lists(model).values() for block in blocks]
