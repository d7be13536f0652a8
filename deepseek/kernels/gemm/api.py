"""The linear layer as a function: checks, the choice of a kernel, one call of it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels.gemm.layout import PackedWeight
from deepseek.kernels.gemm.plan import plan_product
from deepseek.kernels.gemm.spec import ACTIVATIONS, FORMATS, Epilogue, Format, tile_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from deepseek.kernels.target import Target

__all__ = ["linear", "linear_shape"]

_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def linear(
    x: Tensor,
    weight: PackedWeight,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """``act(x @ weight.T + bias) * multiply + residual``, in one pass.

    fp32 activations are multiplied in fp32, whatever the weight is stored in. bf16 activations with
    a bf16 weight use the processor's bf16 products where it has them, else fp32. Sums are fp32.

    Args:
        x: ``(..., K)``, fp32 or bf16, any strides.
        weight: From :func:`~deepseek.kernels.gemm.pack_weight`.
        bias: ``(N)``.
        activation: ``relu``, ``gelu``, ``gelu_tanh`` or ``silu``.
        residual: ``(..., N)``, added last.
        multiply: ``(..., N)``, what the activated product is multiplied with.
        out: Where the result goes, fp32 or bf16; may be ``residual`` or ``multiply``, not ``x``.

    Returns:
        ``(..., N)``: ``out``, or a new tensor of the dtype of ``x``.

    Raises:
        InputError: A shape, dtype or device does not fit.
    """
    if _needs_dispatcher(x, bias, residual, multiply):
        return _dispatched(x, weight, bias, activation, residual, multiply, out)
    shape = linear_shape(x, weight, bias, activation, residual, multiply)
    if out is None:
        out = torch.empty(shape, dtype=x.dtype)
    else:
        _check_operand("out", out, shape)
        if out.data_ptr() == x.data_ptr() and out.numel():
            raise InputError("expected `out` apart from `x`, got the same memory")
    if out.numel() == 0:
        return out

    rows = _rows(out)
    if rows.data_ptr() != out.data_ptr():  # a layout without rows: compute beside it, then copy
        return out.copy_(linear(x, weight, bias, activation, residual, multiply, rows))
    scheme, x = _format_of(x, weight)
    _launch(scheme, _rows(x), weight, bias, activation, residual, multiply, rows)
    return out


def linear_shape(
    x: Tensor,
    weight: PackedWeight,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    multiply: Tensor | None = None,
) -> tuple[int, ...]:
    """The shape of the result, after everything given has been found to fit.

    Raises:
        InputError: It does not.
    """
    if x.dtype not in _NAMES:
        raise InputError(f"expected `x` of float32 or bfloat16, got {x.dtype}")
    if not x.dim() or x.shape[-1] != weight.depth:
        raise InputError(f"expected `x` of shape (..., {weight.depth}), got {tuple(x.shape)}")
    if activation is not None and activation not in ACTIVATIONS:
        raise InputError(f"expected an activation of {ACTIVATIONS}, got {activation!r}")
    shape = (*x.shape[:-1], weight.features)
    if bias is not None:
        _check_operand("bias", bias, (weight.features,))
    if residual is not None:
        _check_operand("residual", residual, shape)
    if multiply is not None:
        _check_operand("multiply", multiply, shape)
    return shape


def _check_operand(name: str, operand: Tensor, shape: tuple[int, ...]) -> None:
    if operand.shape != shape:
        raise InputError(f"expected `{name}` of shape {shape}, got {tuple(operand.shape)}")
    if operand.dtype not in _NAMES:
        raise InputError(f"expected `{name}` of float32 or bfloat16, got {operand.dtype}")


def _needs_dispatcher(x: Tensor, *operands: Tensor | None) -> bool:
    """Whether torch must see the call: for autograd, another device, tracing, tensor subclasses."""
    if type(x) is not Tensor or not x.is_cpu or torch.compiler.is_compiling():
        return True
    recording = torch.is_grad_enabled()
    return any(
        operand is not None and (not operand.is_cpu or (recording and operand.requires_grad))
        for operand in (x, *operands)
    )


def _dispatched(
    x: Tensor,
    weight: PackedWeight,
    bias: Tensor | None,
    activation: str | None,
    residual: Tensor | None,
    multiply: Tensor | None,
    out: Tensor | None,
) -> Tensor:
    from deepseek.kernels import ops

    y = ops.linear(x, weight.panels, weight.features, bias, activation, residual, multiply)
    return y if out is None else out.copy_(y)


def _format_of(x: Tensor, weight: PackedWeight) -> tuple[Format, Tensor]:
    """The number format of the product, and the activations as it wants them."""
    if weight.dtype == torch.float32:
        return FORMATS["fp32"], x.float()
    if x.dtype == torch.bfloat16 and weight.target.bf16:
        return FORMATS["bf16"], x
    return FORMATS["mixed"], x.float()


def _rows(tensor: Tensor) -> Tensor:
    """The tensor as a matrix whose rows are contiguous: a view where it can be one."""
    if tensor.dim() != 2:
        tensor = tensor.reshape(-1, tensor.shape[-1])
    return tensor if tensor.stride(1) == 1 else tensor.contiguous()


def _launch(
    scheme: Format,
    x: Tensor,
    weight: PackedWeight,
    bias: Tensor | None,
    activation: str | None,
    residual: Tensor | None,
    multiply: Tensor | None,
    out: Tensor,
) -> None:
    """Run the kernel on matrices with contiguous rows. The locals keep its operands alive."""
    bias = None if bias is None else bias.contiguous()
    residual = None if residual is None else _rows(residual)
    multiply = None if multiply is None else _rows(multiply)
    epilogue = Epilogue(
        _NAMES[out.dtype],
        activation,
        None if bias is None else _NAMES[bias.dtype],
        None if multiply is None else _NAMES[multiply.dtype],
        None if residual is None else _NAMES[residual.dtype],
    )
    launch = _launcher(weight.target, scheme, epilogue)
    launch(
        (x.shape[0], weight.features, weight.depth),
        x.data_ptr(),
        weight.panels.data_ptr(),
        out.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        0 if multiply is None else multiply.data_ptr(),
        0 if residual is None else residual.data_ptr(),
        x.stride(0),
        out.stride(0),
        0 if multiply is None else multiply.stride(0),
        0 if residual is None else residual.stride(0),
    )


@lru_cache(maxsize=None)
def _launcher(target: Target, scheme: Format, epilogue: Epilogue) -> Callable[..., None]:
    """A function (sizes, addresses and strides...) that runs the kernel, compiled on first use."""
    from deepseek.kernels import jit, parallel
    from deepseek.kernels.gemm.driver import ARGUMENTS, build_linear
    from deepseek.kernels.gemm.microkernel import build_microkernel

    kernel = jit.kernel(build_linear, scheme.name, epilogue, target=target)
    tile = tile_for(target)

    @lru_cache(maxsize=None)
    def microkernel(rows: int) -> int:
        return jit.kernel(build_microkernel, scheme.name, rows, target=target).address

    def launch(sizes: tuple[int, int, int], *operands: int) -> None:
        plan = plan_product(scheme, tile, *sizes, parallel.threads())
        short = microkernel(plan.height)
        tall = microkernel(plan.height + 1) if plan.tall else short
        arguments = ARGUMENTS.pack(short, tall, *operands, *plan.arguments())
        parallel.run(kernel, arguments, plan.units, plan.chunk)

    return launch
