"""The model to train: from a folder, a configuration, a name, or a class of the user's own."""

import copy
import json
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.resources import files
from inspect import signature
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from deepseek.errors import InputError
from deepseek.formats.config_file import read_config

__all__ = ["ModelSource", "build_model", "find_model"]

_OF_WEIGHTS = {"vocab_size", "bos_token_id", "eos_token_id", "pad_token_id", "image_size"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSource:
    """Where a model comes from.

    Attributes:
        name: A short name for it, fit for a folder.
        config: Its configuration, where transformers knows the model.
        weights: The folder or hub name of weights to begin with.
        own: The class of the user's own, as ``module:Class``.
        options: Changes to the configuration, or arguments of the class.
    """

    name: str
    config: PretrainedConfig | None = None
    weights: str | None = None
    own: str | None = None
    options: Mapping[str, Any]


def find_model(source: str, options: Sequence[str] = ()) -> ModelSource:
    """Find out what ``source`` names; no weights are read yet.

    Raises:
        InputError: It names nothing, or an option is not one of its configuration.
    """
    chosen = _parse_options(options)
    if ":" in source and not Path(source).exists():
        return ModelSource(name=source.rsplit(":", 1)[1], own=source, options=chosen)
    path = Path(source)
    if path.exists():
        config, weights = _from_path(path)
        name = path.resolve().stem if path.is_file() else path.resolve().name
    elif "/" in source:
        config, weights, name = _from_hub(source), source, source.rsplit("/", 1)[1]
    else:
        config, weights, name = _from_name(source), None, source
    unknown = [key for key in chosen if not hasattr(config, key)]
    if unknown:
        raise InputError(
            f"--model_options: a {config.model_type} has no {unknown[0]!r}",
            hint=_did_you_mean(unknown[0], config.to_dict()),
        )
    for key, value in chosen.items():
        setattr(config, key, value)
    return ModelSource(name=name, config=config, weights=weights, options=chosen)


def build_model(
    source: ModelSource, auto_class: str, settings: Mapping[str, Any]
) -> torch.nn.Module:
    """The model in float32, with its weights read or drawn from torch's generator.

    Args:
        source: What ``find_model`` found.
        auto_class: The class of transformers for the task: ``AutoModelForCausalLM``.
        settings: Values of the configuration that the data decides, such as ``vocab_size``; weights
            that are read keep their own vocabulary.

    Raises:
        InputError: The configuration is contradictory, or the weights cannot be read.
    """
    if source.own is not None:
        return _build_own(source.own, source.options, settings)
    assert source.config is not None
    for key, value in settings.items():
        kept = source.weights is not None and key in _OF_WEIGHTS
        if key not in source.options and not kept and hasattr(source.config, key):
            setattr(source.config, key, value)
    _check_heads(source.name, source.config)
    auto, config = getattr(transformers, auto_class), copy.deepcopy(source.config)  # its own
    try:
        if source.weights is None:
            return _module(auto.from_config(config, dtype=torch.float32))
        return _module(
            auto.from_pretrained(
                source.weights,
                config=config,
                dtype=torch.float32,
                local_files_only=Path(source.weights).exists(),
            )
        )
    except (ValueError, OSError, RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"cannot build the model {source.name}: {reason}") from error


def _check_heads(name: str, config: PretrainedConfig) -> None:
    """Not every model does, and then fails in the middle of its first pass."""
    width, heads = (getattr(config, key, None) for key in ("hidden_size", "num_attention_heads"))
    if (
        not isinstance(width, int)
        or not isinstance(heads, int)
        or getattr(config, "head_dim", None)
    ):
        return
    if heads < 1 or width % heads:
        raise InputError(
            f"cannot build the model {name}: expected attention heads that divide its width, got "
            f"{heads} heads and a width of {width}"
        )


def _module(model: object) -> torch.nn.Module:
    assert isinstance(model, torch.nn.Module)
    return model


def _parse_options(options: Sequence[str]) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or not key.strip():
            raise InputError(f"expected --model_options key=value, got {option!r}")
        try:
            parsed[key.strip()] = json.loads(text)
        except ValueError:
            parsed[key.strip()] = text.strip()
    return parsed


def _from_path(path: Path) -> tuple[PretrainedConfig, str | None]:
    if path.is_dir():
        config = _from_values(read_config(path / "config.json"), path)
        has_weights = any(path.glob("*.safetensors")) or any(path.glob("*.bin"))
        return config, str(path) if has_weights else None
    if path.suffix == ".toml":
        return _from_values(tomllib.loads(path.read_text(encoding="utf-8")), path), None
    return _from_values(read_config(path), path), None


def _from_hub(name: str) -> PretrainedConfig:
    try:
        config = transformers.AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"--model {name}: neither a path nor to be had from the hub: {reason[:200]}"
        ) from error
    assert isinstance(config, PretrainedConfig)
    return config


def _from_name(name: str) -> PretrainedConfig:
    folder = files("deepseek") / "configs" / "models"
    presets = {
        item.name.removesuffix(".toml"): item
        for item in folder.iterdir()
        if item.name.endswith(".toml")
    }
    if name in presets:
        return _from_values(tomllib.loads(presets[name].read_text(encoding="utf-8")), name)
    if name in CONFIG_MAPPING:
        config = CONFIG_MAPPING[name]()
        assert isinstance(config, PretrainedConfig)
        return config
    known = [*presets, *CONFIG_MAPPING]
    raise InputError(
        f"expected a model for --model, {name!r} is no path, preset or model type",
        hint=_did_you_mean(name, known)
        or f"presets: {', '.join(sorted(presets))}; types are those of transformers",
    )


def _from_values(values: Mapping[str, Any], origin: str | Path) -> PretrainedConfig:
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise InputError(f"{origin}: expected a model_type that transformers knows, found {kind!r}")
    try:
        config = CONFIG_MAPPING[kind].from_dict(dict(values))
    except (ValueError, TypeError) as error:
        raise InputError(f"{origin}: {' '.join(str(error).split())}") from error
    assert isinstance(config, PretrainedConfig)
    return config


def _build_own(
    name: str, options: Mapping[str, Any], settings: Mapping[str, Any]
) -> torch.nn.Module:
    module_name, _, class_name = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # as for python -m
        sys.path.insert(0, here)
    try:
        built: Callable[..., object] = getattr(import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--model {name}: {error}") from error
    takes = signature(built).parameters
    try:
        model = built(**{k: v for k, v in settings.items() if k in takes} | dict(options))
    except TypeError as error:
        raise InputError(f"--model {name}: {error}", hint="see --model_options") from error
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"--model {name}: expected a torch module, got {type(model).__name__}")
    return model


def _did_you_mean(word: str, words: Mapping[str, Any] | Sequence[str]) -> str | None:
    close = get_close_matches(word, list(words), n=1)
    return f"did you mean {close[0]}?" if close else None
