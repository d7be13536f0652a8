"""What the data says about the model: size of the vocabulary, classes, channels."""

from typing import Any

from torch import Tensor

from deepseek.data.packed.dataset import PackedDataset
from deepseek.errors import InputError
from deepseek.training.tasks import Vocabulary

__all__ = ["check_fields", "settings_of"]

_NEEDS = {
    "causal_lm": {"tokens"},
    "masked_lm": {"tokens"},
    "sequence_classification": {"tokens", "label"},
    "image_classification": {"image", "label"},
}


def check_fields(task: str, records: PackedDataset) -> None:
    """Refuse records that lack what a task needs.

    Raises:
        InputError: A field is missing, or labels are no classes.
    """
    fields = {field.name: field for field in records.fields}
    missing = sorted(_NEEDS[task] - fields.keys())
    if missing:
        raise InputError(
            f"{records.path}: expected the field {missing[0]} for {task}, "
            f"found {', '.join(fields)}",
        )
    if "label" in _NEEDS[task] and "int" not in fields["label"].dtype:
        raise InputError(
            f"{records.path}: expected labels that are classes for {task}, "
            f"found {fields['label'].dtype}"
        )


def settings_of(task: str, records: PackedDataset, vocabulary: Vocabulary | None) -> dict[str, Any]:
    """Values of a model's configuration that suit the records."""
    settings: dict[str, Any] = {}
    if vocabulary is not None:
        settings["vocab_size"] = vocabulary.size
        settings["bos_token_id"] = settings["eos_token_id"] = vocabulary.end
        # Sequences are never filled up; a model that believed otherwise would not learn the token.
        settings["pad_token_id"] = vocabulary.pad if "label" in _NEEDS[task] else None
    if "label" in _NEEDS[task]:
        settings |= _classes(records)
    if task == "image_classification":
        shape = next(field.shape for field in records.fields if field.name == "image")
        settings["num_channels"] = shape[0] if len(shape) == 3 else 1
        settings["image_size"] = shape[-1]
    return settings


def _classes(records: PackedDataset) -> dict[str, Any]:
    names = records.meta.get("classes")
    if not names:
        parts = (part for part in records.column("label") if isinstance(part, Tensor))
        highest = max(int(part.max()) for part in parts)
        names = [str(number) for number in range(highest + 1)]
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
    }
