"""The norm of all gradients, wherever their parts lie."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from deepseek.distributed.mesh import Mesh

__all__ = ["clip_grad_norm"]


def clip_grad_norm(
    parameters: Iterable[torch.Tensor], max_norm: float, mesh: Mesh
) -> torch.Tensor:
    """Scale gradients so that the norm of the whole model's gradient is at most ``max_norm``.

    Args:
        parameters: This process's parameters: every stage and shard gives its own.
        max_norm: Largest Euclidean norm; infinite only measures.
        mesh: Where this process stands.

    Returns:
        The norm before, the same on every process.
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    local = [grad.to_local() if isinstance(grad, DTensor) else grad for grad in grads]
    total = torch.stack([grad.float().square().sum() for grad in local]).sum()
    for dim in ("shard", "stage"):
        group = mesh.group(dim)
        if group is not None:
            dist.all_reduce(total, group=group)
    norm = total.sqrt()
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for grad in local:
        grad.mul_(scale)
    return norm
