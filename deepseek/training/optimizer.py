"""Optimizers: a table from name to constructor, and which parameters decay."""

from collections.abc import Callable, Iterable
from math import inf
from typing import Any

import torch
from torch.nn import Parameter

from deepseek.distributed import Mesh, clip_grad_norm
from deepseek.training.config import OptimizerConfig

__all__ = ["clip_gradients", "optimizer_settings", "parameter_groups", "set_rate"]


def parameter_groups(parameters: Iterable[Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices, which decay, and vectors (biases, norms), which do not; no group is empty."""
    trained = [p for p in parameters if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next step use this learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


_Settings = tuple[type[torch.optim.Optimizer], dict[str, Any]]


def optimizer_settings(config: OptimizerConfig) -> _Settings:
    """The class of the optimizer and its arguments besides the parameters."""
    kind, options = _KINDS[config.name](config)
    return kind, {"lr": config.lr, **options, **_KERNELS[config.kernel]}


def _adamw(config: OptimizerConfig) -> _Settings:
    return torch.optim.AdamW, {"betas": (config.beta1, config.beta2), "eps": config.eps}


def _sgd(config: OptimizerConfig) -> _Settings:
    return torch.optim.SGD, {"momentum": config.momentum}


_KINDS: dict[str, Callable[[OptimizerConfig], _Settings]] = {"adamw": _adamw, "sgd": _sgd}

_KERNELS: dict[str, dict[str, bool]] = {
    "auto": {"fused": True},  # without a word torch takes its slowest form on CPU
    "fused": {"fused": True},
    "foreach": {"foreach": True},
    "plain": {"foreach": False, "fused": False},
}


def clip_gradients(
    optimizer: torch.optim.Optimizer, limit: float, scale: float, mesh: Mesh
) -> float:
    """Undo the scale of the loss, and shorten the gradient to ``limit``.

    Args:
        optimizer: The optimizer of the parameters.
        limit: The largest norm; 0 only measures.
        scale: What the loss was multiplied by.
        mesh: Where this process stands.

    Returns:
        The norm before it was shortened, without the scale.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients = [p.grad for p in parameters if p.grad is not None]
    if scale != 1.0:
        torch._foreach_mul_(gradients, 1.0 / scale)
    return float(clip_grad_norm(parameters, limit or inf, mesh))
