"""Texts out of files, tokenized for a model, in two parts."""

from collections.abc import Sequence

from deepseek.data.labels import classes_of, scores_of
from deepseek.data.records import Records, read_records
from deepseek.data.sample import Record
from deepseek.errors import InputError
from deepseek.formats.model import LoadedModel
from deepseek.progress import Progress
from deepseek.quantization.batches import TextBatches
from deepseek.quantization.config import QuantizeFilesConfig
from deepseek.quantization.inputs.opened import Opened

__all__ = ["open_texts"]


def open_texts(config: QuantizeFilesConfig, loaded: LoadedModel, progress: Progress) -> Opened:
    """Read the texts at ``calib_data``.

    Raises:
        InputError: They cannot be read, their labels do not fit, or there is no tokenizer.
    """
    records = read_records(
        config.calib_data,
        text_column=config.text_column,
        label_column=config.label_column,
        held_out=config.held_out,
        limit=config.samples,
        seed=config.seed,
        progress=progress,
    )
    calibration = _batches(config, loaded, records.calibration)
    held_out = _batches(config, loaded, records.held_out)
    return Opened(
        calibration=calibration,
        held_out=held_out,
        counts=(len(records.calibration), len(records.held_out)),
        labelled=held_out.labels is not None,
        notes=_notes(records),
    )


def _labels(loaded: LoadedModel, records: Sequence[Record]) -> Sequence[float] | None:
    """What the records are labelled with, where the model tells a class or a number of each."""
    if not loaded.architecture.endswith("ForSequenceClassification"):
        return None
    if all(record.label is None for record in records):
        return None
    kind, count = loaded.config.problem_type, loaded.config.num_labels
    if kind == "regression" or (kind is None and count == 1):
        return scores_of(records)
    if kind not in (None, "single_label_classification"):
        return None
    names = {name: int(number) for name, number in (loaded.config.label2id or {}).items()}
    return classes_of(records, names, count or len(names))


def _batches(
    config: QuantizeFilesConfig, loaded: LoadedModel, records: Sequence[Record]
) -> TextBatches:
    if loaded.tokenizer is None:
        raise InputError(
            f"expected a tokenizer beside {config.model}, found none",
            hint="--tokenizer names the folder that holds it",
        )
    return TextBatches(
        records=records,
        labels=_labels(loaded, records),
        tokenizer=loaded.tokenizer,
        model=loaded.model,
        size=config.batch_size,
        max_length=config.max_length,
    )


def _notes(records: Records) -> tuple[str, ...]:
    if not records.empty:
        return ()
    return (f"{records.empty} rows without text were passed over",)
