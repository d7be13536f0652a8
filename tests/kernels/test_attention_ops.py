"""Attention as torch sees it: operators, gradients by autograd, tracing, other devices."""

import pytest
import torch

from deepseek.errors import InputError
from deepseek.kernels import BlockLists, attention, block_sparse_attention, ops
from deepseek.kernels.attend import attention_reference, cuda


def operands(n=40, m=70, heads=4, kv_heads=2, depth=16, dtype=torch.float32, grad=False):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(2, n, heads, depth, generator=generator).to(dtype).transpose(1, 2)
    k, v = (torch.randn(2, kv_heads, m, depth, generator=generator).to(dtype) for _ in range(2))
    return tuple(x.requires_grad_(grad) for x in (q, k, v))


def lists(n=40, m=70, block=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(2, 1, -(-n // block), -(-m // block), generator=generator) > 0.4
    return mask, BlockLists.from_mask(mask, block)


def test_opcheck():
    mask = torch.rand(2, 1, 1, 70) > 0.3
    arguments = (*operands(grad=True), mask, True, 0.3)
    torch.library.opcheck(torch.ops.deepseek.attention.default, arguments)


@pytest.mark.parametrize(("n", "m"), [(0, 70), (40, 0), (1, 70)])
def test_schema_and_fakes_of_small_sizes(n, m):
    torch.library.opcheck(
        torch.ops.deepseek.attention.default,
        operands(n, m),
        test_utils=("test_schema", "test_faketensor"),
    )


def test_opcheck_of_block_sparse():
    _, blocks = lists()
    torch.library.opcheck(
        torch.ops.deepseek.block_sparse_attention.default,
        (*operands(grad=True), blocks.starts, blocks.indices, 16, None, True),
    )


def test_opcheck_of_backward():
    q, k, v = operands()
    out, lse = attention(q, k, v)
    torch.library.opcheck(
        torch.ops.deepseek.attention_backward.default,
        (torch.ones_like(out), torch.ones_like(lse), q, k, v, out, lse),
    )


def test_autograd_gives_the_gradients_of_both_results():
    q, k, v = operands(grad=True)
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    out, lse = attention(q, k, v, causal=True)
    (out.square().sum() + lse.sin().sum()).backward()
    reference, sums = attention_reference(*exact, causal=True, precision=torch.float64)
    (reference.square().sum() + sums.sin().sum()).backward()
    for ours, theirs in zip((q, k, v), exact, strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=2e-5, rtol=1e-5)


def test_autograd_of_one_result_alone():
    for pick in (0, 1):
        q, k, v = operands(grad=True)
        exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
        attention(q, k, v)[pick].sum().backward()
        attention_reference(*exact, precision=torch.float64)[pick].sum().backward()
        torch.testing.assert_close(q.grad.double(), exact[0].grad, atol=2e-5, rtol=1e-5)


def test_compiled_and_exported():
    q, k, v = operands()

    class Layer(torch.nn.Module):
        def forward(self, q, k, v):
            return attention(q, k, v, causal=True)[0].transpose(1, 2).flatten(2)

    program = torch.export.export(Layer(), (q, k, v), strict=False)
    assert "deepseek.attention" in str(program.graph)
    torch.testing.assert_close(program.module()(q, k, v), Layer()(q, k, v))


def test_fake_tensors_have_shapes_and_errors():
    q, k, v = (x.to("meta") for x in operands())
    out, lse = ops.attention(q, k, v)
    assert (out.shape, lse.shape, lse.dtype) == ((2, 4, 40, 16), (2, 4, 40), torch.float32)
    with pytest.raises(InputError, match="expected `k`"):
        ops.attention(q, k.double(), v)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", ["none", "bool", "float"])
def test_what_cuda_tensors_get(causal, mask):
    """The same functions on the CPU: torch's operators with our meaning of their options."""
    q, k, v = operands()
    chosen = {
        "none": None, "bool": torch.rand(2, 1, 1, 70) > 0.3, "float": torch.randn(1, 4, 40, 70)
    }[mask]  # fmt: skip
    _, blocks = lists()
    for chosen_lists in (None, blocks):
        out, lse = cuda.attend(q, k, v, chosen, causal, 0.2, chosen_lists)
        if chosen_lists is None:
            ours = attention(q, k, v, chosen, causal=causal, scale=0.2)
        else:
            ours = block_sparse_attention(q, k, v, blocks, chosen, causal=causal, scale=0.2)
        torch.testing.assert_close(out, ours[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(lse, ours[1], atol=1e-5, rtol=1e-5)


def test_gradients_that_cuda_tensors_get():
    q, k, v = operands()
    out, lse = attention(q, k, v, causal=True)
    ours = ops.attention_backward(out, lse, q, k, v, out, lse, causal=True)
    theirs = cuda.gradients(out, lse, q, k, v, None, True, None)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_goes_to_torch():
    q, k, v = (x.cuda() for x in operands())
    torch.testing.assert_close(attention(q, k, v)[0].cpu(), attention(*operands())[0])
