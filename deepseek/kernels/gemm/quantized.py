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
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.kernels.calls import needs_torch
from deepseek.kernels.gemm.spec import FORMATS, Format, GroupedFormat
from deepseek.kernels.pages import lasting_cat, lasting_empty

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "INT8_WORDS", "QuantizedWeight", "int8_panels", "padded_to", "panel_bytes", "read_panels",
    "write_panels",
]  # fmt: skip

_SCALES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
INT8_WORDS = {2: torch.int16, 4: torch.int32}
"""So many int8 as one, by the values of a step: copied four times as fast."""


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


def padded_to(weight: Tensor, rows: int, width: int) -> Tensor:
    """A weight with zeros up to so many rows and columns, laid out so that 4 bytes can be a word.

    It is the weight itself where it is so already.
    """
    if (
        weight.shape == (rows, width)
        and weight.is_contiguous()
        and weight.storage_offset() % 4 == 0
    ):
        return weight
    padded = weight.new_zeros(rows, width)
    padded[: weight.shape[0], : weight.shape[1]] = weight
    return padded


def write_panels(weight: QuantizedWeight, format_name: str, columns: int) -> Tensor:
    """The panels of a weight, ``(panels, bytes)``."""
    scheme = FORMATS[format_name]
    n, k = weight.integers.shape
    panels, steps = -(-n // columns), scheme.steps(k)[0]
    padded = padded_to(weight.integers, panels * columns, steps * scheme.group)
    if _has_hidden_zero(scheme):
        padded = padded + 8
    if not isinstance(scheme, GroupedFormat):
        words = padded.view(INT8_WORDS[scheme.group]) if steps else padded
        # exact in fp32, whose sums are three times as fast: below 2 ** 24, as K is limited
        return int8_panels(words, weight.scales, padded.float().sum(1, keepdim=True), columns)

    groups = padded.view(panels, columns, steps, scheme.group).transpose(1, 2)
    parts = [
        _in_nibbles(groups) if scheme.bits == 4 else _in_pairs(groups),
        _by_panel(weight.scales, panels, columns).to(_SCALES[scheme.scales]),
    ]
    if weight.zeros is not None:
        parts.append(_by_panel(weight.zeros, panels, columns).bfloat16())
    return _joined(parts).view(panels, panel_bytes(scheme, columns, k))


def int8_panels(words: Tensor, scales: Tensor, sums: Tensor, columns: int) -> Tensor:
    """The panels of an int8 weight, from what belongs to a row.

    Args:
        words: ``(N, steps)``, the integers of a step as one; zeros after the last of a row.
        scales: ``(N, 1)``.
        sums: ``(N, 1)``, of the integers, whole numbers of any dtype.
        columns: Rows a panel.
    """
    panels = -(-words.shape[0] // columns)
    parts = [_by_panel(each, panels, columns) for each in (words, scales.float(), sums.int())]
    widths = [prod(part.shape[1:]) * part.dtype.itemsize for part in parts]
    size = panels, sum(widths)
    torch_sees = needs_torch(*parts)
    whole = (
        words.new_empty(size, dtype=torch.uint8) if torch_sees else lasting_empty(size, torch.uint8)
    )
    for part, place in zip(parts, torch.split(whole, widths, dim=1), strict=True):
        place.view(part.dtype).view(part.shape).copy_(part)
    return whole


def read_panels(panels: Tensor, n: int, k: int, format_name: str, columns: int) -> QuantizedWeight:
    """The weight ``(n, k)`` that panels of so many columns were made of."""
    scheme = FORMATS[format_name]
    count, steps = panels.shape[0], scheme.steps(k)[0]
    if not isinstance(scheme, GroupedFormat):
        sizes = [steps * columns * scheme.group, 4 * columns, 4 * columns]
        values, scales, _ = _parted(panels, sizes)
        groups = values.view(torch.int8).view(count, steps, columns, scheme.group)
        return QuantizedWeight(
            integers=_by_row(groups)[:n, :k],
            scales=scales.view(torch.float32).view(-1, 1)[:n],
            zeros=None,
            group_size=k,
        )

    scale_type = _SCALES[scheme.scales]
    column = [scheme.group * scheme.bits // 8, scale_type.itemsize, 2 * scheme.zeros]
    stored = panels.view(count * steps, columns * scheme.word)
    words, scales, zeros = _parted(stored, [columns * size for size in column])
    unpacked = _from_nibbles(words, columns) if scheme.bits == 4 else _from_pairs(words, columns)
    integers = _by_row(unpacked.view(count, steps, columns, scheme.group))[:n, :k]
    shape = (count, steps, columns, 1)
    return QuantizedWeight(
        integers=integers - 8 if _has_hidden_zero(scheme) else integers,
        scales=_by_row(scales.view(scale_type).view(shape))[:n],
        zeros=_by_row(zeros.view(torch.bfloat16).view(shape))[:n] if scheme.zeros else None,
        group_size=scheme.group,
    )


def _has_hidden_zero(scheme: Format) -> bool:
    """Whether integers from -8 to 7 are stored as 0 to 15."""
    return isinstance(scheme, GroupedFormat) and scheme.bits == 4 and not scheme.zeros


def _by_panel(values: Tensor, panels: int, columns: int) -> Tensor:
    """``(N, groups)`` to ``(panels, groups, columns)``, with zeros for rows that there are not."""
    rows, groups = values.shape
    if rows != panels * columns:
        padded = values.new_zeros(panels * columns, groups)
        padded[:rows] = values
        values = padded
    return values.view(panels, columns, groups).transpose(1, 2)


def _by_row(groups: Tensor) -> Tensor:
    """``(panels, groups, columns, size)`` to ``(panels x columns, groups x size)``."""
    panels, count, columns, size = groups.shape
    return groups.transpose(1, 2).reshape(panels * columns, count * size)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """The bytes of the parts' last dimensions, one after the other."""
    # An empty tensor of any strides counts as contiguous; a clone has strides that view() takes.
    plain = [part.clone(memory_format=torch.contiguous_format) for part in parts]
    return lasting_cat([part.view(torch.uint8) for part in plain])


def _parted(stored: Tensor, sizes: list[int]) -> list[Tensor]:
    """The parts of rows of bytes, each by itself."""
    parts = torch.split(stored, sizes, dim=1)
    return [part.clone(memory_format=torch.contiguous_format) for part in parts]


def _in_pairs(groups: Tensor) -> Tensor:
    """``(panels, groups, columns, size)`` to ``(panels, groups, size / 2 x columns x 2)``."""
    panels, count, columns, size = groups.shape
    pairs = groups.reshape(panels, count, columns, size // 2, 2).transpose(2, 3)
    return pairs.reshape(panels, count, columns * size)


def _from_pairs(words: Tensor, columns: int) -> Tensor:
    """``(groups, bytes)`` to ``(groups, columns, size)``."""
    groups, size = words.shape
    pairs = words.view(torch.int8).view(groups, size // (2 * columns), columns, 2).transpose(1, 2)
    return pairs.reshape(groups, columns, size // columns)


def _in_nibbles(groups: Tensor) -> Tensor:
    """``(panels, groups, columns, size)`` to ``(panels, groups, size / 8 x columns)`` words."""
    panels, count, columns, size = groups.shape
    eights = groups.reshape(panels, count, columns, size // 8, 8).transpose(2, 3).int()
    # The sum wraps where a nibble takes the sign bit; its bits are right.
    words = (eights << _shifts(groups)).sum(-1, dtype=torch.int32)
    return words.view(panels, count, size // 8 * columns)


def _from_nibbles(words: Tensor, columns: int) -> Tensor:
    """``(groups, bytes)`` to ``(groups, columns, size)``."""
    groups, size = words.shape
    lanes = words.view(torch.int32).view(groups, size // (4 * columns), columns, 1)
    values = ((lanes >> _shifts(words)) & 15).to(torch.int8).transpose(1, 2)
    return values.reshape(groups, columns, 2 * size // columns)


def _shifts(example: Tensor) -> Tensor:
    """Where the eight integers of a word begin."""
    places = [16 * (value % 2) + 4 * (value // 2) for value in range(8)]
    return torch.tensor(places, dtype=torch.int32, device=example.device)
