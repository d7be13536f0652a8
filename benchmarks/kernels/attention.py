"""Attention against ``scaled_dot_product_attention``, one JSON object a line.

    python benchmarks/kernels/attention.py --threads 1

Dense forward at each length in fp32 and bf16, backward, and block-sparse attention over 17 % of the
blocks, whose peer computes all of them. Heads are 64 deep.
"""

import argparse

import torch
from measure import alternate, record
from peak import fp32_peak
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from deepseek.kernels import BlockLists, attention, block_sparse_attention

PEER = "torch.nn.functional.scaled_dot_product_attention"
DEPTH, BLOCK, SHARE = 64, 64, 0.17
HEADS = {128: 12, 512: 12, 1024: 12, 4096: 4, 8192: 2}  # fewer where a call takes long
KINDS = ("dense", "causal", "bf16", "backward", "sparse", "decode")


def operands(queries: int, keys: int, *, grad: bool = False) -> list[Tensor]:
    """Queries, keys and values as a model makes them: views of ``(1, N, H, D)``."""
    torch.manual_seed(0)
    heads = HEADS[keys]
    return [
        torch.randn(1, length, heads, DEPTH).transpose(1, 2).requires_grad_(grad)
        for length in (queries, keys, keys)
    ]


def dense(length: int, rounds: int, *, causal: bool = False) -> None:
    """Forward of a whole sequence."""
    q, k, v = operands(length, length)
    theirs = scaled_dot_product_attention(q, k, v, is_causal=causal)
    torch.testing.assert_close(attention(q, k, v, causal=causal)[0], theirs, atol=1e-5, rtol=1e-4)
    times = alternate(
        {
            "ours": lambda: attention(q, k, v, causal=causal),
            "theirs": lambda: scaled_dot_product_attention(q, k, v, is_causal=causal),
            "peak": fp32_peak(torch.get_num_threads()).run,
        },
        rounds,
    )
    figure = "attention, causal" if causal else "attention"
    _print(figure, length, times, 1.15, q.shape[1], products=0 if causal else 2)


def rounded(length: int, rounds: int) -> None:
    """The same in bf16, which processors with AMX multiply by tiles."""
    q, k, v = (x.bfloat16() for x in operands(length, length))
    theirs = scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(attention(q, k, v)[0], theirs, atol=2e-2, rtol=2e-2)
    times = alternate(
        {
            "ours": lambda: attention(q, k, v),
            "theirs": lambda: scaled_dot_product_attention(q, k, v),
        },
        rounds,
    )
    _print("attention, bf16", length, times, 1.15, q.shape[1], dtype="bfloat16")


def decode(keys: int, rounds: int) -> None:
    """One query with a cache of keys."""
    q, k, v = operands(1, keys)
    times = alternate(
        {
            "ours": lambda: attention(q, k, v),
            "theirs": lambda: scaled_dot_product_attention(q, k, v),
        },
        rounds,
    )
    _print("attention, one query", keys, times, 1.0, q.shape[1])


def backward(length: int, rounds: int) -> None:
    """The gradients alone, of results made once."""
    q, k, v = operands(length, length, grad=True)
    grad = torch.randn(1, length, q.shape[1], DEPTH).transpose(1, 2)
    results = {
        "ours": attention(q, k, v)[0],
        "theirs": scaled_dot_product_attention(q, k, v),
    }

    def gradients(name: str) -> tuple[Tensor, ...]:
        return torch.autograd.grad(results[name], (q, k, v), grad, retain_graph=True)

    for a, b in zip(gradients("ours"), gradients("theirs"), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)
    runs = {name: lambda n=name: gradients(n) for name in results}
    times = alternate({**runs, "peak": fp32_peak(torch.get_num_threads()).run}, rounds)
    _print("attention, backward", length, times, 1.1, q.shape[1], products=5)


def sparse(length: int, rounds: int) -> None:
    """Lists of a random 17 % of the blocks of keys, another for each head and block of queries."""
    q, k, v = operands(length, length)
    blocks = length // BLOCK
    listed = torch.rand(1, q.shape[1], blocks, blocks).argsort(-1) < round(SHARE * blocks)
    lists = BlockLists.from_mask(listed, BLOCK)
    times = alternate(
        {
            "ours": lambda: block_sparse_attention(q, k, v, lists),
            "theirs": lambda: scaled_dot_product_attention(q, k, v),
        },
        rounds,
    )
    _print("attention, 17 % of blocks", length, times, 5.0, q.shape[1])


def _print(
    figure: str,
    length: int,
    times: dict[str, float],
    bar: float,
    heads: int,
    products: int = 0,
    dtype: str = "float32",
) -> None:
    """Print a figure; ``products`` of whole matrices tell the share of the machine's peak."""
    setting = {"length": length, "heads": heads, "depth": DEPTH, "dtype": dtype}
    share = None
    if products:
        work = products * 2 * heads * length * length * DEPTH / 1e9
        share = work / times["ours"] * times["peak"] / fp32_peak(torch.get_num_threads()).work
    record(
        figure, setting, times["ours"], times["theirs"], unit="s", peer=PEER, bar=bar, share=share
    )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--lengths", nargs="+", type=int, choices=HEADS, default=list(HEADS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    for length in options.lengths:
        if length < 8192:
            for kind, run in (
                ("dense", dense),
                ("bf16", rounded),
                ("backward", backward),
                ("decode", decode),
            ):
                if kind in options.kinds:
                    run(length, options.rounds)
            if "causal" in options.kinds:
                dense(length, options.rounds, causal=True)
        if length >= 4096 and "sparse" in options.kinds:
            sparse(length, options.rounds)


if __name__ == "__main__":
    main()
