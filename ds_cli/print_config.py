"""``--print_config``: the resolved configuration as TOML that ``--config`` takes back."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.text import Text

from ds_cli.outcome import Outcome
from ds_cli.settings import Resolved

__all__ = ["config_as_toml"]


def config_as_toml(command: str, resolved: Resolved) -> Outcome:
    """Every key with its value, and in a comment where the value came from."""
    lines = [f"# deepseek {command}"]
    for key, value in resolved.values.items():
        assignment = f"# {key} is not set" if value is None else f"{key} = {_toml(value)}"
        lines.append(f"{assignment}  # {resolved.sources[key]}")
    document = {
        "schema": "deepseek.config/1",
        "command": command,
        "values": {key: _plain(value) for key, value in resolved.values.items()},
        "sources": resolved.sources,
    }
    return Outcome(document=document, view=Text("\n".join(lines), no_wrap=True))


def _toml(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value
