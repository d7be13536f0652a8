"""What the row kernels are compiled for. Sizes and strides are arguments of the kernels.

Nothing here needs LLVM, so that planning a call stays cheap.
"""

from dataclasses import dataclass

from deepseek.kernels.caches import cache_bytes

__all__ = [
    "ACTIVATIONS", "SCRATCH", "EmbeddingForm", "NormForm", "RotaryForm", "SoftmaxForm", "chunk_for",
    "streams",
]  # fmt: skip

ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu")
"""What can be applied to a normalized row."""

SCRATCH = 4096
"""Widest row whose exponentials wait on the stack, 16 KiB."""

# Bytes beyond the L2 caches and most of a share of the last one. A Xeon that shows 480 MiB of it
# to a virtual machine took 0.8 ms instead of 1.2 to write 12 MiB through it.
_WORTH_STREAMING = max(8 << 20, cache_bytes(3) // 16)
_WORTH_A_THREAD = 1 << 14  # elements: about 5 us on one core, a region costs 1.4 us


@dataclass(frozen=True, slots=True)
class NormForm:
    """A layer norm or RMS norm; dtypes by torch's names, None for what is absent.

    Attributes:
        centered: Whether the mean is subtracted: layer norm, not RMS norm.
        x: dtype of the rows.
        out: dtype of the result.
        residual: dtype of what is added to the rows first.
        total: dtype that the sum of rows and residual is also stored in.
        weight: dtype of the factor.
        bias: dtype of the addend.
        activation: One of :data:`ACTIVATIONS`.
        streamed: Whether results are written past the caches; see :func:`streams`.
    """

    centered: bool
    x: str
    out: str
    residual: str | None = None
    total: str | None = None
    weight: str | None = None
    bias: str | None = None
    activation: str | None = None
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class SoftmaxForm:
    """A softmax or its logarithm; dtypes by torch's names.

    Attributes:
        x: dtype of the rows.
        out: dtype of the result.
        mask: dtype of the mask, ``bool`` too, or None where there is none.
        bias: dtype of the bias, or None.
        scaled: Whether the scale is not one.
        logarithm: Whether the result is the logarithm.
        held: Where the exponentials of a row wait for their sum: ``out``, ``scratch``, or None
            where they are computed again.
        streamed: Whether results are written past the caches; see :func:`streams`.
    """

    x: str
    out: str
    mask: str | None = None
    bias: str | None = None
    scaled: bool = False
    logarithm: bool = False
    held: str | None = None
    streamed: bool = False


@dataclass(frozen=True, slots=True)
class EmbeddingForm:
    """A sum of rows of tables; dtypes by torch's names.

    Attributes:
        ids: dtype of each table's ids: ``int64`` or ``int32``.
        tables: dtype of each table.
        out: dtype of the result.
        normed: Whether a layer norm follows.
        weight: dtype of the norm's factor, or None.
        bias: dtype of the norm's addend, or None.
    """

    ids: tuple[str, ...]
    tables: tuple[str, ...]
    out: str
    normed: bool = False
    weight: str | None = None
    bias: str | None = None


@dataclass(frozen=True, slots=True)
class RotaryForm:
    """A rotation of pairs of elements; dtypes by torch's names.

    Attributes:
        x: dtype of queries, keys and results.
        table: dtype of the cosines and sines.
        positions: dtype of the positions, or None where row n of a table is for token n.
        interleaved: Whether element 2i goes with 2i + 1, rather than with the one half a turn on.
    """

    x: str
    table: str
    positions: str | None = None
    interleaved: bool = False


def streams(out: int, width: int, lanes: int) -> bool:
    """Whether a result is better written past the caches.

    A result that does not fit them costs a read of each line before it is written; streaming saves
    that. A smaller one would have been found in the cache by whoever reads it next.

    Args:
        out: Bytes of the result.
        width: Elements a row.
        lanes: Elements a vector; rows must begin at whole vectors.
    """
    return out >= _WORTH_STREAMING and not width % lanes


def chunk_for(width: int) -> int:
    """Rows that a thread takes at a time: enough to be worth it."""
    return max(1, _WORTH_A_THREAD // max(width, 1))
