"""Runs the kernel that turns activations into rows of integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.calls import DTYPES
from deepseek.kernels.gemm.spec import HEADER, LEAD, SIZES, Format

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from deepseek.kernels.target import Target

__all__ = ["row_pitch", "row_quantizer"]

_WORTH_A_THREAD = 1 << 14  # values: about 5 us on one core
_BEYOND = 64  # bytes that the kernel's last store may write behind a row's last integer


def row_pitch(scheme: Format, k: int) -> int:
    """Bytes from a row of integers to the next: an odd number of cache lines.

    Rows at a distance of a power of two would compete for the same places of the cache.
    """
    steps, _ = scheme.steps(k)
    size = LEAD + HEADER + steps * scheme.span * SIZES[scheme.x] + _BEYOND
    return 64 * (-(-size // 64) | 1)


def row_quantizer(
    target: Target, scheme: Format, rounding: str, x: Tensor, x_stride: int
) -> Callable[[Tensor], Tensor]:
    """How to quantize activations of the form of ``x``.

    Args:
        target: The processor to make code for.
        scheme: The format whose product will read the integers.
        rounding: A key of :data:`~deepseek.kernels.gemm.spec.ROUNDINGS`.
        x: ``(..., K)`` with evenly spaced rows.
        x_stride: Elements of x from a row to the next.

    Returns:
        A function of x: memory that begins with ``rows`` times :func:`row_pitch` bytes, laid out
        as :mod:`.spec` says after :data:`~.spec.LEAD` bytes that mean nothing. The thread's next
        call writes there again.
    """
    from deepseek.kernels.gemm.rows import ARGUMENTS, build_rows
    from deepseek.kernels.jit import kernel
    from deepseek.kernels.parallel import run
    from deepseek.kernels.scratch import scratch

    k = x.shape[-1]
    count, pitch = x.shape[:-1].numel(), row_pitch(scheme, k)
    quantize = kernel(build_rows, scheme.name, rounding, DTYPES[x.dtype], target=target)
    pack = ARGUMENTS.bind(x_stride, pitch, k)
    chunk = -(-_WORTH_A_THREAD // max(1, k))

    def call(x: Tensor) -> Tensor:
        packed = scratch("integers", count * pitch)
        run(quantize, pack(x.data_ptr(), packed.data_ptr() + LEAD), count, chunk)
        return packed

    return call
