"""From four places to one configuration: preset < file < environment < flags.

Each place is a layer, a mapping from dotted keys to raw values. Later layers win, unknown keys are
errors with a suggestion, and every value remembers where it came from.
"""

import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

from deepseek.errors import InputError
from ds_cli.fields import ConfigField, fields_of, with_values

__all__ = [
    "Layer",
    "Resolved",
    "environment_layer",
    "file_layer",
    "preset_layer",
    "resolve",
    "set_layer",
]

_ENVIRONMENT_PREFIX = "DEEPSEEK_"


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """Raw values by dotted key.

    Attributes:
        source: Where the values came from, in a user's words.
        values: The values as they were written.
        spell: How a user wrote a key there.
    """

    source: str
    values: Mapping[str, Any]
    spell: Callable[[str], str] = str


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolved:
    """A configuration, and for each of its keys the value and its source."""

    config: Any
    values: dict[str, Any]
    sources: dict[str, str]


def resolve(config: type, layers: Iterable[Layer], positional: Collection[str] = ()) -> Resolved:
    """Lay the layers over each other and build the configuration.

    Args:
        config: A configuration dataclass, see ``ds_cli.fields``.
        layers: From the weakest to the strongest.
        positional: Keys that the command line takes by place.

    Raises:
        InputError: An unknown key, a value of the wrong kind, or a required key that no layer has.
    """
    known = fields_of(config)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer in layers:
        for key, raw in layer.values.items():
            if key not in known:
                raise _unknown_key(key, layer, known)
            values[key] = _convert(known[key], raw, layer)
            sources[key] = layer.source
    for key, field in known.items():
        if field.required and key not in values:
            name = key.upper() if key in positional else f"--{key}"
            raise InputError(
                f"expected a value for {name}, found none",
                hint=f"give {name}, or {key} = … in a file named by --config",
            )
    defaults = {key: field.default for key, field in known.items()}
    return Resolved(
        config=with_values(config, values),
        values=defaults | values,
        sources=dict.fromkeys(known, "default") | sources,
    )


def preset_layer(command: str, name: str) -> Layer:
    """The preset ``name`` of a command, from the TOML files that come with the toolkit.

    Raises:
        InputError: There is no such preset.
    """
    folder = files("deepseek").joinpath("configs", *command.split())
    names = sorted(
        item.name.removesuffix(".toml") for item in (folder.iterdir() if folder.is_dir() else ())
    )
    if name not in names:
        there = ", ".join(names) if names else "none"
        raise InputError(
            f"expected a preset of {command} (there are: {there}), got {name!r}",
            hint=_did_you_mean(name, names),
        )
    text = (folder / f"{name}.toml").read_text(encoding="utf-8")
    return Layer(source=f"preset {name}", values=_flatten(tomllib.loads(text)))


def file_layer(path: Path) -> Layer:
    """The keys of a TOML file.

    Raises:
        InputError: The file cannot be read, or is not TOML.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"expected a readable file for --config, got {path}: {error.strerror}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"expected TOML in {path}, found {error}") from error
    return Layer(source=str(path), values=_flatten(table))


def environment_layer(command: str, environ: Mapping[str, str]) -> Layer:
    """Variables such as ``DEEPSEEK_QUANTIZE_MAX_DROP``; a double underscore stands for a dot."""
    prefix = f"{_ENVIRONMENT_PREFIX}{command.upper()}_"
    values = {
        name.removeprefix(prefix).lower().replace("__", "."): value
        for name, value in environ.items()
        if name.startswith(prefix)
    }
    return Layer(
        source="the environment",
        values=values,
        spell=lambda key: prefix + key.upper().replace(".", "__"),
    )


def set_layer(assignments: Iterable[str]) -> Layer:
    """Assignments ``a.b=c`` as given to ``--set``.

    Raises:
        InputError: An assignment has no key or no equals sign.
    """
    values: dict[str, str] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise InputError(f"expected --set key=value, got {assignment!r}")
        values[key.strip().replace("-", "_")] = value.strip()
    return Layer(source="--set", values=values)


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _unknown_key(key: str, layer: Layer, known: Iterable[str]) -> InputError:
    return InputError(
        f"unknown key {layer.spell(key)!r} from {layer.source}",
        hint=_did_you_mean(key, known) or f"the keys are {', '.join(known)}",
    )


def _did_you_mean(word: str, words: Iterable[str]) -> str | None:
    close = get_close_matches(word, list(words), n=1)
    return f"did you mean {close[0]}?" if close else None


def _convert(field: ConfigField, raw: Any, layer: Layer) -> Any:
    origin = f"{layer.spell(field.key)} from {layer.source}"
    if field.choices:
        return _choose(field, raw, origin)
    if field.is_list and isinstance(raw, str):
        raw = [part.strip() for part in raw.split(",") if part.strip()]
    if field.parser is not None:
        try:
            return field.parser(raw)
        except InputError as error:
            raise InputError(f"{origin}: {error.message}", hint=error.hint) from error
    return _validate(field, raw, origin)


def _choose(field: ConfigField, raw: Any, origin: str) -> str:
    text = str(raw)
    for candidate in (text, text.replace("-", "_")):
        if candidate in field.choices:
            return candidate
    raise InputError(
        f"{origin}: expected one of {', '.join(field.choices)}, got {text!r}",
        hint=_did_you_mean(text, field.choices),
    )


def _validate(field: ConfigField, raw: Any, origin: str) -> Any:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(field.kind).validate_python(raw)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Input ").removeprefix("should be ")
        raise InputError(f"{origin}: expected {reason}, got {raw!r}") from error
