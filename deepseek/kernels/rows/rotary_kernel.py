"""The kernel of rotary position embedding: queries and keys of a token at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek.kernels.emit import ELEMENTS, Arguments, Module
from deepseek.kernels.rows.embedding_kernel import checked

if TYPE_CHECKING:
    from deepseek.kernels.emit import Array, Function, Task, Value
    from deepseek.kernels.rows.spec import RotaryForm
    from deepseek.kernels.target import Target

__all__ = ["ARGUMENTS", "build_rotary"]

_OPERANDS = ("q", "k", "q_out", "k_out")
_STRIDES = [f"{name}_{level}" for name in _OPERANDS for level in ("batch", "head", "token")]
_TABLE_STRIDES = [f"{name}_{level}" for name in ("cos", "sin", "positions")
                  for level in ("batch", "token")]  # fmt: skip

ARGUMENTS = Arguments(
    **dict.fromkeys([*_OPERANDS, "cos", "sin", "positions", "failed"], "pointer"),
    **dict.fromkeys(["tokens", "q_heads", "k_heads", "depth", "half", "rows"], "int"),
    **dict.fromkeys([*_STRIDES, *_TABLE_STRIDES], "int"),
)


def build_rotary(target: Target, form: RotaryForm) -> Module:
    """A module whose task ``deepseek_rotary`` turns all heads of a token, which is its unit.

    A position outside the tables is read as 0, and the byte at ``failed`` is set.
    """
    module = Module("deepseek_rotary", target)
    turn = _turn_neighbours if form.interleaved else _turn_halves
    with module.task(ARGUMENTS) as f:
        a = vars(f.arguments)
        for unit in f.range(f.begin, f.end):
            batch, token = unit // a["tokens"], unit % a["tokens"]
            cos, sin = _angles(f, form, batch, token)
            for operand in ("q", "k"):
                source, result = (
                    f.array(a[name], ELEMENTS[form.x]).at(
                        batch * a[f"{name}_batch"] + token * a[f"{name}_token"]
                    )
                    for name in (operand, f"{operand}_out")
                )
                for head in f.range(0, a[f"{operand}_heads"]):
                    x = source.at(head * a[f"{operand}_head"])
                    out = result.at(head * a[f"{operand}_out_head"])
                    turn(f, x, out, cos, sin, a["half"])
                    turned = a["half"] * 2
                    for column, mask in f.strips(a["depth"] - turned):
                        out.store(x.load(turned + column, mask), turned + column, mask)
    return module


def _angles(f: Task, form: RotaryForm, batch: Value, token: Value) -> tuple[Array, Array]:
    """The cosines and sines of a token."""
    a = vars(f.arguments)

    def place(name: str) -> Value:
        step: Value = batch * a[f"{name}_batch"] + token * a[f"{name}_token"]
        return step

    if form.positions is None:
        offsets = [place("cos"), place("sin")]
    else:
        number = f.array(a["positions"], ELEMENTS[form.positions]).scalar(place("positions"))
        row = checked(f, number, a["rows"], a["failed"])
        offsets = [row * a["cos_token"], row * a["sin_token"]]
    element = ELEMENTS[form.table]
    return f.array(a["cos"], element).at(offsets[0]), f.array(a["sin"], element).at(offsets[1])


def _turn_halves(f: Function, x: Array, out: Array, cos: Array, sin: Array, half: Value) -> None:
    """Element i goes with element i + half."""
    for column, mask in f.strips(half):
        c, s = cos.load(column, mask), sin.load(column, mask)
        first, second = x.load(column, mask), x.load(half + column, mask)
        out.store(first * c - second * s, column, mask)
        out.store(second * c + first * s, half + column, mask)


def _turn_neighbours(
    f: Function, x: Array, out: Array, cos: Array, sin: Array, half: Value
) -> None:
    """Element 2i goes with element 2i + 1: a vector holds half as many angles as elements."""
    lanes = f.lanes // 2
    doubled = [lane // 2 for lane in range(f.lanes)]
    swapped = [lane ^ 1 for lane in range(f.lanes)]
    signs = f.select((f.counting(f.lanes) & 1).equals(0), f.full(-1.0), 1.0)
    for column, mask in f.strips(half, lanes=lanes):
        wide = None if mask is None else f.mask_below((half - column) * 2)
        c, s = (f.shuffle(v, v, doubled) for v in (cos.load(column, mask, lanes),
                                                   sin.load(column, mask, lanes)))  # fmt: skip
        pairs = x.load(column * 2, wide)
        others = f.shuffle(pairs, pairs, swapped) * signs
        out.store(f.fma(pairs, c, others * s), column * 2, wide)
