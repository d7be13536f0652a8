"""The norm of all gradients, wherever their parts lie."""

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.utils import get_total_norm

from deepseek.distributed.mesh import Mesh
from deepseek.distributed.ties import is_copy, local

__all__ = ["clip_grad_norm"]

_EPSILON = 1e-6  # as torch.nn.utils.clip_grad_norm_ has it


def clip_grad_norm(parameters: Iterable[Tensor], max_norm: float, mesh: Mesh) -> Tensor:
    """Scale gradients so that the norm of the whole model's gradient is at most ``max_norm``.

    Every process of the mesh calls this at the same time with its own parameters.

    Args:
        parameters: What this process holds: its shards of its stages.
        max_norm: Largest Euclidean norm; infinite only measures.
        mesh: Where this process stands.

    Returns:
        The norm before, a scalar, the same on every process.
    """
    held = [(p, local(p.grad)) for p in parameters if p.grad is not None]
    grads = [grad for _, grad in held]
    counted = [grad for parameter, grad in held if not is_copy(parameter)]
    device = grads[0].device if grads else torch.device(mesh.device_type)
    total = torch.zeros((), device=device)
    if counted:
        total += get_total_norm(counted).float().square()
    for dim in ("shard", "stage"):
        group = mesh.group(dim)
        if group is not None:
            dist.all_reduce(total, group=group)
    norm = total.sqrt()
    if max_norm != float("inf") and grads:
        scale = (max_norm / (norm + _EPSILON)).clamp(max=1.0)
        torch._foreach_mul_(grads, scale)  # as torch's own clipping does
    return norm
