"""What the nodes of a rewritten graph call: kernels with their weights, as callable objects.

Each takes tensors alone, whatever their sizes, and goes to the kernel directly: no autograd, no
dispatcher. :func:`describe` tells of each in words for reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from deepseek.kernels.attend.launch import run_forward
from deepseek.kernels.gemm import linear
from deepseek.kernels.memory import empty
from deepseek.kernels.rows.embeddings import run_embedding
from deepseek.kernels.rows.norms import run_norm
from deepseek.kernels.rows.rotation import run_rotary
from deepseek.kernels.rows.softmaxes import run_softmax

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from deepseek.kernels.gemm import PackedWeight

__all__ = [
    "Attention", "Chain", "Embedding", "Linear", "Norm", "Operator", "Patches", "Rotary", "Softmax",
]  # fmt: skip


class Operator:
    """A callable that can be the target of a node: torch.fx asks functions for their names."""

    @property
    def __name__(self) -> str:
        return type(self).__qualname__.lower()

    def describe(self) -> str:
        """The operator and what is fused into it."""
        return self.__name__


@dataclass(frozen=True, slots=True, eq=False)
class Linear(Operator):
    """``act(x @ weight.T + bias) * multiply + residual``, in another dtype than ``x`` if given."""

    weight: PackedWeight
    bias: Tensor | None = None
    activation: str | None = None
    dtype: torch.dtype | None = None

    def __call__(
        self,
        x: Tensor,
        residual: Tensor | None = None,
        multiply: Tensor | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """``(..., K)`` to ``(..., N)``; the others are of that shape."""
        if out is None and self.dtype is not None:
            out = empty((*x.shape[:-1], self.weight.features), self.dtype)
        return linear(x, self.weight, self.bias, self.activation, residual, multiply, out)

    def describe(self) -> str:
        """The number format, the sizes, and what is fused into it."""
        kind = self.weight.format or str(self.weight.dtype).removeprefix("torch.")
        parts = [f"linear {kind} {self.weight.depth}x{self.weight.features}"]
        parts += ["bias"] if self.bias is not None else []
        return " + ".join(parts + ([self.activation] if self.activation else []))


_BETWEEN = 8 << 20
"""Bytes of what lies between two layers of a chain: more do not fit into caches."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain(Operator):
    """``second(first(x), residual)``, some rows at a time where what lies between is large."""

    first: Linear
    second: Linear

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """``(..., K)`` to ``(..., N)``, which is the residual's shape too."""
        rows, dtype = prod(x.shape[:-1]), self.first.dtype or x.dtype
        parts = -(-rows * self.first.weight.features * dtype.itemsize // _BETWEEN)
        if parts < 2:
            return self.second(self.first(x), residual)
        dtype = self.second.dtype or dtype
        out = empty((*x.shape[:-1], self.second.weight.features), dtype)
        step = -(-rows // parts)
        x, flat = x.flatten(0, -2), out.flatten(0, -2)
        added = None if residual is None else residual.flatten(0, -2)
        for begin in range(0, rows, step):
            end = begin + step
            between = self.first(x[begin:end])
            part = None if added is None else added[begin:end]
            self.second(between, part, out=flat[begin:end])
        return out

    def describe(self) -> str:
        """Both layers."""
        return f"{self.first.describe()} -> {self.second.describe()}"


@dataclass(frozen=True, slots=True, eq=False)
class Attention(Operator):
    """``softmax(q @ k.T * scale + mask) @ v`` of four dimensions, or of three as one batch."""

    causal: bool = False
    scale: float | None = None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """As :func:`deepseek.kernels.attention`, without the log-sum-exp."""
        if q.dim() == 3:
            lifted = None if mask is None else mask[None] if mask.dim() == 3 else mask
            return self(q[None], k[None], v[None], lifted)[0]
        return run_forward(q, k, v, mask, self.causal, self.scale)[0]


@dataclass(frozen=True, slots=True, eq=False)
class Norm(Operator):
    """Layer norm, or RMS norm where it is not ``centered``, of ``x`` or of ``x + residual``."""

    weight: Tensor | None
    bias: Tensor | None
    eps: float
    centered: bool = True
    dtype: torch.dtype | None = None

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Rows of the last dimension."""
        return run_norm(
            self.centered, False, x, self.weight, self.bias, self.eps, residual, None, self.dtype
        )[0]

    def describe(self) -> str:
        """Which of the two."""
        return "layer norm" if self.centered else "rms norm"


@dataclass(frozen=True, slots=True, eq=False)
class Softmax(Operator):
    """Softmax over the last dimension, or its logarithm."""

    logarithm: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """Rows of the last dimension."""
        return run_softmax(self.logarithm, x, None, None, 1.0, None)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding(Operator):
    """The sum of rows of tables, normalized where ``eps`` is given."""

    tables: tuple[Tensor, ...]
    weight: Tensor | None = None
    bias: Tensor | None = None
    eps: float | None = None

    def __call__(self, *ids: Tensor) -> Tensor:
        """A tensor of ids for each table."""
        return run_embedding(ids, self.tables, self.weight, self.bias, self.eps, None)

    def describe(self) -> str:
        """How many tables, and whether a norm follows."""
        kind = f"embedding of {len(self.tables)} tables"
        return kind if self.eps is None else f"{kind} + layer norm"


@dataclass(frozen=True, slots=True, eq=False)
class Rotary(Operator):
    """Queries and keys turned by the angles whose cosines and sines are ``(B, N, D)``."""

    def __call__(self, q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Heads ``(B, H, N, D)``."""
        half = cos.shape[-1] // 2
        batch, tokens = q.shape[0], q.shape[2]
        cos, sin = (x[..., :half].expand(batch, tokens, half) for x in (cos, sin))
        return run_rotary(q, k, cos, sin, None, False)


@dataclass(frozen=True, slots=True, eq=False)
class Patches(Operator):
    """A linear layer on the patches of an image, each all its channels' pixels."""

    weight: PackedWeight
    size: tuple[int, int]
    bias: Tensor | None = None

    def __call__(self, image: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, patches, N)``; pixels of no whole patch are left out."""
        height, width = self.size
        patches = image.unfold(2, height, height).unfold(3, width, width)
        rows = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        return linear(rows, self.weight, self.bias)

    def describe(self) -> str:
        """The sizes."""
        height, width = self.size
        return f"patches of {height}x{width} + linear {self.weight.depth}x{self.weight.features}"
