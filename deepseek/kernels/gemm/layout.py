"""How a weight lies in memory for the kernels.

A weight ``(N, K)`` becomes panels of as many rows as the tile has columns. Within a panel, K runs
slowest; each step holds, for every column, the 4 bytes that belong together:

    [N / columns][K / group][columns][group]

Rows beyond N and values beyond K are zeros.
"""

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels.gemm.quantized import QuantizedWeight, padded_to, panel_bytes, read_panels
from deepseek.kernels.gemm.spec import FORMATS, ROUNDINGS, Format, tile_for
from deepseek.kernels.later import Later
from deepseek.kernels.pages import lasting
from deepseek.kernels.target import Target, current

__all__ = ["PackedWeight", "check_panels", "pack_panels", "pack_weight", "unpack_panels"]

_GROUPS = {torch.float32: 1, torch.bfloat16: 2}

_Calls = dict[Hashable, Callable[..., Tensor]]

_calls: dict[Hashable, _Calls] = {}


class PackedWeight:
    """A weight in panels, for one target; none of it changes.

    Attributes:
        features: N, the rows of the weight.
        depth: K, the values a row.
        target: The processor whose tile the panels fit.
        format: Of a quantized weight, the format whose panels these are; otherwise empty, and the
            format follows from the dtypes.
        rounding: Of a quantized weight, how activations are quantized to be multiplied with it.
        dtype: Of the weight; bytes if it is quantized.
        calls: Prepared calls by the forms of their tensors, which :func:`linear` keeps here; all
            weights of one kind share them, as a model's layers do. There are none while torch
            traces with symbols for sizes.
    """

    __slots__ = (
        "_panels", "calls", "depth", "dtype", "features", "format", "rounding", "target",
    )  # fmt: skip

    def __init__(
        self,
        panels: Tensor | Later[Tensor],
        features: int,
        depth: int,
        target: Target,
        format: str = "",  # noqa: A002 - the field's word
        rounding: str = "",
        dtype: torch.dtype | None = None,
    ) -> None:
        """A weight whose panels are there, or will be: then ``dtype`` says what they hold."""
        self._panels = panels
        self.features = features
        self.depth = depth
        self.target = target
        self.format = format
        self.rounding = rounding
        self.dtype = dtype or self.panels.dtype
        kind = (self.dtype, features, depth, target, format, rounding)
        known = isinstance(features, int) and isinstance(depth, int)
        self.calls: _Calls = _calls.setdefault(kind, {}) if known else {}

    def __repr__(self) -> str:
        """The kind of weight it is, not its numbers."""
        kind = self.format or str(self.dtype).removeprefix("torch.")
        return f"PackedWeight({self.features}, {self.depth}, {kind!r}, {self.rounding!r})"

    @property
    def panels(self) -> Tensor:
        """``(panels, steps, columns, group)``, or ``(panels, bytes)`` of a quantized weight.

        Aligned to 64 bytes. If they are still being written, they are waited for.
        """
        made = self._panels
        return made() if isinstance(made, Later) else made

    def moved(self, panels: Tensor) -> "PackedWeight":
        """The same weight, whose panels lie elsewhere."""
        kind = self.features, self.depth, self.target, self.format, self.rounding
        return PackedWeight(panels, *kind)

    def format_for(self, x: torch.dtype) -> Format:
        """The format of the product with activations of a dtype."""
        if self.format:
            return FORMATS[self.format]
        if self.dtype == torch.float32:
            return FORMATS["fp32"]
        native = x == torch.bfloat16 and self.target.bf16
        return FORMATS["bf16" if native else "mixed"]

    def unpack(self) -> Tensor:
        """The weight as it was, ``(N, K)``; the numbers that its integers stand for, in fp32."""
        if self.format:
            return self.quantized().numbers()
        return unpack_panels(self.panels, self.features, self.depth)

    def quantized(self) -> QuantizedWeight:
        """The integers and scales of a quantized weight."""
        columns = tile_for(self.target).columns
        return read_panels(self.panels, self.features, self.depth, self.format, columns)

    def dispatch(self, x: Tensor, *operands: Any) -> Tensor:
        """The linear layer as an operator of torch; operands as :func:`linear` has them."""
        from deepseek.kernels import ops

        layer: Callable[..., Tensor] = ops.quantized_linear if self.format else ops.linear
        kind = (self.format, self.rounding) if self.format else ()
        return layer(x, self.panels, self.features, *kind, *operands)


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


def check_panels(weight: PackedWeight) -> None:
    """Refuse panels of other sizes than the weight's: kernels would read beyond their end.

    Raises:
        InputError: They are, or the weight's format or rounding is unknown.
    """
    columns = tile_for(weight.target).columns
    count = -(-weight.features // columns)
    expected: tuple[int, ...]
    if not weight.format:
        group = _GROUPS.get(weight.dtype, 1)
        expected = (count, -(-weight.depth // group), columns, group)
    elif weight.format not in FORMATS or weight.rounding not in ROUNDINGS:
        raise InputError(
            f"expected a format of {tuple(FORMATS)} and a rounding of {tuple(ROUNDINGS)}, got "
            f"{weight.format!r} and {weight.rounding!r}"
        )
    else:
        expected = (count, panel_bytes(FORMATS[weight.format], columns, weight.depth))
    if tuple(weight.panels.shape) != expected:
        raise InputError(f"expected panels of {expected}, got {tuple(weight.panels.shape)}")


def pack_panels(weight: Tensor, columns: int) -> Tensor:
    """The panels of a weight ``(N, K)``: ``(panels, steps, columns, group)``."""
    if weight.dim() != 2:
        raise InputError(f"expected a weight of two dimensions, got shape {tuple(weight.shape)}")
    if weight.dtype not in _GROUPS:
        raise InputError(f"expected a weight of float32 or bfloat16, got {weight.dtype}")
    group = _GROUPS[weight.dtype]
    n, k = weight.shape
    panels, steps = -(-n // columns), -(-k // group)
    padded = padded_to(weight, panels * columns, steps * group)
    if not padded.numel():
        return padded.view(panels, steps, columns, group)
    words = padded.view(torch.float32).view(panels, columns, steps)  # a group is 4 bytes
    return lasting(words.transpose(1, 2)).view(weight.dtype).view(panels, steps, columns, group)


def unpack_panels(panels: Tensor, features: int, depth: int) -> Tensor:
    """The weight ``(N, K)`` that panels were made of."""
    count, steps, columns, group = panels.shape
    padded = panels.permute(0, 2, 1, 3).reshape(count * columns, steps * group)
    return padded[:features, :depth]
