"""Quantized weights in the form that the kernels read.

A packed weight is made when a layer first runs and kept as long as the weight it was made from. It
belongs to that tensor, not to a module: layers that share a weight share it, and nothing that
copies, moves, stores or loads modules meets it. It takes as much memory again as the quantized
weight; a weight that lies on the pages of a file, as those of a loaded model do, counts as cache
of that file from then on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from weakref import ref

import torch
from torch import Tensor

from deepseek.errors import InputError
from deepseek.kernels.gemm import PackedWeight
from deepseek.kernels.int8 import LONGEST_SUM, pack_int8
from deepseek.kernels.target import host

__all__ = ["kernels_take", "packed_for", "packed_once"]

_ACTIVATIONS = (torch.float32, torch.bfloat16)
_SCALES = (torch.float32, torch.bfloat16, torch.float16)  # those that fp32 holds exactly


@dataclass(frozen=True, slots=True)
class _Packed:
    """A packed weight, and what it was made from."""

    weight: PackedWeight
    source: ref[Tensor]
    others: tuple[Tensor, ...]
    form: str
    versions: tuple[int, ...]

    def is_of(self, tensors: tuple[Tensor, ...], form: str) -> bool:
        return (
            self.source() is tensors[0]
            and self.form == form
            and len(self.others) == len(tensors) - 1
            and all(mine is other for mine, other in zip(self.others, tensors[1:], strict=True))
            and self.versions == _versions(tensors)
        )


_packed: dict[int, _Packed] = {}  # by the identity of the weight


def packed_for(
    x: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None, *, symmetric: bool
) -> PackedWeight | None:
    """The packed INT8 weight if the kernels compute this layer, for the same result; else None.

    Args:
        x: ``[..., in_features]``.
        weight: INT8, ``[out_features, in_features]``.
        weight_scale: ``[out_features, 1]``.
        bias: ``[out_features]``.
        symmetric: Whether activations are rounded without a zero point.
    """
    if not kernels_take(x, bias) or weight.shape[1] > LONGEST_SUM:
        return None
    form = "symmetric" if symmetric else "asymmetric"
    return packed_once((weight, weight_scale), form, lambda: pack_int8(weight, weight_scale, form))


def kernels_take(x: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernels compute with such activations and such a bias.

    They compute on the CPU, in fp32 and bf16. What is recorded as a graph stays in torch's
    operators.
    """
    if type(x) is not Tensor or x.dtype not in _ACTIVATIONS or not x.is_cpu or _is_recorded():
        return False
    return bias is None or bias.dtype in _ACTIVATIONS


def packed_once(
    tensors: tuple[Tensor, ...], form: str, pack: Callable[[], PackedWeight]
) -> PackedWeight | None:
    """What ``pack`` makes of a weight, made once; None where the kernels cannot read it.

    Where one of the tensors has changed it is packed anew; a change by way of ``.data`` is not
    seen, as it is not by autograd. What is kept in inference tensors, whose changes nobody counts,
    is not packed.

    Args:
        tensors: The weight, its scales, and what else it is made of.
        form: Anything else that it depends on.
        pack: Makes the packed weight.
    """
    found = _packed.get(id(tensors[0]))
    if found is not None and found.is_of(tensors, form):
        return found.weight
    plain = all(_is_plain(tensor) for tensor in tensors)
    if not (plain and tensors[1].dtype in _SCALES and _has_kernels()):
        return None
    key = id(tensors[0])
    packed = pack()
    source = ref(tensors[0], lambda _: _packed.pop(key, None))
    _packed[key] = _Packed(packed, source, tensors[1:], form, _versions(tensors))
    return packed


def _is_plain(tensor: Tensor) -> bool:
    return type(tensor) is Tensor and tensor.is_cpu and not tensor.is_inference()


def _is_recorded() -> bool:
    """Whether torch must see every step: for graphs, modes, ``torch.func``.

    What this thread does counts. ``is_compiling`` and ``is_in_torch_dispatch_mode`` tell of the
    whole process, and stay set when two threads have left their modes in another order than they
    had entered them.
    """
    return (
        torch.compiler.is_dynamo_compiling()
        or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch._C._len_torch_dispatch_stack() > 0  # noqa: SLF001 - no other way
        or torch._C._functorch.peek_interpreter_stack() is not None  # noqa: SLF001 - no other way
    )


def _versions(tensors: tuple[Tensor, ...]) -> tuple[int, ...]:
    """How often each was changed in place, as autograd counts."""
    return tuple(tensor._version for tensor in tensors)  # noqa: SLF001 - its only name


@cache
def _has_kernels() -> bool:
    """Whether kernels are made for this kind of processor."""
    try:
        host()
    except InputError:
        return False
    return True
