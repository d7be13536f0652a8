"""The operators as torch sees them."""

import pytest
import torch

from deepseek.errors import InputError
from deepseek.kernels import gemm, ops


def arguments(m=9, n=30, k=20, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    x, w, bias, residual = (
        torch.randn(shape, generator=generator).to(dtype)
        for shape in ((m, k), (n, k), (n,), (m, n))
    )
    return x, w, bias, residual


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("m", [0, 1, 9])
def test_opcheck(dtype, m):
    x, w, bias, residual = arguments(m, dtype=dtype)
    packed = gemm.pack_weight(w)
    torch.library.opcheck(
        torch.ops.deepseek.linear.default,
        (x, packed.panels, packed.features, bias, "gelu", residual, None),
    )


def test_operator_does_what_the_function_does():
    x, w, bias, residual = arguments()
    packed = gemm.pack_weight(w)
    y = torch.ops.deepseek.linear(x, packed.panels, 30, bias, "relu", residual, residual)
    assert torch.equal(y, gemm.linear(x, packed, bias, "relu", residual, residual))


def test_panels_of_any_alignment():
    x, w, _, _ = arguments()
    panels = gemm.pack_weight(w).panels
    moved = torch.empty(panels.numel() + 1)[1:].view(panels.shape).copy_(panels)
    assert torch.equal(ops.linear(x, moved, 30), ops.linear(x, panels, 30))


def test_fake_tensors_have_the_shape():
    x, w, bias, _ = arguments()
    panels = gemm.pack_weight(w).panels
    y = ops.linear(x.to("meta"), panels.to("meta"), 30, bias.to("meta"))
    assert y.shape == (9, 30)
    assert y.device.type == "meta"
    with pytest.raises(InputError, match="expected `x`"):
        ops.linear(x.double().to("meta"), panels.to("meta"), 30)


def test_backward_is_refused_rather_than_wrong():
    x, w, _, _ = arguments()
    y = gemm.linear(x.requires_grad_(), gemm.pack_weight(w))
    with pytest.raises(RuntimeError, match=r"deepseek\.linear"):
        y.sum().backward()


def test_exported_graph_keeps_the_operator():
    x, w, bias, _ = arguments()
    packed = gemm.pack_weight(w)

    class Layer(torch.nn.Module):
        def forward(self, x):
            return gemm.linear(x, packed, bias, "gelu")

    program = torch.export.export(Layer(), (x,), strict=False)
    assert "deepseek.linear" in str(program.graph)
    torch.testing.assert_close(program.module()(x), gemm.linear(x, packed, bias, "gelu"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_goes_to_torch():
    x, w, bias, _ = (tensor.cuda() for tensor in arguments())
    y = gemm.linear(x, gemm.pack_weight(w), bias)
    torch.testing.assert_close(y, torch.nn.functional.linear(x, w, bias))
