"""Data that is ready: what every process of a run is told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepseek.training.data.records import RecordRange
from deepseek.training.tasks import Vocabulary

__all__ = ["Prepared"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Packed records, and what a model has to know of them.

    Attributes:
        train: What is learnt from.
        held_out: What is judged on.
        longest: Where longer texts are cut.
        tokenizer: The folder of the tokenizer, where there are texts.
        vocabulary: What a task knows of it.
        settings: Values of the model's configuration that the data decides.
    """

    train: RecordRange
    held_out: RecordRange
    longest: int | None = None
    tokenizer: Path | None = None
    vocabulary: Vocabulary | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pad(self) -> int:
        """What short texts are filled up with."""
        return 0 if self.vocabulary is None else self.vocabulary.pad
