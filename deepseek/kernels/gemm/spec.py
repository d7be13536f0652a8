"""What a linear kernel is asked to be: its number formats, its epilogue, its tile.

Nothing here needs LLVM, so that planning a call stays cheap.

How a row of activations and a panel of weights lie in memory follows from the format. The rows of
the quantized formats are made for the product (see :mod:`deepseek.kernels.gemm.rows`):

    float       row    [x ...]
                panel  [step: columns x word] ...
    int8        row    [scale, shift] [integers, K filled up to whole steps]
                panel  [step: columns x word] ... [scale a column] [sum of weights a column]
    grouped     row    [scale, sum] [a group's integers]  [scale, sum] [the next group's] ...
                panel  [step: a group's weights, scale a column, zero point a column] ...
"""

from dataclasses import dataclass

from deepseek.kernels.target import Target

__all__ = [
    "ACTIVATIONS", "COARSE", "FORMATS", "GROUP_SIZES", "HEADER", "LEAD", "ROUNDINGS", "SIZES",
    "TILED", "TILE_ROWS", "Epilogue", "Format", "GroupedFormat", "Rounding", "Tile", "grouped_name",
    "int8_format", "tall_tile_for", "tile_for",
]  # fmt: skip

ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "silu")
"""Names of the functions that an epilogue can apply."""

COARSE = {"gelu": "gelu_coarse", "gelu_tanh": "gelu_tanh_coarse", "silu": "silu_coarse"}
"""Functions with a form for results that are rounded to 8 bits, and its name."""


SIZES = {"float32": 4, "bfloat16": 2, "uint8": 1, "int8": 1, "int16": 2}
"""Bytes of the types that products read, by torch's names."""

HEADER = 8
"""Bytes before the integers of a row or group: its scale, fp32, and a second number."""

LEAD = 64 - HEADER
"""Bytes left free before the first header of a row: its integers begin a cache line."""

TILED = ("bf16", "u8s8")
"""The formats that AMX multiplies."""

TILE_ROWS = 16
"""Rows of a tile register of AMX."""

