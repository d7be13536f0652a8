"""Which layers of a model are quantized, which are left alone and why; and the replacement."""

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from deepseek.errors import InputError
from deepseek.nn.grouped_linear import GroupedLinear
from deepseek.nn.int8_linear import Int8Linear
from deepseek.progress import Progress, silent

__all__ = [
    "LeftAlone", "Plan", "as_linear", "copy_sharing_tensors", "plan_layers", "quantized_copy",
]  # fmt: skip

Make = Callable[[str, nn.Linear], nn.Module]
"""From the name of a linear layer and the layer to a quantized one."""


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A layer that could hold quantized weights and does not, and the reason."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        quantized: Names of the layers to quantize.
        left_alone: Layers with a weight matrix that stay as they are. Embeddings and norms are
            not listed: they always stay.
    """

    quantized: tuple[str, ...]
    left_alone: tuple[LeftAlone, ...]


def plan_layers(model: nn.Module) -> Plan:
    """Go through the layers of a model.

    Raises:
        InputError: The model is quantized already, or there is no layer to quantize.
    """
    _refuse_quantized(model)
    owners = _owners_of_weights(model)
    quantized, left_alone = [], []
    for name, module in model.named_modules():
        reason = _reason_to_leave(module, owners)
        if reason is None:
            quantized.append(name)
        elif reason:
            left_alone.append(LeftAlone(name, reason))
    if not quantized:
        raise InputError(_nothing_to_do(model, left_alone))
    return Plan(tuple(quantized), tuple(left_alone))


def quantized_copy(
    model: nn.Module,
    names: Sequence[str],
    progress: Progress = silent,
    make: Make = lambda _, linear: Int8Linear.from_linear(linear),
) -> nn.Module:
    """A copy of a model with the named linear layers quantized; all else is shared with it.

    Args:
        model: In floating point.
        names: Layers to replace.
        progress: Told how many are done.
        make: Makes the quantized layer; by default with INT8 weights and dynamic activations.

    Raises:
        InputError: The weight of a layer is not finite.
    """
    result = copy_sharing_tensors(model)
    paths = _paths(result)
    for done, name in enumerate(names):
        progress("quantizing layers", done, len(names))
        module = result.get_submodule(name)
        linear = as_linear(module)
        if not linear.weight.isfinite().all():
            raise InputError(f"expected finite weights, found NaN or infinity in layer {name}")
        layer = make(name, linear)
        for path in paths[module]:
            result.set_submodule(path, layer)
    progress("quantizing layers", len(names), len(names))
    return result


def as_linear(module: nn.Module) -> nn.Linear:
    """A linear layer as ``nn.Linear`` over the same tensors; ``Conv1D`` keeps its weight turned."""
    if isinstance(module, nn.Linear):
        return module
    assert isinstance(module, Conv1D), f"expected a linear layer, found {type(module).__name__}"
    inputs, outputs = module.weight.shape
    linear = nn.Linear(inputs, outputs, bias=module.bias is not None, device="meta")
    linear.weight = nn.Parameter(module.weight.detach().t(), requires_grad=False)
    if module.bias is not None:
        linear.bias = nn.Parameter(module.bias.detach(), requires_grad=False)
    return linear.train(module.training)


def _refuse_quantized(model: nn.Module) -> None:
    settings = getattr(model, "config", None)
    if getattr(settings, "quantization_config", None) is not None:
        raise InputError("expected a model in floating point, found one that is quantized already")
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        # torch.ao keeps packed weights behind a method
        packed = callable(weight) or isinstance(module, GroupedLinear)
        if packed or (isinstance(weight, torch.Tensor) and not weight.dtype.is_floating_point):
            raise InputError(
                "expected a model in floating point, found one that is quantized already "
                f"(layer {name} is a {type(module).__name__})"
            )


def _owners_of_weights(model: nn.Module) -> Mapping[int, list[str]]:
    """For each weight, by its place in memory, the modules that hold it."""
    owners: dict[int, list[str]] = defaultdict(list)
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor):
            owners[weight.data_ptr()].append(name)
    return owners


def _reason_to_leave(module: nn.Module, owners: Mapping[int, list[str]]) -> str | None:
    """None to quantize a module; else why not, and nothing to say of what is no such layer."""
    kind = type(module).__name__
    if type(module) in (nn.Linear, Conv1D):
        assert isinstance(module.weight, torch.Tensor)
        others = owners[module.weight.data_ptr()]
        return None if len(others) == 1 else f"its weight is also that of {others[0]}"
    if isinstance(module, nn.Linear):
        return f"{kind} may use its weight in ways of its own"
    return ""


def _nothing_to_do(model: nn.Module, left_alone: Sequence[LeftAlone]) -> str:
    found = f"expected linear layers to quantize, found none in {type(model).__name__}"
    if not left_alone:
        return found
    first = left_alone[0]
    return (
        f"{found} but {len(left_alone)} that must stay as they are ({first.name}: {first.reason})"
    )


def copy_sharing_tensors(model: nn.Module) -> nn.Module:
    """A copy of the modules of a model over the same tensors."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def _paths(model: nn.Module) -> Mapping[nn.Module, list[str]]:
    """Every name under which each module can be reached."""
    paths: dict[nn.Module, list[str]] = defaultdict(list)
    for path, module in model.named_modules(remove_duplicate=False):
        paths[module].append(path)
    return paths
