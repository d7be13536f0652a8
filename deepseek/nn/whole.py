"""Quantized layers as single operators of torch, which compilers see instead of their arithmetic.

An operator takes the tensors that the layer holds. Dynamo always sees it, so that a model stays one
graph and its layers run on the kernels whatever the backend; torch.export only within
:func:`layers_whole`, so that what it writes otherwise needs nothing but torch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from deepseek.nn.compute import run_grouped, run_int8

__all__ = ["are_layers_whole", "grouped_layer", "int8_layer", "layers_whole"]

_whole = ContextVar("whole", default=False)


@contextmanager
def layers_whole() -> Iterator[None]:
    """Let torch.export find one operator in place of a quantized layer."""
    before = _whole.set(True)
    try:
        yield
    finally:
        _whole.reset(before)


def are_layers_whole(x: Tensor) -> bool:
    """Whether a layer shall call its operator for such an input."""
    return x.is_cpu and (torch.compiler.is_dynamo_compiling() or _whole.get())


int8_layer = torch.library.custom_op("deepseek::int8_layer", run_int8, mutates_args=())
"""The operator of :func:`~deepseek.nn.compute.run_int8`."""

grouped_layer = torch.library.custom_op("deepseek::grouped_layer", run_grouped, mutates_args=())
"""The operator of :func:`~deepseek.nn.compute.run_grouped`."""


@int8_layer.register_fake
def _(x: Tensor, weight: Tensor, *_others: Tensor | None) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight.shape[0]))


@grouped_layer.register_fake
def _(x: Tensor, weight_packed: Tensor, *_others: object) -> Tensor:
    return x.new_empty((*x.shape[:-1], weight_packed.shape[0]))