GROUP_SIZES = (32, 64, 128)
"""How many values of K may share a scale in a weight that alone is quantized."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How the operands of a product are stored and multiplied.

    Attributes:
        name: Key of the table :data:`FORMATS`.
        x: Type of the activations as the product reads them, by torch's name.
        weight: Type of the packed weight.
        group: Values of K that a step multiplies.
        word: Bytes that a column takes in each step of a panel.
        span: Elements of x from a step to the next.
        sums: Type that products are added up in.
        footer: Bytes that a column takes after a panel's last step.
        quantized: Whether rows of activations are quantized, and laid out for the product, first.
    """

    name: str
    x: str
    weight: str
    group: int
    span: int
    word: int = 4
    sums: str = "float32"
    footer: int = 0
    quantized: bool = False

    def steps(self, k: int) -> tuple[int, int]:
        """Whole steps in K, and the values left for a last one that is not whole.

        Rows that are laid out for the product are filled up to whole steps.
        """
        return (-(-k // self.group), 0) if self.quantized else divmod(k, self.group)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedFormat(Format):
    """A weight of few bits whose groups of values along K have scales of their own.

    The activations are 16-bit integers with a scale a group. A step is a whole group.

    Attributes:
        bits: Of a weight: 4, without a sign, or 8, with one.
        scales: Type of the scales, by torch's name.
        zeros: Whether each group has a zero point; otherwise it is 8 for 4 bits, 0 for 8.
    """

    bits: int
    scales: str
    zeros: bool


def _float(name: str, x: str, weight: str, group: int) -> Format:
    return Format(name=name, x=x, weight=weight, group=group, span=group)


def _int8(name: str, x: str, group: int) -> Format:
    return Format(
        name=name, x=x, weight="int8", group=group, span=group, word=group, sums="int32",
        footer=8, quantized=True,
    )  # fmt: skip


def _grouped(bits: int, group: int, *, zeros: bool = False) -> GroupedFormat:
    # A scale of 32 bits would be a quarter of a group of 32 weights of 4 bits.
    scales, bytes_of_scales = ("bfloat16", 2) if bits == 4 else ("float32", 4)
    return GroupedFormat(
        name=grouped_name(bits, group, zeros=zeros), x="int16", weight=f"int{bits}", group=group,
        span=group + HEADER // 2, word=group * bits // 8 + bytes_of_scales + 2 * zeros,
        quantized=True, bits=bits, scales=scales, zeros=zeros,
    )  # fmt: skip


def grouped_name(bits: int, group: int, *, zeros: bool) -> str:
    """The name of a grouped format."""
    return f"w{bits}g{group}{'z' if zeros else ''}"


FORMATS: dict[str, Format] = {
    scheme.name: scheme
    for scheme in (
        _float("fp32", x="float32", weight="float32", group=1),
        _float("bf16", x="bfloat16", weight="bfloat16", group=2),
        _float("mixed", x="float32", weight="bfloat16", group=2),
        _int8("u8s8", x="uint8", group=4),
        _int8("s8s8", x="int8", group=4),
        _int8("s16s8", x="int16", group=2),
        *(_grouped(8, group) for group in GROUP_SIZES),
        *(_grouped(4, group, zeros=zeros) for group in GROUP_SIZES for zeros in (False, True)),
    )
}
"""``mixed`` widens the weight to fp32; it serves bf16 activations too where the processor has no
bf16 products, after they are widened. The three int8 formats compute the same, each with the
instruction that a processor has: see :func:`int8_format`."""


def int8_format(target: Target) -> Format:
    """The format of int8 products that is fastest on a processor.

    Four products a lane where there is an instruction for them, of which x86's takes activations
    without a sign; else two products of 16-bit integers, which cannot overflow. (Four products
    by AVX2's ``vpmaddubsw`` saturate, unless one operand is split in two, which took 1.6 times as
    long on Zen 3.)
    """
    if target.vnni:
        return FORMATS["u8s8"]
    return FORMATS["s8s8" if target.dotprod else "s16s8"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How the numbers of a row of activations, or of a weight, become integers.

    Attributes:
        name: Key of the table :data:`ROUNDINGS`.
        lowest: Least integer.
        highest: Greatest integer.
        one_sided: Whether the integers have a zero point; otherwise zero is zero.
        grouped: Whether every group of a row has a scale, instead of the row.
        summed: Whether the sum of the integers is kept beside the scale, instead of a zero point.
        in_dtype: Whether bf16 activations are divided and shifted in bf16, as torch would do it.
    """

    name: str
    lowest: int
    highest: int
    one_sided: bool = False
    grouped: bool = False
    summed: bool = False
    in_dtype: bool = False

    def offset(self, stored: str) -> int:
        """What is added to an integer to store it in a type: the least becomes 0 without a sign."""
        return -self.lowest if stored == "uint8" else 0


ROUNDINGS = {
    rounding.name: rounding
    for rounding in (
        Rounding(name="symmetric", lowest=-128, highest=127, in_dtype=True),
        Rounding(name="asymmetric", lowest=-128, highest=127, one_sided=True, in_dtype=True),
        Rounding(name="blocks", lowest=-32767, highest=32767, grouped=True, summed=True),
        Rounding(name="weight", lowest=-127, highest=127, summed=True),
    )
}
"""What they compute is told in :mod:`deepseek.kernels.gemm.rows`."""


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


def tall_tile_for(target: Target, scheme: Format, m: int, k: int) -> Tile | None:
    """The tile of a product by AMX, or None where it is not for AMX: 32 x 48 values.

    With fewer rows than a tile register has, vectors are as fast; an odd K of bf16 ends in half
    a word.
    """
    whole = k > 0 and not scheme.steps(k)[1]
    if target.amx and scheme.name in TILED and m >= TILE_ROWS and whole:
        return Tile(2 * TILE_ROWS, tile_for(target).vectors, target.lanes)
    return None
