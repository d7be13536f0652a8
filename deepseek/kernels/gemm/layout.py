"""How a weight lies in memory for the kernels.

A weight ``(N, K)`` becomes panels of as many rows as the tile has columns. Within a panel, K runs
slowest; each step holds, for every column, the 4 bytes that belong together:

    [N / columns][K / group][columns][group]

Rows beyond N and values beyond K are zeros.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels.gemm.spec import tile_for
from deepseek.kernels.target import Target, current

__all__ = ["PackedWeight", "pack_panels", "pack_weight", "unpack_panels"]

_GROUPS = {torch.float32: 1, torch.bfloat16: 2}


@dataclass(frozen=True, slots=True, eq=False)
class PackedWeight:
    """A weight in panels, for one target.

    Attributes:
        panels: ``(panels, steps, columns, group)``, aligned to 64 bytes.
        features: N, the rows of the weight.
        depth: K, the values a row.
        target: The processor whose tile the panels fit.
        calls: Prepared calls by the forms of their tensors, which :func:`linear` keeps here.
    """

    panels: Tensor
    features: int
    depth: int
    target: Target
    calls: dict[Hashable, Callable[..., Tensor]] = field(default_factory=dict, repr=False)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weight."""
        return self.panels.dtype

    def unpack(self) -> Tensor:
        """The weight as it was, ``(N, K)``."""
        return unpack_panels(self.panels, self.features, self.depth)


def pack_weight(weight: Tensor, target: Target | None = None) -> PackedWeight:
    """Lay out a linear layer's weight for :func:`~deepseek.kernels.gemm.linear`.

    Args:
        weight: ``(N, K)``, fp32 or bf16, as :class:`torch.nn.Linear` has it.
        target: The processor to pack for; the process's target unless given.

    Raises:
        InputError: The weight has another shape or dtype.
    """
    chosen = target or current()
    panels = pack_panels(weight.detach(), tile_for(chosen).columns)
    return PackedWeight(panels, weight.shape[0], weight.shape[1], chosen)


def pack_panels(weight: Tensor, columns: int) -> Tensor:
    """The panels of a weight ``(N, K)``: ``(panels, steps, columns, group)``."""
    if weight.dim() != 2:
        raise InputError(f"expected a weight of two dimensions, got shape {tuple(weight.shape)}")
    if weight.dtype not in _GROUPS:
        raise InputError(f"expected a weight of float32 or bfloat16, got {weight.dtype}")
    group = _GROUPS[weight.dtype]
    n, k = weight.shape
    panels, steps = -(-n // columns), -(-k // group)
    padded = weight.new_zeros(panels * columns, steps * group)
    padded[:n, :k] = weight
    grouped = padded.view(panels, columns, steps, group)
    return grouped.permute(0, 2, 1, 3).contiguous()


def unpack_panels(panels: Tensor, features: int, depth: int) -> Tensor:
    """The weight ``(N, K)`` that panels were made of."""
    count, steps, columns, group = panels.shape
    padded = panels.permute(0, 2, 1, 3).reshape(count * columns, steps * group)
    return padded[:features, :depth]
