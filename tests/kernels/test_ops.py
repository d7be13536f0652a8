"""The operators as torch sees them."""

import pytest
import torch

from deepseek.errors import InputError
from deepseek.kernels import gemm, int8, ops
from deepseek.kernels.int8.elsewhere import quantized_linear_by_torch


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


def test_panels_of_another_weight_are_refused(error):
    x, _, _, _ = arguments()
    with pytest.raises(error, match=r"expected panels of \(.*, 20, .*, got \(.*, 21"):
        ops.linear(x, gemm.pack_weight(torch.ones(30, 21)).panels, 30)


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


def quantized(kind):
    generator = torch.Generator().manual_seed(1)
    if kind in ("symmetric", "asymmetric"):
        weight = torch.randint(-128, 128, (30, 20), dtype=torch.int8, generator=generator)
        return int8.pack_int8(weight, torch.rand(30, generator=generator), kind)
    return int8.pack_weight_only(torch.randn(30, 20, generator=generator), 4, 32, zeros=True)


KINDS = ["symmetric", "asymmetric", "weight only"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck_of_quantized_weights(kind, dtype):
    x, _, bias, residual = arguments(dtype=dtype)
    packed = quantized(kind)
    fields = (packed.panels, packed.features, packed.format, packed.rounding)
    torch.library.opcheck(
        torch.ops.deepseek.quantized_linear.default, (x, *fields, bias, "gelu", residual, None)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_quantized_operator_does_what_the_function_does(kind, error):
    x, _, bias, residual = arguments()
    packed = quantized(kind)
    fields = (packed.panels, packed.features, packed.format, packed.rounding)
    y = torch.ops.deepseek.quantized_linear(x, *fields, bias, "relu", residual, residual)
    assert torch.equal(y, gemm.linear(x, packed, bias, "relu", residual, residual))
    fake = ops.quantized_linear(x.to("meta"), packed.panels.to("meta"), *fields[1:])
    assert (fake.shape, fake.device.type) == ((9, 30), "meta")
    with pytest.raises(error, match="expected panels of"):
        ops.quantized_linear(torch.randn(2, 200), *fields)
    with pytest.raises(error, match="expected a format of"):
        ops.quantized_linear(x, packed.panels, 30, "w3g32", packed.rounding)
    with pytest.raises(RuntimeError, match=r"deepseek\.quantized_linear"):
        gemm.linear(x.requires_grad_(), packed).sum().backward()


@pytest.mark.parametrize("kind", KINDS)
def test_exported_graph_keeps_the_quantized_operator(kind):
    x, _, bias, _ = arguments()
    packed = quantized(kind)

    class Layer(torch.nn.Module):
        def forward(self, x):
            return gemm.linear(x, packed, bias, "gelu")

    program = torch.export.export(Layer(), (x,), strict=False)
    assert "deepseek.quantized_linear" in str(program.graph)
    assert torch.equal(program.module()(x), gemm.linear(x, packed, bias, "gelu"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 23, 40])
def test_what_other_devices_run_is_the_same(kind, rows):
    """The way by torch's own operators, taken on this one."""
    x, _, bias, residual = arguments(rows)
    packed = quantized(kind)
    weight = packed.quantized()
    y = quantized_linear_by_torch(x, weight, packed.rounding, bias, "gelu", residual, residual)
    expected = gemm.linear(x, packed, bias, "gelu", residual, residual)
    tolerance = 1e-3 if kind == "weight only" else 1e-5
    torch.testing.assert_close(y, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_goes_to_torch():
    x, w, bias, _ = (tensor.cuda() for tensor in arguments())
    y = gemm.linear(x, gemm.pack_weight(w), bias)
    torch.testing.assert_close(y, torch.nn.functional.linear(x, w, bias))
    for kind in KINDS:
        packed = quantized(kind)
        expected = gemm.linear(x.cpu(), packed, bias.cpu())
        panels = packed.moved(packed.panels.cuda())
        torch.testing.assert_close(
            gemm.linear(x, panels, bias).cpu(), expected, rtol=1e-3, atol=1e-3
        )
