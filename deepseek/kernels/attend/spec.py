"""What an attention kernel is compiled for, and how its operands are padded.

Nothing here needs LLVM, so that planning a call stays cheap.
"""

from dataclasses import dataclass

from deepseek.kernels.target import Target

__all__ = [
    "BLOCK", "BLOCKS", "FEW", "MOST_DEPTH", "SHORT", "TILE", "Form", "Tile", "padded", "tile_for",
]  # fmt: skip

BLOCK = 64
"""Queries, and keys, that are worked on at once: two such blocks of 64 values fill half of L1."""

SHORT = (16, 32)
"""The same where there are no more: a block of short texts would be filled up with zeros."""

BLOCKS = (16, 32, 64, 128)
"""Block sizes that block-sparse attention can be asked for."""

FEW = 4
"""Most queries for which keys and values are read where they lie."""

TILE = 32
"""Rows and columns that AMX's registers hold at once: blocks and depths are multiples of it."""

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
        tiled: Whether bf16 is multiplied by AMX.
    """

    dtype: str
    depth: int
    value_depth: int
    block: int = BLOCK
    mask: str | None = None
    sparse: bool = False
    few: bool = False
    tiled: bool = False

    @property
    def operand(self) -> str:
        """The dtype in which queries and weights are multiplied."""
        return "bfloat16" if self.tiled else "float32"


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


def padded(depth: int, unit: int) -> int:
    """A head dimension rounded up to whole vector registers, or tiles, of ``unit`` values."""
    return -(-max(depth, 1) // unit) * unit
