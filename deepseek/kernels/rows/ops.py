"""The row kernels as operators of torch, for autograd, tracing and other devices.

The public functions come here when torch must see the call. Tensors on other devices than the CPU
go to torch's own operators, as :mod:`deepseek.kernels.rows.reference` uses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from deepseek.kernels.attend.operands import result
from deepseek.kernels.rows.embeddings import check_embedding, run_embedding
from deepseek.kernels.rows.gradients import norm_autograd, rotary_autograd, softmax_autograd
from deepseek.kernels.rows.norms import run_norm
from deepseek.kernels.rows.operands import check_norm, check_softmax, result_dtype, sum_dtype
from deepseek.kernels.rows.reference import (
    embedding_reference,
    norm_reference,
    rotary_reference,
    softmax_reference,
)
from deepseek.kernels.rows.rotation import check_rotary, run_rotary
from deepseek.kernels.rows.softmaxes import run_softmax

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "add_layer_norm", "add_rms_norm", "embedding", "embedding_layer_norm", "layer_norm",
    "log_softmax", "rms_norm", "rotary", "softmax",
]  # fmt: skip

# Operators have their parameters written out: torch makes schemas of the annotations.

_Dtype = torch.dtype | None
_operator = torch.library.custom_op


@_operator("deepseek::layer_norm", mutates_args=())
def layer_norm(
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    residual: Tensor | None = None,
    activation: str | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """:func:`deepseek.kernels.layer_norm`."""
    return _norm(True, False, x, weight, bias, eps, residual, activation, out_dtype)[0]


@_operator("deepseek::rms_norm", mutates_args=())
def rms_norm(
    x: Tensor,
    weight: Tensor | None = None,
    eps: float = 1e-6,
    residual: Tensor | None = None,
    activation: str | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """:func:`deepseek.kernels.rms_norm`."""
    return _norm(False, False, x, weight, None, eps, residual, activation, out_dtype)[0]


@_operator("deepseek::add_layer_norm", mutates_args=())
def add_layer_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    activation: str | None = None,
    out_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`deepseek.kernels.add_layer_norm`."""
    return _norm(True, True, x, weight, bias, eps, residual, activation, out_dtype)


