"""How a quantized weight lies in memory for the kernels, in plain PyTorch.

A weight ``(N, K)`` of integers becomes panels of bytes, one for as many rows as the tile has
columns. What it takes to read the integers as numbers stands where it is needed, so that a panel is
read from its beginning to its end:

    int8     [K / group][columns][group] integers, [columns] scales, [columns] sums of the integers
    grouped  for every group of K: [group / 8][columns] words of eight 4-bit integers, or
             [group / 2][columns][2] of 8 bits; [columns] scales; [columns] zero points, if any

Of a word of eight, the lower half holds the integers 0, 2, 4, 6 from the lowest bit on, the upper
half the others: a pair lies in the two halves of a lane. Rows beyond N and values beyond K are
zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.kernels.gemm.spec import FORMATS, Format, GroupedFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["QuantizedWeight", "panel_bytes", "read_panels", "write_panels"]

_SCALES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_SHIFTS = tuple(16 * (value % 2) + 4 * (value // 2) for value in range(8))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class QuantizedWeight:
    """A weight as integers: ``(integers - zeros) * scales``, each scale for a group of values.

    Attributes:
        integers: ``(N, K)``, int8.
        scales: ``(N, groups)``.
        zeros: ``(N, groups)``, or None where zero is zero.
        group_size: Values of K that share a scale; K if a row has one.
    """

    integers: Tensor
    scales: Tensor
    zeros: Tensor | None
    group_size: int

    def numbers(self) -> Tensor:
        """The weight in fp32, ``(N, K)``."""
        shifted = self.integers.float()
        if self.zeros is not None:
            shifted = shifted - self._spread(self.zeros)
        return shifted * self._spread(self.scales)

    def _spread(self, values: Tensor) -> Tensor:
        wide = values.float().repeat_interleave(max(1, self.group_size), dim=1)
        return wide[:, : self.integers.shape[1]]


def panel_bytes(scheme: Format, columns: int, k: int) -> int:
    """Bytes of a panel."""
    return columns * (scheme.steps(k)[0] * scheme.word + scheme.footer)


def write_panels(weight: QuantizedWeight, format_name: str, columns: int) -> Tensor:
    """The panels of a weight, ``(panels, bytes)``."""
    scheme = FORMATS[format_name]
    n, k = weight.integers.shape
    panels, steps = -(-n // columns), scheme.steps(k)[0]
    padded = weight.integers.new_zeros(panels * columns, steps * scheme.group)
    padded[:n, :k] = weight.integers
    # A 4-bit integer without a zero point is stored with one of 8.
    if isinstance(scheme, GroupedFormat) and scheme.bits == 4 and weight.zeros is None:
        padded += 8
    grid = padded.view(panels, columns, steps, scheme.group).transpose(1, 2)
    scales = _a_column(weight.scales, panels, columns)
    if not isinstance(scheme, GroupedFormat):
        ordered = grid.reshape(panels, steps * columns * scheme.group)
        sums = padded.view(panels, columns, -1).sum(-1, dtype=torch.int32)
        footer = (scales[:, 0].float(), sums)
        return _joined((ordered, *footer)).contiguous()

    words = _nibbles(grid) if scheme.bits == 4 else _pairs(grid)
    parts = [words, scales.to(_SCALES[scheme.scales])]
    if weight.zeros is not None:
        parts.append(_a_column(weight.zeros, panels, columns).bfloat16())
    return _joined(parts).reshape(panels, -1).contiguous()


def read_panels(panels: Tensor, n: int, k: int, format_name: str, columns: int) -> QuantizedWeight:
    """The weight ``(n, k)`` that panels of so many columns were made of."""
    scheme = FORMATS[format_name]
    count, steps = panels.shape[0], scheme.steps(k)[0]
    if not isinstance(scheme, GroupedFormat):
        parts = panels.split([steps * columns * scheme.group, 4 * columns, 4 * columns], dim=1)
        integers = parts[0].view(torch.int8).view(count, steps, columns, scheme.group)
        scales = parts[1].contiguous().view(torch.float32).reshape(-1, 1)
        return QuantizedWeight(
            integers=integers.transpose(1, 2).reshape(count * columns, -1)[:n, :k],
            scales=scales[:n], zeros=None, group_size=k,
        )  # fmt: skip

    stored = panels.view(count * steps, columns * scheme.word)
    scale_type = _SCALES[scheme.scales]
    sizes = [columns * scheme.group * scheme.bits // 8, columns * scale_type.itemsize]
    words, scales, *zeros = stored.split([*sizes, *([2 * columns] * scheme.zeros)], dim=1)
    values = _from_nibbles(words, columns) if scheme.bits == 4 else _from_pairs(words, columns)
    integers = values.view(count, steps, columns, scheme.group).transpose(1, 2)
    integers = integers.reshape(count * columns, -1)[:n, :k]

    def rows(part: Tensor, dtype: torch.dtype) -> Tensor:
        grid = part.contiguous().view(dtype).view(count, steps, columns)
        return grid.transpose(1, 2).reshape(-1, steps)[:n]

    if scheme.bits == 4 and not zeros:
        integers = integers - 8
    return QuantizedWeight(
        integers=integers, scales=rows(scales, scale_type),
        zeros=rows(zeros[0], torch.bfloat16) if zeros else None, group_size=scheme.group,
    )  # fmt: skip


def _a_column(values: Tensor, panels: int, columns: int) -> Tensor:
    """``(N, groups)`` as ``(panels, groups, columns)``."""
    padded = values.new_zeros(panels * columns, values.shape[1])
    padded[: values.shape[0]] = values
    return padded.view(panels, columns, -1).transpose(1, 2)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """The bytes of the parts' last dimensions, one after the other."""
    return torch.cat([part.contiguous().view(torch.uint8) for part in parts], dim=-1)


def _pairs(grid: Tensor) -> Tensor:
    """``(panels, groups, columns, size)`` to ``(panels, groups, size / 2 x columns x 2)``."""
    pairs = grid.unflatten(-1, (-1, 2)).transpose(2, 3)
    return pairs.flatten(2)


def _from_pairs(words: Tensor, columns: int) -> Tensor:
    """``(groups, bytes)`` to ``(groups, columns, size)``."""
    return words.view(torch.int8).unflatten(-1, (-1, columns, 2)).transpose(1, 2).flatten(2)


def _nibbles(grid: Tensor) -> Tensor:
    """``(panels, groups, columns, size)`` to ``(panels, groups, size / 8 x columns)`` words."""
    eights = grid.unflatten(-1, (-1, 8)).transpose(2, 3).int()
    shifts = torch.tensor(_SHIFTS, dtype=torch.int32, device=grid.device)
    # Sums wrap where the highest nibble takes the sign bit: the bits are right.
    return (eights << shifts).sum(-1, dtype=torch.int32).flatten(2)


def _from_nibbles(words: Tensor, columns: int) -> Tensor:
    """``(groups, bytes)`` to ``(groups, columns, size)``."""
    lanes = words.contiguous().view(torch.int32).unflatten(-1, (-1, columns, 1))
    shifts = torch.tensor(_SHIFTS, dtype=torch.int32, device=words.device)
    return ((lanes >> shifts) & 15).to(torch.int8).transpose(1, 2).flatten(2)
