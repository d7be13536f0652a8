"""What the row kernels are compiled for. Sizes and strides are arguments of the kernels.

Nothing here needs LLVM, so that planning a call stays cheap.
"""

from dataclasses import dataclass

__all__ = ["ACTIVATIONS", "EmbeddingForm", "NormForm", "RotaryForm", "SoftmaxForm", "chunk_for"]

ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu")
"""What can be applied to a normalized row."""

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
    """

    centered: bool
    x: str
    out: str
    residual: str | None = None
    total: str | None = None
    weight: str | None = None
    bias: str | None = None
    activation: str | None = None


@dataclass(frozen=True, slots=True)
class SoftmaxForm:
    """A softmax or its logarithm; dtypes by torch's names.

    Attributes:
        x: dtype of the rows.
        out: dtype of the result.
        mask: dtype of the mask, ``bool`` too, or None where there is none.
        bias: dtype of the bias, or None.
        logarithm: Whether the result is the logarithm.
    """

    x: str
    out: str
    mask: str | None = None
    bias: str | None = None
    logarithm: bool = False


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


def chunk_for(width: int) -> int:
    """Rows that a thread takes at a time: enough to be worth it."""
    return max(1, _WORTH_A_THREAD // max(width, 1))
