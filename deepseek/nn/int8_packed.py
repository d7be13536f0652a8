"""The weight of an INT8 layer in the form that the kernels read.

A packed weight is made when a layer first runs and kept as long as the weight it was made from. It
belongs to that tensor, not to a module: layers that share a weight share it, and nothing that
copies, moves, stores or loads modules meets it. It takes as much memory again as the INT8 weight;
a weight that lies on the pages of a file, as those of a loaded model do, counts as cache of that
file from then on.
"""

from dataclasses import dataclass
from functools import cache
from weakref import ref

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from deepseek.errors import InputError
from deepseek.kernels.gemm import PackedWeight
from deepseek.kernels.int8 import LONGEST_SUM, pack_int8
from deepseek.kernels.target import host

__all__ = ["packed_for"]

_ACTIVATIONS = (torch.float32, torch.bfloat16)
_SCALES = (torch.float32, torch.bfloat16, torch.float16)  # those that fp32 holds exactly


@dataclass(frozen=True, slots=True)
class _Packed:
    """A packed weight, and what it was made from."""

    weight: PackedWeight
    source: ref[Tensor]
    scale: Tensor
    symmetric: bool
    versions: tuple[int, int]


_packed: dict[int, _Packed] = {}  # by the identity of the weight


def packed_for(
    x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None, *, symmetric: bool
) -> PackedWeight | None:
    """The packed weight if the kernels compute this layer, for the same result; else None.

    They compute on the CPU, in fp32 and bf16. What is recorded as a graph stays in torch's
    operators; so does what is kept in inference tensors, whose changes nobody counts. Where the
    weight or its scale has changed it is packed anew; a change by way of ``.data`` is not seen, as
    it is not by autograd.

    Args:
        x: ``[..., in_features]``.
        weight: INT8, ``[out_features, in_features]``.
        weight_scale: ``[out_features, 1]``.
        bias: ``[out_features]``.
        symmetric: Whether activations are rounded without a zero point.
    """
    if type(x) is not Tensor or x.dtype not in _ACTIVATIONS or not x.is_cpu or _is_recorded():
        return None
    if bias is not None and bias.dtype not in _ACTIVATIONS:
        return None
    found = _packed.get(id(weight))
    if (
        found is not None
        and found.source() is weight
        and found.scale is weight_scale
        and found.symmetric == symmetric
        and found.versions == _versions(weight, weight_scale)
    ):
        return found.weight
    return _pack(weight, weight_scale, symmetric=symmetric)


def _pack(weight: Tensor, weight_scale: Tensor, *, symmetric: bool) -> PackedWeight | None:
    fits = weight_scale.dtype in _SCALES and weight.shape[1] <= LONGEST_SUM
    if not (fits and _is_plain(weight) and _is_plain(weight_scale) and _has_kernels()):
        return None
    key = id(weight)
    packed = pack_int8(weight, weight_scale, "symmetric" if symmetric else "asymmetric")
    source = ref(weight, lambda _: _packed.pop(key, None))
    _packed[key] = _Packed(packed, source, weight_scale, symmetric, _versions(weight, weight_scale))
    return packed


def _is_plain(tensor: Tensor) -> bool:
    return type(tensor) is Tensor and tensor.is_cpu and not tensor.is_inference()


def _is_recorded() -> bool:
    """Whether torch must see every step: for graphs, modes, ``torch.func``."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or is_in_torch_dispatch_mode()
        or torch._C._functorch.peek_interpreter_stack() is not None  # noqa: SLF001 - no other way
    )


def _versions(weight: Tensor, scale: Tensor) -> tuple[int, int]:
    """How often each was changed in place, as autograd counts."""
    return weight._version, scale._version  # noqa: SLF001 - their only names


@cache
def _has_kernels() -> bool:
    """Whether kernels are made for this kind of processor."""
    try:
        host()
    except InputError:
        return False
    return True
