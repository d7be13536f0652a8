"""The answer to which model a checkpoint is of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transformers import PretrainedConfig

__all__ = ["Recognised"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recognised:
    """A model class with its configuration.

    Attributes:
        config: The configuration.
        architecture: Name of the class in transformers.
        arguments: What its constructor takes besides the configuration.
        names: For each name in the checkpoint, one that transformers knows for the class.
        left_out: Names in the checkpoint that the class does not use: older ones carry them.
        notes: How it was told and what was assumed.
    """

    config: PretrainedConfig
    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
