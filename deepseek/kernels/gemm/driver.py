"""The loops around the microkernel: which tile next, on which part of K.

A unit of work is a block of the result: some row panels times some column panels. Its weights are
meant to stay in the L2 cache while the row panels pass by. Where K is too long for that it is cut
into blocks; the sums then wait in the workspace from one block to the next. Units that share their
rows come one after the other, so that these rows stay in the outer cache meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import ELEMENTS, I8, VOID, Arguments, Module, tiles
from deepseek.kernels.gemm.epilogue import emit_epilogue, panel_size
from deepseek.kernels.gemm.microkernel import PARAMETERS
from deepseek.kernels.gemm.plan import workspace_tiles
from deepseek.kernels.gemm.spec import FORMATS, TILED, Epilogue, tile_for

if TYPE_CHECKING:
    from deepseek.kernels.emit import Array, Task, Value
    from deepseek.kernels.target import Target

__all__ = ["ARGUMENTS", "build_linear"]

ARGUMENTS = Arguments(
    x="pointer", weight="pointer", out="pointer",
    bias="pointer", multiply="pointer", residual="pointer",
    rows_kernel="pointer", tall_kernel="pointer",  # microkernels of `height` and one more rows
    tile_height="int",  # of AMX, for which the microkernels are made; else 0
    x_stride="int", out_stride="int", multiply_stride="int", residual_stride="int",
    columns="int",  # of the result
    steps="int", half="int",  # whole steps of K, and whether half a step follows
    row_panels="int", height="int", tall="int",  # the first `tall` panels have one row more
    column_panels="int",
    block_rows="int", block_columns="int", block_steps="int",  # of a unit, in panels and steps
    column_blocks="int", step_blocks="int",
    tile_spacing="int",  # elements from a tile to the next in the workspace; 0 shares one tile
)  # fmt: skip
"""The fields from ``columns`` on are those of a :class:`~deepseek.kernels.gemm.plan.Plan`."""


def build_linear(target: Target, format_name: str, epilogue: Epilogue) -> Module:
    """The module of one linear kernel: any M, N and K, one format, one epilogue."""
    scheme, tile = FORMATS[format_name], tile_for(target)
    module = Module(_symbol(format_name, epilogue), target)
    store = emit_epilogue(module, ARGUMENTS, scheme, epilogue, tile)

    with module.task(ARGUMENTS) as f:
        a = f.arguments
        number = ELEMENTS[scheme.sums]
        tiled = target.amx and format_name in TILED
        workspace = f.scratch(workspace_tiles(tile) * tile.elements, number)
        x, weight = f.array(a.x, ELEMENTS[scheme.x]), f.array(a.weight, I8)
        step_bytes, panel_bytes = scheme.word * tile.columns, panel_size(a, scheme, tile)
        waiting = _Waiting(f, store, workspace)

        if tiled:
            with f.when(a.tile_height > 0):
                tiles.configure(f, a.tile_height)
        for unit in f.range(f.begin, f.end):
            first_row = (unit // a.column_blocks) * a.block_rows
            first_column = (unit % a.column_blocks) * a.block_columns
            last_row = f.minimum(first_row + a.block_rows, a.row_panels)
            last_column = f.minimum(first_column + a.block_columns, a.column_panels)

            for step_block in f.range(0, a.step_blocks, carry=waiting.variables):
                step = step_block * a.block_steps
                steps = f.minimum(a.steps - step, a.block_steps)
                fresh = f.select(step_block.equals(0), f.index(1), 0)
                final = (step_block + 1).equals(a.step_blocks)
                half = f.select(final, a.half, 0)

                for row_panel in f.range(first_row, last_row, carry=waiting.variables):
                    row = row_panel * a.height + f.minimum(row_panel, a.tall)
                    tall = row_panel < a.tall
                    height = f.select(tall, a.height + 1, a.height)
                    microkernel = f.select(tall, a.tall_kernel, a.rows_kernel)
                    rows = x.at(row * a.x_stride + step * scheme.span).pointer
                    places = (row_panel - first_row) * a.block_columns - first_column

                    for column_panel in f.range(first_column, last_column, carry=waiting.variables):
                        panel = weight.at(column_panel * panel_bytes + step * step_bytes)
                        place = (places + column_panel) * a.tile_spacing
                        sums = workspace.at(place)
                        f.call_pointer(
                            microkernel, PARAMETERS.values(), VOID,
                            rows, a.x_stride, panel.pointer, steps, half, sums.pointer, fresh,
                            *waiting.arguments(),
                        )  # fmt: skip
                        column = column_panel * tile.columns
                        waiting.set(place, row, column, f.select(final, height, 0))
                        if not tiled:
                            waiting.store()
                        else:
                            with f.when(a.tile_height.equals(0), carry=waiting.variables):
                                waiting.store()
            waiting.store()
        if tiled:
            with f.when(a.tile_height > 0):
                tiles.release(f)
    return module


class _Waiting:
    """The tile that was finished last, and is stored while the next one is multiplied.

    It is all stored before the sums of the next are written, which may take its place.

    Args:
        f: The function that is being built.
        store: The name of the function that stores a tile.
        workspace: Where tiles lie.

    Attributes:
        variables: What loops carry: where the tile begins there, its row and column in the result,
            and its height, 0 where none waits.
    """

    def __init__(self, f: Task, store: str, workspace: Array) -> None:
        self._f, self._store, self._workspace = f, store, workspace
        self.variables = [f.variable(f.index(0)) for _ in range(4)]
        self._place, self._row, self._column, self._height = self.variables

    def set(self, *values: Value) -> None:
        """Let another tile wait: its place, row, column and height."""
        for variable, value in zip(self.variables, values, strict=True):
            variable.set(value)

    def arguments(self) -> list[Value]:
        """What a microkernel takes as :data:`~.microkernel.LATE`."""
        f = self._f
        sums = self._workspace.at(self._place.value).pointer
        places = self._row.value, self._column.value, self._height.value
        return [f.address_of(self._store), f.block, sums, *places]

    def store(self) -> None:
        """Store the tile now; none waits then."""
        _, arguments, sums, row, column, height = self.arguments()
        with self._f.when(height > 0):
            self._f.call(self._store, VOID, arguments, sums, row, column, self._f.index(0), height)
        self._height.set(self._f.index(0))


def _symbol(format_name: str, epilogue: Epilogue) -> str:
    parts = [
        "deepseek_linear", format_name, epilogue.activation,
        *(word for word in ("bias", "multiply", "residual") if getattr(epilogue, word)),
        None if epilogue.out == "float32" else "to_bf16",
    ]  # fmt: skip
    return "_".join(part for part in parts if part)
