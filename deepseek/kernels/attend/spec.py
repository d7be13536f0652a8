"""What an attention kernel is compiled for, and how its operands are padded.

Nothing here needs LLVM, so that planning a call stays cheap.
"""

from dataclasses import dataclass

from deepseek.kernels.target import Target

__all__ = ["BLOCK", "BLOCKS", "FEW", "MOST_DEPTH", "Form", "Tile", "padded", "tile_for"]

BLOCK = 64
"""Queries, and keys, that are worked on at once: two such blocks of 64 values fill half of L1."""

BLOCKS = (16, 32, 64, 128)
"""Block sizes that block-sparse attention can be asked for."""

FEW = 4
"""Most queries for which keys and values are read where they lie."""

MOST_DEPTH = 512
"""Largest head dimension: a block of queries and one of results lie on the stack."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is fixed when a kernel is compiled; everything else is an argument of the kernel.

    Attributes:
        dtype: Of q, k, v and the result, by torch's name.
        depth: Padded head dimension of queries and keys.
        value_depth: Padded head dimension of values.
        block: Queries and keys a block.
        mask: dtype of the mask (``bool``, ``float32``, ``bfloat16``), or None where there is none.
        sparse: Whether each block of queries has a list of the blocks of keys that it sees.
        few: Whether there are at most :data:`FEW` queries, for which nothing is packed.
    """

    dtype: str
    depth: int
    value_depth: int
    block: int = BLOCK
    mask: str | None = None
    sparse: bool = False
    few: bool = False


@dataclass(frozen=True, slots=True)
class Tile:
    """The part of a product that is held in registers.

    Attributes:
        rows: Rows at once; divides every block size.
        vectors: Most registers a row.
    """

    rows: int
    vectors: int


def tile_for(target: Target) -> Tile:
    """The tile that leaves room for a row of the right operand and one broadcast value."""
    return Tile(8, 3) if target.registers >= 32 else Tile(4, 3)


def padded(depth: int, target: Target) -> int:
    """A head dimension rounded up to whole vector registers."""
    return -(-max(depth, 1) // target.lanes) * target.lanes
