"""The architectures that a ``config.json`` names, checked against those transformers has."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import transformers
from transformers import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from deepseek.errors import InputError
from deepseek.formats.architectures.recognise import left_out, shown_class
from deepseek.formats.architectures.recognised import Recognised
from deepseek.formats.architectures.table import FAMILIES
from deepseek.formats.checkpoint import Checkpoint
from deepseek.formats.damage import blamed_on

__all__ = ["configured", "model_class"]

_OWN_CODE = "auto_map"


def configured(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> Iterator[Recognised]:
    """What the configuration says, then what the names show where they say something else.

    Args:
        checkpoint: The checkpoint.
        settings: Its configuration.

    Raises:
        InputError: transformers has no such model, or cannot build one with these settings.
    """
    config = _config(checkpoint, settings)
    named = settings.get("architectures")
    classes = [str(name) for name in named] if isinstance(named, list) else []
    known = [name for name in classes if model_class(name, config) is not None]
    if classes and not known:
        raise InputError(
            f"{checkpoint.source}: transformers has no model {classes[0]} of type "
            f"{config.model_type}, which its configuration names"
        )
    family = next((one for one in FAMILIES if one.model_type == config.model_type), None)
    shown = shown_class(family, checkpoint, config) if family else None
    names = shown.names if shown else {name: name for name in checkpoint.infos}
    for name in known:
        if shown is not None and shown.architecture == name:
            left = [f"built with {key}={value}" for key, value in shown.arguments.items()]
            yield replace(shown, notes=tuple(left))
            continue
        spare = left_out(family, checkpoint, name) if family else frozenset()
        yield Recognised(config=config, architecture=name, names=names, left_out=spare)
    if shown is not None and shown.architecture not in known:
        note = f"the tensors show {shown.architecture}"
        if known:
            note += f", while the configuration says {known[0]}"
        yield replace(shown, notes=(note,))
    if not known and shown is None:
        yield Recognised(
            config=config,
            architecture=_base_class(checkpoint, config),
            names=names,
            notes=("the configuration names no architecture: taken for the base model",),
        )


def model_class(name: str, config: PretrainedConfig) -> Any:
    """The class of that name in transformers, if it is a model of this configuration."""
    found = getattr(transformers, name, None)
    if not isinstance(found, type) or not issubclass(found, transformers.PreTrainedModel):
        return None
    return found if isinstance(config, found.config_class or ()) else None


def _config(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> PretrainedConfig:
    kind = str(settings.get("model_type"))
    if kind not in CONFIG_MAPPING:
        near = difflib.get_close_matches(kind, list(CONFIG_MAPPING), n=1)
        hint = f"did you mean {near[0]}?" if near else None
        if _OWN_CODE in settings:
            hint = "the model brings its own code, which is never run"
        raise InputError(
            f"{checkpoint.source}: transformers has no model of type {kind!r}", hint=hint
        )
    plain = {key: value for key, value in settings.items() if key != _OWN_CODE}
    with blamed_on(checkpoint.source, f"a configuration of {kind}"):
        config = CONFIG_MAPPING[kind].from_dict(plain)
    for key, value in config.to_dict().items():
        if "layers" in key and isinstance(value, int) and value > 1000 + len(checkpoint.infos):
            raise InputError(f"{checkpoint.source}: its configuration has {value} for {key}")
    return config


def _base_class(checkpoint: Checkpoint, config: PretrainedConfig) -> str:
    names = MODEL_MAPPING_NAMES.get(config.model_type, "")
    name = names if isinstance(names, str) else str(names[0])
    if model_class(name, config) is None:
        raise InputError(
            f"{checkpoint.source}: its configuration names no architecture",
            hint="add it to a copy of config.json, and name that with --model_config",
        )
    return name
