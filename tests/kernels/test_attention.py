"""The attention kernels against plain PyTorch in float64."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from deepseek.errors import InputError
from deepseek.kernels import BlockLists, attention, block_sparse_attention, jit
from deepseek.kernels.attend import attention_reference
from deepseek.kernels.attend.backward import build_backward
from deepseek.kernels.attend.forward import build_forward
from deepseek.kernels.attend.gradients import run_backward
from deepseek.kernels.attend.launch import run_forward
from deepseek.kernels.attend.pack import build_pack, build_pack_pairs
from deepseek.kernels.attend.product import build_product
from deepseek.kernels.attend.reference import block_visibility
from deepseek.kernels.attend.spec import Form, Tile, padded, tile_for
from deepseek.kernels.target import KNOWN, host

TAILS = [1, 7, 8, 9, 31, 33, 47, 48, 49, 100, 257]
INFINITY = float("inf")


@pytest.fixture
def target(vector_target):
    """Nothing here multiplies integers."""
    return vector_target


def normal(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def operands(n, m, depth, batch=1, heads=2, kv_heads=1, dtype=torch.float32):
    q = normal(batch, n, heads, depth, dtype=dtype).transpose(1, 2)
    k, v = (normal(batch, kv_heads, m, depth, dtype=dtype, seed=seed) for seed in (1, 2))
    return q, k, v


def block_mask(n, m, block, batch=1, heads=2):
    mask = normal(batch, heads, -(-n // block), -(-m // block), seed=3) > 0.2
    return mask, block_visibility(mask, block, n, m)


def check(q, k, v, mask=None, *, causal=False, scale=None, lists=None, target=None):
    """Compare with float64. Errors grow with the scores, whose rounding a softmax multiplies by."""
    seen = mask
    if lists is not None:
        blocks = lists.to_mask(-(-k.shape[2] // lists.block))
        seen = block_visibility(blocks, lists.block, q.shape[2], k.shape[2])
        if mask is not None and mask.dtype == torch.bool:
            seen = seen & mask
        elif mask is not None:
            seen = mask.masked_fill(~seen, -INFINITY)
    exact, sums = attention_reference(
        q, k, v, seen, causal=causal, scale=scale, precision=torch.float64
    )
    out, lse = run_forward(q, k, v, mask, causal, scale, lists, target)
    assert (out.dtype, lse.dtype) == (q.dtype, torch.float32)
    assert (out.shape, lse.shape) == (exact.shape, sums.shape)
    largest = max((x.norm(dim=-1).max().item() for x in (q, k) if x.numel()), default=0.0)
    score = largest**2 * (q.shape[-1] ** -0.5 if scale is None else abs(scale))
    is_bf16 = q.dtype == torch.bfloat16
    tolerance = 2e-2 if is_bf16 else 3e-6 + 1e-7 * score
    coarse = 1.1e-4 if is_bf16 and (target or host()).amx else 0.0
    torch.testing.assert_close(out.double(), exact, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(lse.double(), sums, atol=coarse + 5e-6 + 1e-7 * score, rtol=2e-6)
    return out, lse


@pytest.mark.parametrize("causal", [False, True])
def test_tails(target, causal):
    """Every tail of queries and keys; rows before the first key when there are fewer keys."""
    sizes = {(n, m) for n in TAILS for m in TAILS if n == 9 or m == 49 or n == m}
    for n, m in sorted(sizes):
        check(*operands(n, m, 32), causal=causal, target=target)


@pytest.mark.parametrize("depth", [1, 64, 80, 96, 128, 257])
def test_depths(target, depth):
    check(*operands(33, 70, depth), target=target)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_of_another_depth(dtype):
    q, k, _ = operands(40, 70, 24, dtype=dtype)
    check(q, k, normal(1, 1, 70, 47, dtype=dtype, seed=2))


@pytest.mark.parametrize("causal", [False, True])
def test_bf16_on_any_processor(causal):
    """Tiles where there are any, of blocks that are filled up with zeros."""
    for n, m, depth in itertools.product((5, 16, 33, 70, 257), (9, 32, 100, 129), (32, 80)):
        check(*operands(n, m, depth, dtype=torch.bfloat16), causal=causal)
    for depth in (1, 16, 17, 64, 96, 128, 257):
        check(*operands(70, 100, depth, dtype=torch.bfloat16), causal=causal)
    for block in (16, 32, 64, 128):
        lists = BlockLists.from_mask(block_mask(150, 257, block)[0], block)
        check(*operands(150, 257, 64, dtype=torch.bfloat16), lists=lists, causal=causal)


@pytest.mark.parametrize("scale", [0.0, -0.1, 3.0, 1e-3])
def test_any_scale_of_bf16(scale):
    """Scores of tiles are multiplied late, which takes a positive scale."""
    mask = normal(70, 100, seed=4)
    mask[:, 5] = -INFINITY
    for seen, causal in itertools.product((None, mask, mask > 0), (False, True)):
        check(*operands(70, 100, 32, dtype=torch.bfloat16), seen, causal=causal, scale=scale)


def test_bf16_on_threads_of_python(wrong_calls):
    q, k, v = operands(70, 100, 64, dtype=torch.bfloat16)
    expected = attention(q, k, v)[0]
    assert wrong_calls(100, lambda: attention(q, k, v)[0], expected) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masks(target, dtype):
    q, k, v = operands(70, 100, 32, batch=2, dtype=dtype)
    padding = torch.arange(100) < torch.tensor([[[[100]]], [[[41]]]])
    pattern = normal(2, 2, 70, 100, seed=4) > 0
    added = normal(2, 70, 100, seed=4)
    added[:, 3] = -INFINITY
    for mask, causal in itertools.product((padding, pattern, added), (False, True)):
        check(q, k, v, mask, causal=causal, target=target)
    check(q, k, v, added.bfloat16(), target=target)


def test_masks_of_any_layout():
    q, k, v = operands(40, 70, 32)
    wide = normal(80, 140, seed=4)
    for mask in (wide[:40, :70], wide[::2, ::2], wide.T[:40, :70], wide[0, :70], wide[:40, :1]):
        check(q, k, v, mask)
        check(q, k, v, mask > 0)


@pytest.mark.parametrize("block", [16, 32, 64, 128])
def test_block_sparse(target, block):
    q, k, v = operands(150, 257, 32)
    mask, _ = block_mask(150, 257, block)
    mask[0, 0, 0] = False
    lists = BlockLists.from_mask(mask, block)
    for causal in (False, True):
        out, lse = check(q, k, v, lists=lists, causal=causal, target=target)
        assert (out[0, 0, :block] == 0).all()
        assert (lse[0, 0, :block] == -INFINITY).all()


def test_block_sparse_with_masks_and_shared_lists(threads):
    q, k, v = operands(150, 257, 32, batch=2, heads=4, kv_heads=2)
    for batch, heads in itertools.product((1, 2), (1, 4)):
        lists = BlockLists.from_mask(block_mask(150, 257, 64, batch, heads)[0])
        check(q, k, v, normal(150, 257, seed=5) > -1, lists=lists)
        check(q, k, v, normal(150, 257, seed=5), lists=lists, causal=True)


def test_blocks_in_any_order():
    q, k, v = operands(64, 257, 32)
    starts = torch.tensor([[[0, 3]]], dtype=torch.int32)
    forth, back = (BlockLists(starts, ints(*order)) for order in ([0, 2, 4], [4, 0, 2]))
    torch.testing.assert_close(
        block_sparse_attention(q, k, v, forth), block_sparse_attention(q, k, v, back)
    )


def test_only_listed_blocks_are_read():
    q, k, v = operands(64, 256, 32)
    k[:, :, 64:128] = float("nan")
    v[:, :, 64:128] = float("nan")
    lists = BlockLists.from_mask(torch.tensor([[[[True, False, True, True]]]]))
    assert block_sparse_attention(q, k, v, lists)[0].isfinite().all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    n=st.integers(0, 140),
    m=st.integers(0, 140),
    depth=st.sampled_from([1, 5, 16, 31, 48]),
    heads=st.sampled_from([(1, 1), (2, 2), (4, 2), (6, 1), (0, 1)]),
    batch=st.integers(0, 3),
    causal=st.booleans(),
    scale=st.sampled_from([None, 0.0, 0.5, -1.0]),
)
def test_any_shape(n, m, depth, heads, batch, causal, scale):
    check(*operands(n, m, depth, batch, *heads), causal=causal, scale=scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_few_queries(target, dtype):
    """Nothing is packed; the keys end in the middle of a register and of a block."""
    for n, m, depth in ((1, 1, 32), (4, 67, 32), (1, 257, 32), (4, 64, 32), (3, 100, 33)):
        q, k, v = operands(n, m, depth, 2, 4, 2, dtype)
        check(q, k, v, target=target)
        check(q, k.mT.contiguous().mT, v, causal=True, target=target)


def test_few_queries_with_masks_and_lists():
    for n in (1, 4):
        check(*operands(n, 257, 32), normal(n, 257) > 0)
        check(*operands(n, 257, 32), lists=BlockLists.from_mask(block_mask(n, 257, 64)[0]))


def test_decoding_step_by_step_is_causal_attention():
    q, k, v = operands(20, 90, 32, heads=4, kv_heads=2)
    whole, _ = attention(q, k, v, causal=True)
    for position in range(20):
        seen = 90 - 19 + position
        step, _ = attention(q[:, :, position : position + 1], k[:, :, :seen], v[:, :, :seen])
        torch.testing.assert_close(step[:, :, 0], whole[:, :, position], atol=2e-6, rtol=1e-5)


def test_strided_operands():
    packed = normal(2, 50, 3, 4, 32)
    q, k, v = (packed[:, :, part].transpose(1, 2) for part in range(3))
    out, _ = check(q, k, v)
    assert out.transpose(1, 2).is_contiguous()
    assert check(q.contiguous(), k, v)[0].is_contiguous()
    check(q[:, :, ::2], k[:, ::2], v[:, 1::2])
    check(*(x.mT.contiguous().mT for x in (q, k, v)))
    check(q[..., ::2], k[..., ::2], v)
    check(q, k[:1].expand(2, -1, -1, -1), v)


@pytest.mark.parametrize("offset", range(1, 4))
def test_alignment(target, offset):
    memory = normal(6000)
    q, k, v = (
        memory[start + offset : start + offset + 33 * 32].view(1, 1, 33, 32)
        for start in (0, 2000, 4000)
    )
    check(q, k, v, target=target)


@pytest.mark.parametrize("value", [INFINITY, -INFINITY, float("nan")])
def test_infinity_and_nan(target, value):
    for which in range(3):
        q, k, v = operands(9, 100, 32)
        (q, k, v)[which][0, 0, 3, 5] = value
        out, _ = run_forward(q, k, v, None, False, None, target=target)
        expected = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        torch.testing.assert_close(out, expected, equal_nan=True, atol=2e-6, rtol=1e-5)


def test_large_scores():
    q, k, v = operands(40, 70, 32)
    check(q * 100, k, v)
    check(q, k, v, torch.full((1,), -1e30))


def test_without_queries_or_keys():
    out, lse = check(*operands(5, 0, 32))
    assert (out == 0).all()
    assert (lse == -INFINITY).all()
    assert check(*operands(0, 5, 32))[0].shape == (1, 2, 0, 32)


GRADIENTS = {
    "dense": (70, 100, 32, {}),
    "causal, fewer keys": (100, 49, 33, {"causal": True}),
    "scale": (33, 33, 80, {"scale": 0.2}),
    "mask": (70, 100, 32, {"mask": normal(1, 1, 1, 100, seed=6) > 0}),
    "added mask": (70, 100, 32, {"mask": normal(70, 100, seed=6), "causal": True}),
    "blocks": (150, 257, 32, {"block": 64}),
    "small blocks, causal": (50, 70, 32, {"block": 16, "causal": True}),
}


@pytest.mark.parametrize("case", GRADIENTS)
def test_gradients(target, case):
    n, m, depth, options = GRADIENTS[case]
    check_gradients(*operands(n, m, depth, 2, 4, 2), target=target, **options)


def test_gradients_on_both_numbers_of_threads(threads):
    check_gradients(*operands(257, 257, 32, 1, 2, 2), causal=True)


def check_gradients(
    q, k, v, *, mask=None, causal=False, scale=None, block=None, target=None, tolerance=2e-5
):
    lists, seen = None, mask
    if block is not None:
        blocks, seen = block_mask(q.shape[2], k.shape[2], block, heads=1)
        lists = BlockLists.from_mask(blocks, block)
    exact = [x.double().requires_grad_() for x in (q, k, v)]
    out, lse = attention_reference(*exact, seen, causal=causal, scale=scale,
                                   precision=torch.float64)  # fmt: skip
    grad, grad_lse = normal(*out.shape, seed=7), normal(*lse.shape, seed=8)
    sees = lse > -INFINITY
    ((out * grad).sum() + (lse * grad_lse)[sees].sum()).backward()
    ours = run_backward(
        grad, grad_lse, q, k, v, out.to(q.dtype), lse.float(), mask, causal, scale, lists, target
    )
    for name, mine, theirs in zip("qkv", ours, exact, strict=True):
        expected = theirs.grad.nan_to_num()  # 0 / 0 of rows that see nothing, in the reference
        assert mine.dtype == q.dtype
        torch.testing.assert_close(
            mine.double(), expected, atol=tolerance, rtol=tolerance, msg=lambda m, n=name: n + m
        )


def test_gradients_of_bf16():
    check_gradients(*operands(70, 100, 32, dtype=torch.bfloat16), tolerance=0.1)


def test_gradients_do_not_depend_on_chance(threads):
    q, k, v = (x.requires_grad_() for x in operands(300, 300, 32))
    runs = [torch.autograd.grad(attention(q, k, v)[0].sum(), (q, k, v)) for _ in range(3)]
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))


def test_python_threads(wrong_calls):
    q, k, v = operands(100, 100, 32)
    expected, _ = attention(q, k, v)
    assert wrong_calls(100, lambda: attention(q, k, v)[0], expected) == []


Q, K, V = operands(8, 12, 16, batch=2, heads=4, kv_heads=2)
REFUSED = {
    "dimensions": ({"q": Q[0]}, r"`q` of shape \(batch, heads, length, depth\), got \(4, 8, 16\)"),
    "dtype": ({"k": K.double()}, "`k` of float32 or bfloat16, got torch.float64"),
    "mixed": ({"v": V.bfloat16()}, "`v` of the dtype of `q`, torch.float32, got torch.bfloat16"),
    "device": ({"v": V.to("meta")}, "`v` on cpu, got meta"),
    "depth": ({"k": K[..., :8]}, r"`k` and `v` of shapes \(2, heads, keys, 16\)"),
    "keys": ({"v": V[:, :, :5]}, "`k` and `v` of shapes"),
    "batch": ({"v": V[:1]}, "`k` and `v` of shapes"),
    "heads": ({"q": Q[:, :3]}, "heads of `k` that divide the 3 of `q`, got 2"),
    "too deep": ({"v": V.repeat(1, 1, 1, 33)}, "a depth of at most 512, got 16 and 528"),
    "mask": ({"mask": torch.ones(8, 11)}, r"`mask` broadcast to \(2, 4, 8, 12\), got .*\(8, 11\)"),
    "mask dtype": ({"mask": torch.ones(8, 12).int()}, "`mask` of bool, float32 or bfloat16"),
    "mask gradient": ({"mask": torch.ones(8, 12, requires_grad=True)}, "`mask` without a gradient"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    arguments, message = REFUSED[case]
    with pytest.raises(InputError, match=f"expected {message}"):
        run_forward(**{"q": Q, "k": K, "v": V, "mask": None, "causal": False, "scale": None,
                       **arguments})  # fmt: skip


def ints(*numbers):
    return torch.tensor(numbers, dtype=torch.int32)


BAD_LISTS = {
    "block": ((ints(0, 1).view(1, 1, 2), ints(0), 48), "a block size of"),
    "starts": ((ints(0, 1), ints(0)), "`starts` of int32 and shape"),
    "starts dtype": ((ints(0, 1).view(1, 1, 2).long(), ints(0)), "`starts` of int32"),
    "indices dtype": ((ints(0, 1).view(1, 1, 2), ints(0).long()), "`indices` of int32"),
    "falling": ((ints(1, 0).view(1, 1, 2), ints(0)), "`starts` that rise from 0 up to 1"),
    "beyond": ((ints(0, 2).view(1, 1, 2), ints(0)), "`starts` that rise from 0 up to 1"),
    "negative": ((ints(0, 1).view(1, 1, 2), ints(-1)), "`indices` of at least 0, got -1"),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_bad_lists_are_refused(case):
    arguments, message = BAD_LISTS[case]
    with pytest.raises(InputError, match=f"expected {message}"):
        BlockLists(*arguments)


def test_lists_for_another_attention_are_refused():
    for lists, message in (
        (BlockLists(ints(0, 1).view(1, 1, 2), ints(1)), "below the 1 blocks of keys, got 1"),
        (BlockLists(ints(0, 1, 1).view(1, 1, 3), ints(0)), r"broadcast to \(2, 4, 2\)"),
        (BlockLists(ints(0, 1, 0, 1).view(1, 2, 2), ints(0)), r"broadcast to \(2, 4, 2\)"),
    ):
        with pytest.raises(InputError, match=message):
            block_sparse_attention(Q, K, V, lists)
    with pytest.raises(InputError, match="a mask of bool"):
        BlockLists.from_mask(torch.ones(1, 1, 2, 2))


def test_lists_of_a_mask_return_it():
    mask, _ = block_mask(300, 500, 32, 3, 4)
    assert torch.equal(BlockLists.from_mask(mask, 32).to_mask(mask.shape[-1]), mask)
    assert BlockLists.from_mask(torch.zeros(1, 1, 0, 4, dtype=torch.bool)).starts.shape == (1, 1, 1)


OTHERS = ["znver4", "cascadelake", "sapphirerapids", "aarch64", "neoverse-v1", "x86-64"]


@pytest.mark.parametrize("name", OTHERS)
def test_code_for_other_targets_calls_no_library(name):
    """LLVM turns a vector function it does not know into scalar library calls, silently."""
    target = KNOWN[name]
    depth = padded(80, target.lanes)
    form = Form("bfloat16", depth, depth, mask="bool", sparse=True)
    wide = replace(form, depth=96, value_depth=96, tiled=True)
    tiled = (
        build_forward(target, wide),
        build_forward(target, replace(wide, mask=None)),
        build_pack_pairs(target, 96, 64, of_keys=True),
        build_pack_pairs(target, 96, 64, of_keys=False),
    )
    for module in (
        *(tiled if target.amx else ()),
        build_forward(target, form),
        build_forward(target, replace(form, few=True)),
        build_backward(target, form),
        build_pack(target, "bfloat16", form.depth, 64, True),
        build_product(target),
    ):
        text = jit.assembly(str(module), target)
        calls = [
            line.split() for line in text.splitlines() if line.split()[:1] in (["callq"], ["bl"])
        ]
        internal = {f.name for f in module.ir.functions if f.blocks}
        called = {call[1].split("@")[0] for call in calls if not call[1].startswith("*")}
        assert called <= internal


def test_tiles():
    assert tile_for(KNOWN["znver4"]) == Tile(8, 3)
    assert tile_for(KNOWN["haswell"]) == Tile(4, 3)
    assert padded(80, KNOWN["znver4"].lanes) == 80
    assert padded(33, KNOWN["haswell"].lanes) == 40
    assert host().lanes in (4, 8, 16)
