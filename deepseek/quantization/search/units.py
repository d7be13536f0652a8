"""The parts of a model that are quantized or not, and models with some of each.

A unit is a layer, or several that change together: a method that moves scales from a norm into the
layers behind it changes all of them or none.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from deepseek.quantization.apply import copy_sharing_tensors
from deepseek.quantization.methods.method import Quantized

__all__ = ["Mixing", "Mixture", "Unit", "tensor_bytes", "units_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """What is quantized or not as a whole.

    Attributes:
        name: Of its first layer.
        layers: The layers that hold quantized weights.
        modules: The paths of all modules that differ, layers included.
        bytes_before: Of their tensors in the original.
        bytes_after: In the quantized model.
    """

    name: str
    layers: tuple[str, ...]
    modules: tuple[str, ...]
    bytes_before: int
    bytes_after: int

    @property
    def bytes_saved(self) -> int:
        """What quantizing it saves."""
        return self.bytes_before - self.bytes_after


def units_of(original: nn.Module, quantized: Quantized) -> tuple[Unit, ...]:
    """The units of a quantized model, in the order of its layers."""
    groups = {name: tuple(group) for group in quantized.groups for name in group}
    layers = [layer.name for layer in quantized.layers]
    units: dict[tuple[str, ...], Unit] = {}
    for name in layers:
        modules = groups.get(name, (name,))
        if modules not in units:
            units[modules] = Unit(
                name=name,
                layers=tuple(layer for layer in layers if layer in modules),
                modules=modules,
                bytes_before=sum(tensor_bytes(original.get_submodule(path)) for path in modules),
                bytes_after=sum(
                    tensor_bytes(quantized.model.get_submodule(path)) for path in modules
                ),
            )
    return tuple(units.values())


def tensor_bytes(model: nn.Module) -> int:
    """Of all tensors that are stored, shared ones once."""
    tensors = {tensor.data_ptr(): tensor for tensor in model.state_dict().values()}
    return sum(tensor.nbytes for tensor in tensors.values())


class Mixing(Protocol):
    """Models of which any units are quantized."""

    def quantize(self, names: Collection[str]) -> nn.Module:
        """The model in which the units of these names are quantized, and no other."""

    def bytes(self) -> int:
        """Of the model that was asked for last."""


class Mixture:
    """A model of which any units can be quantized.

    Args:
        original: In floating point.
        quantized: All units quantized.
        units: Those of the two.

    Attributes:
        model: The model, at first the original.
    """

    def __init__(self, original: nn.Module, quantized: nn.Module, units: Sequence[Unit]) -> None:
        self.model = copy_sharing_tensors(original)
        self._units = units
        self._sides = (original, quantized)
        self._now: dict[str, bool] = dict.fromkeys((unit.name for unit in units), False)
        self._paths = _all_paths(original)

    def quantize(self, names: Collection[str]) -> nn.Module:
        """Quantize the units of these names and no other; gives the model."""
        for unit in self._units:
            wanted = unit.name in names
            if wanted != self._now[unit.name]:
                self._put(unit, self._sides[wanted])
                self._now[unit.name] = wanted
        return self.model

    def bytes(self) -> int:
        """Of the tensors of the model as it is now."""
        return tensor_bytes(self.model)

    def _put(self, unit: Unit, source: nn.Module) -> None:
        for name in unit.modules:
            module = source.get_submodule(name)
            for path in self._paths[name]:
                self.model.set_submodule(path, module)


def _all_paths(model: nn.Module) -> Mapping[str, Sequence[str]]:
    """For every path of a module all under which it can be reached."""
    by_module: dict[nn.Module, list[str]] = defaultdict(list)
    for path, module in model.named_modules(remove_duplicate=False):
        by_module[module].append(path)
    return {path: paths for paths in by_module.values() for path in paths}
