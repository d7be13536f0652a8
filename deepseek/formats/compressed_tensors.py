"""The layout of INT8 folders, ``quantization_config`` of the compressed-tensors format.

Layers are named by targets: the name of a module, ``re:`` and a regular expression that its name
begins with, or the name of its class. Of the many schemes of the format one is spoken here:
symmetric INT8 weights with a scale per channel, INT8 activations with a scale per token found at
run time, symmetric or with a zero point. A layer that takes tokens one a row, not in sentences, is
declared as having one group a row: readers of the format take "token" of a matrix for one scale
over all of it, and a group as wide as the row says what is meant.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from deepseek.errors import InputError
from deepseek.nn.int8_linear import Int8Linear

__all__ = ["make_int8_layers", "quantization_config"]

_METHOD, _FORMAT = "compressed-tensors", "int-quantized"
_INT8 = {"num_bits": 8, "type": "int"}
_WEIGHTS = {**_INT8, "symmetric": True, "strategy": "channel", "dynamic": False}
_PER_TOKEN = {**_INT8, "strategy": "token", "dynamic": True}
_PER_GROUP = {**_INT8, "strategy": "group", "dynamic": True}


def quantization_config(
    model: nn.Module, rows: Mapping[str, int], left_alone: Sequence[str]
) -> dict[str, Any]:
    """The declaration that goes into ``config.json``.

    Args:
        model: A model with ``Int8Linear`` layers.
        rows: Those of them whose inputs are not ``[texts, tokens, features]``, and how many
            numbers they take.
        left_alone: Names of linear layers that are not quantized.
    """
    by_width: dict[int, list[str]] = defaultdict(list)
    for name, width in rows.items():
        by_width[width].append(_pattern(model, name))
    layers = [module for module in model.modules() if isinstance(module, Int8Linear)]
    symmetric = {"symmetric": all(layer.symmetric for layer in layers)}
    assert len({layer.symmetric for layer in layers}) < 2, "one form of activations a model"
    # The first target that fits a layer decides, so the most general group comes last.
    groups = [
        _group(targets, {**_PER_GROUP, **symmetric, "group_size": width})
        for width, targets in sorted(by_width.items())
    ]
    groups.append(_group(["Linear"], {**_PER_TOKEN, **symmetric}))
    return {
        "quant_method": _METHOD,
        "format": _FORMAT,
        "quantization_status": "compressed",
        "config_groups": {f"group_{number}": group for number, group in enumerate(groups)},
        "ignore": [_pattern(model, name) for name in left_alone],
    }


def _group(targets: Sequence[str], activations: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "targets": list(targets),
        "weights": dict(_WEIGHTS),
        "input_activations": dict(activations),
        "output_activations": None,
        "format": _FORMAT,
    }


def _pattern(model: nn.Module, name: str) -> str:
    """A target for one layer that also fits when the model is loaded without its head, or with."""
    prefix = getattr(model, "base_model_prefix", "")
    rest = name.removeprefix(f"{prefix}.")
    return f"re:(?:{re.escape(prefix)}\\.)?{re.escape(rest)}$" if prefix else name


def make_int8_layers(model: nn.Module, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Put empty ``Int8Linear`` layers where the declaration says so, ready to take their tensors.

    Args:
        model: As built from its configuration, in floating point.
        settings: The ``quantization_config``.

    Returns:
        The names of the layers replaced.

    Raises:
        InputError: The declaration names another scheme.
    """
    groups = _int8_groups(settings)
    ignored = tuple(settings.get("ignore") or ())
    names = []
    for name, module in list(model.named_modules()):
        if not isinstance(module, nn.Linear) or any(_fits(name, module, t) for t in ignored):
            continue
        group = next((g for target, g in groups if _fits(name, module, target)), None)
        if group is None:
            continue
        if group.width not in (None, module.in_features):
            raise _unsupported(f"groups of {group.width} in layer {name}")
        weight = module.weight
        layer = Int8Linear(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            symmetric=group.symmetric,
            dtype=weight.dtype,
            device=weight.device,
        )
        model.set_submodule(name, layer.train(module.training))
        names.append(name)
    return tuple(names)


@dataclass(frozen=True, slots=True)
class _Activations:
    """How a group rounds what goes in; ``width`` is that of its groups, None for whole tokens."""

    symmetric: bool
    width: int | None


def _int8_groups(settings: Mapping[str, Any]) -> list[tuple[str, _Activations]]:
    """Each target with the form of its activations."""
    if (found := settings.get("quant_method")) != _METHOD:
        raise _unsupported(f"method {found}")
    if (found := settings.get("format")) != _FORMAT:
        raise _unsupported(f"format {found}")
    return [
        (target, activations)
        for group in settings.get("config_groups", {}).values()
        for activations in [_activations(group)]
        for target in group["targets"]
    ]


def _activations(group: Mapping[str, Any]) -> _Activations:
    weights, inputs = group.get("weights") or {}, group.get("input_activations") or {}
    if group.get("output_activations") or not _has(weights, _WEIGHTS):
        raise _unsupported("another kind of weights, or rounded outputs")
    symmetric = bool(inputs.get("symmetric", True))  # as the format has it where nothing is said
    if _has(inputs, _PER_TOKEN):
        return _Activations(symmetric, None)
    if _has(inputs, _PER_GROUP):
        return _Activations(symmetric, int(inputs["group_size"]))
    raise _unsupported("another kind of activations")


def _has(found: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return all(found.get(key) == value for key, value in expected.items())


def _unsupported(found: str) -> InputError:
    return InputError(
        "expected a folder quantized to INT8 with scales per channel and per token "
        f"({_METHOD}, {_FORMAT}), found {found}"
    )


def _fits(name: str, module: nn.Module, target: str) -> bool:
    if target.startswith("re:"):
        return re.match(target.removeprefix("re:"), name) is not None
    return target in (name, *_class_names(module))


def _class_names(module: nn.Module) -> Iterator[str]:
    return (kind.__name__ for kind in type(module).__mro__)
