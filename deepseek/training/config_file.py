"""The configuration of a run as a TOML file, which ``--config`` takes back."""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from deepseek.errors import InputError

__all__ = ["config_to_toml", "differences"]

_OF_ONE_CALL = {"overwrite", "resume", "plan"}


def config_to_toml(config: Any) -> str:
    """Every value of a configuration dataclass, except what only made sense for one call."""
    return "".join(f"{key} = {text}\n" for key, text in _assignments(config))


def differences(config: Any, path: Path) -> list[str]:
    """What of a configuration differs from the file that ``config_to_toml`` wrote, in words.

    Raises:
        InputError: The file is not TOML.
    """
    try:
        before = tomllib.loads(path.read_text(encoding="utf-8"))
        now = tomllib.loads(config_to_toml(config))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: expected TOML, {error}") from error
    old, new = dict(_flat(before)), dict(_flat(now))
    return [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]


def _assignments(config: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    for field in fields(config):
        key, value = prefix + field.name, getattr(config, field.name)
        if is_dataclass(value):
            yield from _assignments(value, f"{key}.")
        elif value is not None and key not in _OF_ONE_CALL:
            yield key, json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
