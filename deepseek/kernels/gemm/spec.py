"""What a linear kernel is asked to be: its number formats, its epilogue, its tile.

Nothing here needs LLVM, so that planning a call stays cheap.
"""

from dataclasses import dataclass

from deepseek.kernels.target import Target

__all__ = ["ACTIVATIONS", "FORMATS", "Epilogue", "Format", "Tile", "tile_for"]

ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu")
"""Names of the functions that an epilogue can apply."""


@dataclass(frozen=True, slots=True)
class Format:
    """How the operands of a product are stored and multiplied.

    Attributes:
        name: Key of the table :data:`FORMATS`.
        x: dtype of the activations, by torch's name.
        weight: dtype of the packed weight.
        group: Values of K that lie side by side in a panel, for each column: 4 bytes' worth.
    """

    name: str
    x: str
    weight: str
    group: int


FORMATS = {
    scheme.name: scheme
    for scheme in (
        Format("fp32", x="float32", weight="float32", group=1),
        Format("bf16", x="bfloat16", weight="bfloat16", group=2),
        Format("mixed", x="float32", weight="bfloat16", group=2),
    )
}
"""``mixed`` widens the weight to fp32; it serves bf16 activations too where the processor has no
bf16 products, after they are widened."""


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What happens to a product before it is stored: ``act(x @ w.T + bias) * multiply + residual``.

    Attributes:
        out: dtype of the result, by torch's name.
        activation: One of :data:`ACTIVATIONS`, or None.
        bias: dtype of the bias, or None where there is none; likewise the others.
        multiply: dtype of the factor.
        residual: dtype of the addend.
    """

    out: str
    activation: str | None = None
    bias: str | None = None
    multiply: str | None = None
    residual: str | None = None


@dataclass(frozen=True, slots=True)
class Tile:
    """The block of the result that is held in registers.

    Attributes:
        rows: Most rows of activations at once.
        vectors: Registers a row.
        lanes: fp32 values a register.
    """

    rows: int
    vectors: int
    lanes: int

    @property
    def columns(self) -> int:
        """Columns of the result; also the width of a packed panel."""
        return self.vectors * self.lanes

    @property
    def elements(self) -> int:
        """fp32 values in the block."""
        return self.rows * self.columns


def tile_for(target: Target) -> Tile:
    """The tile that leaves room for a row of weights and one broadcast value.

    8 x 3 registers of 32 (8 x 48 values with AVX-512), 6 x 2 of 16 (6 x 16 values with AVX2).
    """
    rows, vectors = (8, 3) if target.registers >= 32 else (6, 2)
    return Tile(rows, vectors, target.lanes)