@_operator("deepseek::add_rms_norm", mutates_args=())
def add_rms_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor | None = None,
    eps: float = 1e-6,
    activation: str | None = None,
    out_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`deepseek.kernels.add_rms_norm`."""
    return _norm(False, True, x, weight, None, eps, residual, activation, out_dtype)


@_operator("deepseek::softmax", mutates_args=())
def softmax(
    x: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    scale: float = 1.0,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """:func:`deepseek.kernels.softmax`."""
    return _softmax(False, x, mask, bias, scale, out_dtype)


@_operator("deepseek::log_softmax", mutates_args=())
def log_softmax(
    x: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    scale: float = 1.0,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """:func:`deepseek.kernels.log_softmax`."""
    return _softmax(True, x, mask, bias, scale, out_dtype)


@_operator("deepseek::embedding", mutates_args=())
def embedding(
    ids: list[Tensor], tables: list[Tensor], out_dtype: torch.dtype | None = None
) -> Tensor:
    """:func:`deepseek.kernels.embedding`, of lists."""
    return _embedding(ids, tables, None, None, None, out_dtype)


@_operator("deepseek::embedding_layer_norm", mutates_args=())
def embedding_layer_norm(
    ids: list[Tensor],
    tables: list[Tensor],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-12,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """:func:`deepseek.kernels.embedding_layer_norm`, of lists."""
    return _embedding(ids, tables, weight, bias, eps, out_dtype)


@_operator("deepseek::rotary", mutates_args=())
def rotary(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None = None,
    interleaved: bool = False,
) -> tuple[Tensor, Tensor]:
    """:func:`deepseek.kernels.rotary`."""
    if q.is_cpu:
        return run_rotary(q, k, cos, sin, positions, interleaved)
    empty = _rotary_results(q, k, cos, sin, positions)
    turned = rotary_reference(q, k, cos, sin, positions, interleaved)
    return empty[0].copy_(turned[0]), empty[1].copy_(turned[1])


# What runs


def _norm(
    centered: bool,
    summed: bool,
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    residual: Tensor | None,
    activation: str | None,
    out_dtype: _Dtype,
) -> tuple[Tensor, Tensor]:
    if x.is_cpu:
        return run_norm(
            centered, summed, x, weight, bias, eps, residual, activation, out_dtype
        )  # fmt: skip
    empty = _norm_results(x, weight, bias, residual, activation, out_dtype)
    results = norm_reference(x, weight, bias, eps, residual, activation, centered=centered)
    return empty[0].copy_(results[0]), empty[1].copy_(results[1])


def _softmax(
    logarithm: bool,
    x: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    scale: float,
    out_dtype: _Dtype,
) -> Tensor:
    if x.is_cpu:
        return run_softmax(logarithm, x, mask, bias, scale, out_dtype)
    empty = _softmax_result(x, mask, bias, 1.0, out_dtype)
    return empty.copy_(softmax_reference(x, mask, bias, scale, logarithm=logarithm))


def _embedding(
    ids: list[Tensor],
    tables: list[Tensor],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float | None,
    out_dtype: _Dtype,
) -> Tensor:
    if tables and tables[0].is_cpu:
        return run_embedding(ids, tables, weight, bias, eps, out_dtype)
    empty = _embedding_result(ids, tables, weight, bias, out_dtype=out_dtype)
    return empty.copy_(embedding_reference(ids, tables, weight, bias, eps))


# Empty tensors with the shapes and strides of the results


def _norm_results(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    residual: Tensor | None,
    activation: str | None,
    out_dtype: _Dtype,
) -> tuple[Tensor, Tensor]:
    check_norm(x, weight, bias, residual, activation)
    total = sum_dtype(x, residual)
    out = x.new_empty(x.shape, dtype=result_dtype(total, out_dtype))
    return out, x.new_empty(x.shape, dtype=total)


def _softmax_result(
    x: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    _scale: float = 1.0,
    out_dtype: _Dtype = None,
) -> Tensor:
    check_softmax(x, mask, bias)
    return x.new_empty(x.shape, dtype=result_dtype(x.dtype, out_dtype))


def _embedding_result(
    ids: list[Tensor],
    tables: list[Tensor],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    _eps: float = 1e-12,
    out_dtype: _Dtype = None,
) -> Tensor:
    shape = (*check_embedding(ids, tables, weight, bias), tables[0].shape[1])
    return tables[0].new_empty(shape, dtype=result_dtype(tables[0].dtype, out_dtype))


def _rotary_results(
    q: Tensor,
    k: Tensor,
    cos: Tensor,
    sin: Tensor,
    positions: Tensor | None = None,
    _interleaved: bool = False,
) -> tuple[Tensor, Tensor]:
    check_rotary(q, k, cos, sin, positions)
    return result(q, *q.shape[1:]), result(k, *k.shape[1:])


def _norm_fake(names: tuple[str, ...], *, summed: bool) -> Callable[..., Any]:
    def fake(*given: Any, **named: Any) -> Tensor | tuple[Tensor, Tensor]:
        of = dict(zip(names, given, strict=False)) | named
        results = _norm_results(
            of["x"], of.get("weight"), of.get("bias"), of.get("residual"), of.get("activation"),
            of.get("out_dtype"),
        )  # fmt: skip
        return results if summed else results[0]

    return fake


@embedding.register_fake
def _(ids: list[Tensor], tables: list[Tensor], out_dtype: _Dtype = None) -> Tensor:
    return _embedding_result(ids, tables, out_dtype=out_dtype)


softmax.register_fake(_softmax_result)
log_softmax.register_fake(_softmax_result)
embedding_layer_norm.register_fake(_embedding_result)
rotary.register_fake(_rotary_results)

_NORMS = {
    layer_norm: ("x", "weight", "bias", "eps", "residual", "activation", "out_dtype"),
    rms_norm: ("x", "weight", "eps", "residual", "activation", "out_dtype"),
    add_layer_norm: ("x", "residual", "weight", "bias", "eps", "activation", "out_dtype"),
    add_rms_norm: ("x", "residual", "weight", "eps", "activation", "out_dtype"),
}
for _norm_operator, _names in _NORMS.items():
    _norm_operator.register_fake(_norm_fake(_names, summed=_names[1] == "residual"))

for _registered, (_remember, _backward) in {
    **{_norm_operator: norm_autograd(*_names) for _norm_operator, _names in _NORMS.items()},
    softmax: softmax_autograd(logarithm=False),
    log_softmax: softmax_autograd(logarithm=True),
    rotary: rotary_autograd(rotary),
}.items():
    _registered.register_autograd(_backward, setup_context=_remember)
