"""How one product is cut into units of work: plain arithmetic on its sizes.

Everything here is an argument of the kernel, not part of its code: one kernel serves every size.
"""

from dataclasses import dataclass
from functools import lru_cache

from deepseek.kernels.caches import cache_bytes
from deepseek.kernels.calls import WORTH_A_THREAD
from deepseek.kernels.gemm.spec import SIZES, Format, Tile

__all__ = ["Plan", "plan_product", "workspace_tiles"]

_WORKSPACE_BYTES = 96 << 10
_BLOCK_BYTES = 3072  # of a row of x between two visits of a tile: 768 of fp32; measured on Zen 4
# Weights of a unit, which stay in the L2 cache: half of it, and never more than this, because of a
# Xeon's 2 MB half a MB served better than one.
_WEIGHT_BYTES = 512 << 10
_ROWS_AT_ONCE = 512  # more rows of the result lie on more pages than the processor keeps in mind
_CHUNKS_A_THREAD = 4  # units to balance with when another program takes one of the cores


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers that a kernel's loops run by; names as in the kernel's arguments.

    Attributes:
        units: Units of work.
        chunk: Units that a thread takes at a time.
    """

    columns: int
    steps: int
    half: int
    row_panels: int
    height: int
    tall: int
    column_panels: int
    block_rows: int
    block_columns: int
    block_steps: int
    column_blocks: int
    step_blocks: int
    tile_spacing: int
    units: int
    chunk: int

    def arguments(self) -> tuple[int, ...]:
        """The tail of the kernel's arguments, in their order."""
        return (
            self.columns, self.steps, self.half, self.row_panels, self.height, self.tall,
            self.column_panels, self.block_rows, self.block_columns, self.block_steps,
            self.column_blocks, self.step_blocks, self.tile_spacing,
        )  # fmt: skip


def workspace_tiles(tile: Tile) -> int:
    """Tiles of sums that a thread keeps on its stack while it goes through K in blocks."""
    return _WORKSPACE_BYTES // (4 * tile.elements)


@lru_cache(maxsize=4096)
def plan_product(scheme: Format, tile: Tile, m: int, n: int, k: int, threads: int) -> Plan:
    """Plan ``(m, k) @ (k, n)`` for so many threads.

    Rows are shared out evenly: 37 rows in panels of at most 8 are 8 + 8 + 7 + 7 + 7, not four full
    panels and a thin one.
    """
    row_panels = _ceil(m, tile.rows)
    height, tall = divmod(m, row_panels)
    column_panels = _ceil(n, tile.columns)
    steps, half = scheme.steps(k)

    longest = max(1, _BLOCK_BYTES // (SIZES[scheme.x] * scheme.span))
    step_blocks = max(1, _ceil(steps, longest)) if row_panels > 1 else 1
    block_steps = max(1, _ceil(steps, step_blocks))
    step_blocks = max(1, _ceil(steps, block_steps))
    panel_bytes = scheme.word * tile.columns * block_steps
    budget = min(cache_bytes(2) // 2, _WEIGHT_BYTES)
    block_columns = max(1, min(column_panels, budget // panel_bytes))

    wanted = _CHUNKS_A_THREAD * threads if threads > 1 else 1
    block_columns = max(1, min(block_columns, _ceil(column_panels, wanted)))
    column_blocks = _ceil(column_panels, block_columns)
    block_rows = _ceil(row_panels, _ceil(wanted, column_blocks))
    block_rows = min(block_rows, max(1, _ROWS_AT_ONCE // tile.rows))
    if step_blocks > 1:
        tiles = workspace_tiles(tile)
        block_columns = min(block_columns, tiles // 4)
        column_blocks = _ceil(column_panels, block_columns)
        block_rows = min(block_rows, tiles // block_columns)
    row_blocks = _ceil(row_panels, block_rows)

    units = column_blocks * row_blocks
    work = max(1, m * n * k // units)
    return Plan(
        columns=n,
        steps=steps,
        half=half,
        row_panels=row_panels,
        height=height,
        tall=tall,
        column_panels=column_panels,
        block_rows=block_rows,
        block_columns=block_columns,
        block_steps=block_steps,
        column_blocks=column_blocks,
        step_blocks=step_blocks,
        tile_spacing=tile.elements if step_blocks > 1 else 0,
        units=units,
        chunk=_ceil(WORTH_A_THREAD, work),
    )


def _ceil(value: int, unit: int) -> int:
    return -(-value // unit)
