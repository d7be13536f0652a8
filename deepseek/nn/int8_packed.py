"""When the kernels compute an INT8 layer, and the weight in the form that they read.

A packed weight is made when a layer first runs and kept as long as the weight it was made from. It
belongs to that tensor, not to a module: layers that share a weight share it, and nothing that
copies, moves, stores or loads modules meets it. It takes as much memory again as the INT8 weight;
a weight that lies on the pages of a file, as those of a loaded model do, counts as cache of that
file from then on.
"""

from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode
from torch.utils.weak import WeakIdKeyDictionary

from deepseek.errors import InputError
from deepseek.kernels.gemm import PackedWeight
from deepseek.kernels.int8 import LONGEST_SUM, pack_int8
from deepseek.kernels.target import host

__all__ = ["packed_weight", "runs_by_kernel"]

_ACTIVATIONS = (torch.float32, torch.bfloat16)
_SCALES = (torch.float32, torch.bfloat16, torch.float16)  # those that fp32 holds exactly


@dataclass(frozen=True, slots=True)
class _Packed:
    """A packed weight, and what it was made with."""

    weight: PackedWeight
    scale: Tensor
    versions: tuple[int, ...]


_packed: MutableMapping[Tensor, _Packed] = WeakIdKeyDictionary()


def runs_by_kernel(x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernels take these operands, for the same result as ``int8_linear``.

    They compute on the CPU, in fp32 and bf16. What is recorded as a graph stays in torch's
    operators; so does what is kept in inference tensors, whose changes nobody counts.
    """
    return (
        type(x) is Tensor
        and x.dtype in _ACTIVATIONS
        and x.is_cpu
        and not _is_recorded()
        and (bias is None or (bias.is_cpu and bias.dtype in _ACTIVATIONS))
        and weight_scale.dtype in _SCALES
        and weight.shape[1] <= LONGEST_SUM
        and all(_is_plain(tensor) for tensor in (weight, weight_scale))
        and _has_kernels()
    )


def _is_recorded() -> bool:
    """Whether torch must see every step: for graphs, modes, ``torch.func``."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or is_in_torch_dispatch_mode()
        or torch._C._functorch.peek_interpreter_stack() is not None  # noqa: SLF001 - no other way
    )


@cache
def _has_kernels() -> bool:
    """Whether kernels are made for this kind of processor."""
    try:
        host()
    except InputError:
        return False
    return True


def _is_plain(tensor: Tensor) -> bool:
    return type(tensor) is Tensor and tensor.is_cpu and not tensor.is_inference()


def packed_weight(weight: Tensor, weight_scale: Tensor, *, symmetric: bool) -> PackedWeight:
    """The weight in panels, made anew where it or its scale has changed.

    A change by way of ``.data`` is not seen, as it is not by autograd.

    Args:
        weight: INT8, ``[out_features, in_features]``.
        weight_scale: ``[out_features, 1]``.
        symmetric: Whether activations are rounded without a zero point.
    """
    rounding = "symmetric" if symmetric else "asymmetric"
    versions = _versions(weight, weight_scale)
    found = _packed.get(weight)
    if (
        found is not None
        and found.scale is weight_scale
        and found.versions == versions
        and found.weight.rounding == rounding
    ):
        return found.weight
    packed = pack_int8(weight, weight_scale, rounding)
    _packed[weight] = _Packed(packed, weight_scale, versions)
    return packed


def _versions(*tensors: Tensor) -> tuple[int, ...]:
    """How often each tensor was changed in place, as autograd counts."""
    return tuple(tensor._version for tensor in tensors)  # noqa: SLF001 - its only name
