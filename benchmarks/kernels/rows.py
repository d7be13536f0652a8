"""What is done row by row, against the same in plain PyTorch, one JSON object a line.

    python benchmarks/kernels/rows.py --threads 1 --dtype float32

Rows of a model's activations, from 64 KiB to 12 MiB of fp32; the peer runs eagerly.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from measure import alternate, geometric_mean, record
from torch import Tensor
from torch.nn import functional

from deepseek.kernels import (
    embedding_layer_norm,
    layer_norm,
    log_softmax,
    rms_norm,
    rotary,
    softmax,
)

WIDTH, HEADS = 768, 12
ROWS = [21, 85, 341, 1365, 4096]  # 64 KiB, 256 KiB, 1 MiB, 4 MiB, 12 MiB
BARS = {  # elsewhere: not below
    ("residual+layer_norm", 4096, torch.float32): 2.0,
    ("softmax", 4096, torch.float32): 2.0,
}

Result = Tensor | tuple[Tensor, ...]
Pair = tuple[Callable[[], Result], Callable[[], Result], str]


@dataclass(frozen=True)
class Operands:
    """Tensors of ``rows`` tokens."""

    rows: int
    dtype: torch.dtype
    x: Tensor = field(init=False)
    y: Tensor = field(init=False)
    weight: Tensor = field(init=False)

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        for name, shape in (("x", (self.rows, WIDTH)), ("y", (self.rows, WIDTH)),
                            ("weight", (WIDTH,))):  # fmt: skip
            object.__setattr__(self, name, torch.randn(shape).to(self.dtype))

    def heads(self, x: Tensor) -> Tensor:
        """A view of ``(1, heads, rows, depth)``, as a model makes it."""
        return x.view(1, self.rows, HEADS, -1).transpose(1, 2)


def plain_layer_norm(o: Operands) -> Pair:
    """Nothing fused."""
    return (
        lambda: layer_norm(o.x, o.weight, o.weight),
        lambda: functional.layer_norm(o.x, (WIDTH,), o.weight, o.weight),
        "torch.nn.functional.layer_norm",
    )


def residual_layer_norm(o: Operands) -> Pair:
    """As after each half of a BERT block."""
    return (
        lambda: layer_norm(o.x, o.weight, o.weight, residual=o.y),
        lambda: functional.layer_norm(o.x + o.y, (WIDTH,), o.weight, o.weight),
        "add, torch.nn.functional.layer_norm",
    )


def plain_rms_norm(o: Operands) -> Pair:
    """As before each half of a Llama block."""
    return (
        lambda: rms_norm(o.x, o.weight),
        lambda: functional.rms_norm(o.x, (WIDTH,), o.weight, 1e-6),
        "torch.nn.functional.rms_norm",
    )


def plain_softmax(o: Operands) -> Pair:
    """Nothing fused."""
    return lambda: softmax(o.x), lambda: torch.softmax(o.x, -1), "torch.softmax"


def plain_log_softmax(o: Operands) -> Pair:
    """Nothing fused."""
    return lambda: log_softmax(o.x), lambda: torch.log_softmax(o.x, -1), "torch.log_softmax"


def masked_softmax(o: Operands) -> Pair:
    """Scores scaled, padded keys masked."""
    mask = torch.zeros(1, WIDTH, dtype=o.dtype)
    mask[:, -100:] = torch.finfo(o.dtype).min
    return (
        lambda: softmax(o.x, mask, scale=0.125),
        lambda: torch.softmax(o.x * 0.125 + mask, -1),
        "mul, add, torch.softmax",
    )


def bert_embedding(o: Operands) -> Pair:
    """Words, positions and types, then layer norm."""
    tables = [torch.randn(n, WIDTH).to(o.dtype) for n in (3000, 512, 2)]
    ids = [torch.randint(3000, (o.rows,)), torch.arange(o.rows) % 512, torch.zeros(o.rows).long()]

    def eager() -> Tensor:
        words, positions, types = (
            functional.embedding(i, t) for i, t in zip(ids, tables, strict=True)
        )
        return functional.layer_norm(words + positions + types, (WIDTH,), o.weight, o.weight, 1e-12)

    return (
        lambda: embedding_layer_norm(ids, tables, o.weight, o.weight),
        eager,
        "3 embeddings, 2 adds, torch.nn.functional.layer_norm",
    )


def llama_rotary(o: Operands) -> Pair:
    """Queries and keys, turned as transformers does."""
    q, k = o.heads(o.x), o.heads(o.y)
    half = WIDTH // HEADS // 2
    angles = torch.outer(torch.arange(o.rows), 1e4 ** (-torch.arange(half) / half))
    cos, sin = angles.cos().to(o.dtype), angles.sin().to(o.dtype)
    both = [torch.cat((table, table), -1) for table in (cos, sin)]

    def turn(x: Tensor) -> Tensor:
        return x * both[0] + torch.cat((-x[..., half:], x[..., :half]), -1) * both[1]

    return lambda: rotary(q, k, cos, sin), lambda: (turn(q), turn(k)), "mul, cat, mul, add"


FAMILIES: dict[str, Callable[[Operands], Pair]] = {
    "layer_norm": plain_layer_norm,
    "residual+layer_norm": residual_layer_norm,
    "rms_norm": plain_rms_norm,
    "softmax": plain_softmax,
    "log_softmax": plain_log_softmax,
    "masked softmax": masked_softmax,
    "embedding sum+layer_norm": bert_embedding,
    "rotary": llama_rotary,
}


def measure(figure: str, rows: int, dtype: torch.dtype, rounds: int) -> float:
    """The ratio for one family and size, after its result has been found right."""
    ours, theirs, peer = FAMILIES[figure](Operands(rows, dtype))
    tolerance = 1e-4 if dtype == torch.float32 else 6e-2
    torch.testing.assert_close(ours(), theirs(), atol=tolerance, rtol=tolerance)
    times = alternate({"ours": ours, "theirs": theirs}, rounds)
    return record(
        figure,
        {
            "rows": rows,
            "width": WIDTH,
            "bytes": rows * WIDTH * dtype.itemsize,
            "dtype": str(dtype).removeprefix("torch."),
        },
        times["ours"],
        times["theirs"],
        unit="s",
        peer=peer,
        bar=BARS.get((figure, rows, dtype), 1.0),
    )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", nargs="+", type=int, default=ROWS)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    dtype = getattr(torch, options.dtype)
    with torch.no_grad():
        ratios = [
            measure(figure, rows, dtype, options.rounds)
            for figure in options.families
            for rows in options.rows
        ]
    setting = {"dtype": options.dtype, "figures": len(ratios)}
    record("rows, geometric mean", setting, geometric_mean(ratios), 1.0, unit="ratio", peer="eager",
           bar=1.0, higher_is_better=True)  # fmt: skip


if __name__ == "__main__":
    main()
