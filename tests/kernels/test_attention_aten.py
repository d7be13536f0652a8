"""Attention in bf16 that is left to torch: the same results in the same layout, and what is not."""

from dataclasses import replace

import pytest
import torch

from deepseek.kernels import amx, parallel
from deepseek.kernels.attend import attention_reference
from deepseek.kernels.attend.aten import aten_attention, is_for_aten
from deepseek.kernels.attend.launch import run_forward
from deepseek.kernels.target import host


@pytest.fixture
def target(monkeypatch):
    monkeypatch.setattr(amx, "allowed", lambda: True)
    return replace(host(), amx=True)


def operands(n=33, m=70, heads=3, kv_heads=3, depth=64, dtype=torch.bfloat16):
    generator = torch.Generator().manual_seed(0)
    shapes = ((n, heads), (m, kv_heads), (m, kv_heads))
    return [
        torch.randn(2, length, count, depth, generator=generator).to(dtype).transpose(1, 2)
        for length, count in shapes
    ]


@pytest.mark.parametrize(("n", "m", "causal"), [(33, 70, False), (100, 100, True), (9, 1, False)])
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("rows_first", [False, True])
def test_results_are_those_of_the_kernels(n, m, causal, scale, rows_first):
    q, k, v = operands(n, m)
    q = q if rows_first else q.contiguous()
    exact, sums = attention_reference(q, k, v, causal=causal, scale=scale, precision=torch.float64)
    out, lse = aten_attention(q, k, v, causal, scale)
    torch.testing.assert_close(out.double(), exact, atol=2e-2, rtol=2e-2)
    torch.testing.assert_close(lse.double(), sums, atol=1e-3, rtol=1e-4)
    ours, our_lse = run_forward(q, k, v, None, causal, scale, target=replace(host(), amx=False))
    assert (out.dtype, lse.dtype) == (ours.dtype, our_lse.dtype)
    assert (out.stride(), lse.stride()) == (ours.stride(), our_lse.stride())


def test_only_what_torch_does_alike_is_left_to_it(target):
    assert is_for_aten(*operands(), False, target)
    assert is_for_aten(*operands(70, 70), True, target)
    assert not is_for_aten(*operands(), True, target)
    assert not is_for_aten(*operands(n=1), False, target)
    assert not is_for_aten(*operands(m=0), False, target)
    assert not is_for_aten(*operands(kv_heads=1), False, target)
    assert not is_for_aten(*operands(dtype=torch.float32), False, target)
    assert not is_for_aten(*operands(), False, replace(target, amx=False))
    with parallel.listening(lambda launch: None):
        assert not is_for_aten(*operands(), False, target)
