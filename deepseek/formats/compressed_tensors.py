"""The layout of quantized folders, ``quantization_config`` of the compressed-tensors format.

Layers are named by targets: the name of a module, ``re:`` and a regular expression that its name
begins with, or the name of its class. What is declared of them is in :mod:`.scheme`. A layer that
takes tokens one a row, not in sentences, is declared as having one group a row: readers of the
format take "token" of a matrix for one scale over all of it, and a group as wide as the row says
what is meant.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from deepseek.formats.scheme import BY_CHANNEL, METHOD, PACKED, Scheme, is_linear, unsupported
from deepseek.nn.int8_embedding import Int8Embedding
from deepseek.nn.int8_linear import Int8Linear

__all__ = ["make_quantized_layers", "quantization_config", "tie_int8"]

_MIXED = "mixed-precision"
_FORMATS = (BY_CHANNEL, PACKED, _MIXED)
_CONV1D = "Conv1D"


def quantization_config(
    model: nn.Module,
    rows: Mapping[str, int],
    left_alone: Sequence[str],
    conv1d: Sequence[str] = (),
) -> dict[str, Any]:
    """The declaration that goes into ``config.json``.

    Args:
        model: A model with quantized layers.
        rows: Those of them whose inputs are not ``[texts, tokens, features]``, and how many
            numbers they take.
        left_alone: Names of linear layers that are not quantized.
        conv1d: Names of quantized layers that were ``Conv1D``, GPT-2's linear layer.
    """
    others: dict[Scheme, list[str]] = defaultdict(list)
    linear: dict[str, dict[str, Scheme]] = {"Linear": {}, _CONV1D: {}}
    for name, module in model.named_modules():
        scheme = Scheme.of(module, rows.get(name))
        if scheme is None:
            continue
        if isinstance(module, Int8Embedding):
            others[scheme].append(name)
        else:
            linear[_CONV1D if name in conv1d else "Linear"][name] = scheme
    commonest = {kind: _commonest(list(found.values())) for kind, found in linear.items()}
    for kind, found in linear.items():
        for name, scheme in found.items():
            if scheme != commonest[kind]:
                others[scheme].append(name)
    # The first target that fits a layer decides, so the most general group comes last.
    groups = [
        scheme.to_group([_pattern(model, name) for name in names])
        for scheme, names in sorted(others.items(), key=lambda item: repr(item[0]))
    ]
    groups += [scheme.to_group([kind]) for kind, scheme in commonest.items() if scheme is not None]
    formats = {group["format"] for group in groups}
    return {
        "quant_method": METHOD,
        "format": formats.pop() if len(formats) == 1 else _MIXED,
        "quantization_status": "compressed",
        "config_groups": {f"group_{number}": group for number, group in enumerate(groups)},
        "ignore": [_pattern(model, name) for name in left_alone],
    }


def _commonest(schemes: Sequence[Scheme]) -> Scheme | None:
    """Of the schemes that fit layers of any width."""
    counted = Counter(scheme for scheme in schemes if scheme.width is None)
    return counted.most_common(1)[0][0] if counted else None


def _pattern(model: nn.Module, name: str) -> str:
    """A target for one layer that also fits when the model is loaded without its head, or with."""
    prefix = getattr(model, "base_model_prefix", "")
    rest = name.removeprefix(f"{prefix}.")
    return f"re:(?:{re.escape(prefix)}\\.)?{re.escape(rest)}$" if prefix else name


def make_quantized_layers(model: nn.Module, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Put empty quantized layers where the declaration says so, ready to take their tensors.

    Args:
        model: As built from its configuration, in floating point.
        settings: The ``quantization_config``.

    Returns:
        The names of the layers replaced.

    Raises:
        InputError: The declaration names another scheme.
    """
    schemes = _schemes(settings)
    ignored = tuple(settings.get("ignore") or ())
    names = []
    for name, module in list(model.named_modules()):
        may_be = is_linear(module) or isinstance(module, nn.Embedding)
        if not may_be or any(_fits(name, module, target) for target in ignored):
            continue
        scheme = next((s for target, s in schemes if _fits(name, module, target)), None)
        if scheme is not None:
            model.set_submodule(name, scheme.empty(module, name).train(module.training))
            names.append(name)
    return tuple(names)


def tie_int8(model: nn.Module) -> set[str]:
    """Let layers in INT8 that the architecture ties share weights and scales.

    A table that is said to be another one under a second name becomes that module.

    Returns:
        The names of the weights that were tied.
    """
    tied = set()
    for target, source in getattr(model, "all_tied_weights_keys", {}).items():
        taker = _owner(model, target)
        giver = _owner(model, source)
        if not isinstance(giver, Int8Embedding):
            continue
        if isinstance(taker, Int8Embedding | Int8Linear):
            taker.share(giver.weight, giver.weight_scale)
            tied.add(target)
        elif isinstance(taker, nn.Embedding):
            model.set_submodule(target.removesuffix(".weight"), giver)
            tied.add(target)
    return tied


def _owner(model: nn.Module, tensor: str) -> nn.Module | None:
    """The module of a weight; None of other tensors."""
    name, _, kind = tensor.rpartition(".")
    return model.get_submodule(name) if kind == "weight" else None


def _schemes(settings: Mapping[str, Any]) -> list[tuple[str, Scheme]]:
    """Each target with its scheme."""
    if (found := settings.get("quant_method")) != METHOD:
        raise unsupported(f"method {found}")
    if (found := settings.get("format")) not in _FORMATS:
        raise unsupported(f"format {found}")
    return [
        (target, scheme)
        for group in settings.get("config_groups", {}).values()
        for scheme in [Scheme.from_group(group)]
        for target in group["targets"]
    ]


def _fits(name: str, module: nn.Module, target: str) -> bool:
    if target.startswith("re:"):
        return re.match(target.removeprefix("re:"), name) is not None
    return target in (name, *_class_names(module))


def _class_names(module: nn.Module) -> Iterator[str]:
    return (kind.__name__ for kind in type(module).__mro__)
