"""Scales of features that move from a norm into the linear layers that it alone feeds.

What a norm gives may be divided by one number per feature, and the weights that meet it multiplied
with the same, and nothing changes but which of the two is easier to round. It takes that nothing
else sees the output of the norm: a model is run once, and every use of that output is looked at.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from deepseek.formats.scheme import is_linear
from deepseek.quantization.apply import copy_sharing_tensors
from deepseek.quantization.batches import Batch

__all__ = ["Fold", "find_folds", "folded_copy"]


@dataclass(frozen=True, slots=True)
class Fold:
    """A norm, and the linear layers that take what it gives and are alone in it."""

    norm: str
    layers: tuple[str, ...]


def find_folds(model: nn.Module, names: Sequence[str], batch: Batch) -> list[Fold]:
    """The norms whose scale can move into layers.

    Args:
        model: In eval mode.
        names: The layers whose weights may change.
        batch: What the model is run on.
    """
    uses = _Uses()
    with uses.watching(model), torch.no_grad(), uses:
        result = model(**batch.inputs)
    uses.elsewhere |= {uses.norms[id(t)][0] for t in _tensors(result) if id(t) in uses.norms}
    return [
        Fold(norm, tuple(layers))
        for norm, layers in uses.layers.items()
        if norm not in uses.elsewhere
        and set(layers) <= set(names)
        and all(uses.sources[layer] == {norm} for layer in layers)
        and _scales(model.get_submodule(norm))
    ]


class _Uses(TorchFunctionMode):
    """Who takes the outputs of norms: which linear layers, and whether anything else."""

    def __init__(self) -> None:
        super().__init__()
        self.norms: dict[int, tuple[str, Tensor]] = {}  # by the identity of the output
        self.layers: dict[str, list[str]] = defaultdict(list)
        self.sources: dict[str, set[str]] = defaultdict(set)
        self.elsewhere: set[str] = set()
        self._inside = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        # Questions such as that for the shape give no tensor.
        if not self._inside and any(True for _ in _tensors(result)):
            for tensor in _tensors((args, kwargs)):
                if id(tensor) in self.norms:
                    self.elsewhere.add(self.norms[id(tensor)][0])
        return result

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        handles = []
        for name, module in model.named_modules():
            if is_linear(module):
                handles.append(module.register_forward_pre_hook(self._enter(name)))
                handles.append(module.register_forward_hook(self._leave()))
            elif _is_norm(module):
                handles.append(module.register_forward_hook(self._norm(name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
            self._inside += 1
            norm = self.norms.get(id(inputs[0]), ("",))[0]
            self.sources[name].add(norm)
            if norm and name not in self.layers[norm]:
                self.layers[norm].append(name)

        return hook

    def _leave(self) -> Any:
        def hook(_module: nn.Module, _inputs: Any, _output: Any) -> None:
            self._inside -= 1

        return hook

    def _norm(self, name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                self.norms[id(output)] = (name, output)

        return hook


def folded_copy(model: nn.Module, folds: Sequence[Fold], scales: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a model in which scales have moved; all else is shared with it.

    Args:
        model: The model.
        folds: Which norms, and where to.
        scales: By the name of the norm, what its output is divided by, ``[features]``.
    """
    result = copy_sharing_tensors(model)
    for fold in folds:
        scale = scales[fold.norm]
        _divide(result.get_submodule(fold.norm), scale)
        for name in fold.layers:
            layer = result.get_submodule(name)
            weight = layer.weight
            assert isinstance(weight, Tensor)
            # Conv1D has its inputs along the first dimension.
            spread = scale if isinstance(layer, nn.Linear) else scale[:, None]
            layer.weight = _fixed(weight.float() * spread, weight)
    return result


def _divide(norm: nn.Module, scale: Tensor) -> None:
    for name in ("weight", "bias"):
        tensor = getattr(norm, name, None)
        if isinstance(tensor, Tensor):
            setattr(norm, name, _fixed(tensor.float() / scale, tensor))


def _fixed(tensor: Tensor, like: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().to(like.dtype), requires_grad=False)


def _is_norm(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    named = "Norm" in type(module).__name__ and "Batch" not in type(module).__name__
    return named and isinstance(weight, nn.Parameter) and weight.ndim == 1


def _scales(norm: nn.Module) -> bool:
    """Whether a norm multiplies with its weight: some multiply with one more than it."""
    weight = norm.weight
    assert isinstance(weight, Tensor)
    if not weight.isfinite().all():
        return True  # calibration will name the layer that takes it
    generator = torch.Generator().manual_seed(0)
    scale = torch.rand(len(weight), generator=generator) + 0.5
    x = torch.randn(4, len(weight), generator=generator).to(weight.dtype)
    divided = copy_sharing_tensors(norm)
    _divide(divided, scale)
    with torch.no_grad():
        expected, found = norm(x).float(), divided(x).float() * scale
    return torch.allclose(found, expected, rtol=2e-2, atol=1e-2 * float(expected.abs().max()))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
