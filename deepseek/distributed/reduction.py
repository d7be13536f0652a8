"""The mean of gradients over replicas, for modules that no wrapper reduces."""

from collections.abc import Iterable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["mean_gradients"]

_BUCKET_BYTES = 25 * 2**20  # as large as DistributedDataParallel's


def mean_gradients(parameters: Iterable[Tensor], group: dist.ProcessGroup) -> None:
    """Replace each gradient by its mean over the group.

    Args:
        parameters: The same on every process; those without a gradient are left out.
        group: The replicas.
    """
    pending = []
    for grads in _buckets(p.grad for p in parameters if p.grad is not None):
        flat = torch.cat([grad.flatten() for grad in grads])
        pending.append((grads, flat, dist.all_reduce(flat, group=group, async_op=True)))
    for grads, flat, work in pending:
        work.wait()
        means = torch.split(flat.div_(group.size()), [grad.numel() for grad in grads])
        torch._foreach_copy_(grads, [m.view_as(g) for m, g in zip(means, grads, strict=True)])


def _buckets(grads: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Gradients of one dtype, in their order, up to the size of a bucket."""
    bucket: list[Tensor] = []
    size = 0
    for grad in grads:
        full = size + grad.nbytes > _BUCKET_BYTES
        if bucket and (full or grad.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(grad)
        size += grad.nbytes
    if bucket:
        yield bucket
