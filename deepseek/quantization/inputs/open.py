"""Find out what kind of data lies at ``--calib_data``, and open both parts of it."""

from collections.abc import Sequence
from pathlib import Path

from deepseek.data.packing.item import Source
from deepseek.data.packing.sources.arrays import is_array_file, open_arrays
from deepseek.data.packing.sources.images import is_image_folder, open_images
from deepseek.errors import InputError
from deepseek.formats.model import LoadedModel
from deepseek.progress import Progress, silent
from deepseek.quantization.config import QuantizeFilesConfig
from deepseek.quantization.inputs.arrays import array_encoder
from deepseek.quantization.inputs.images import image_encoder
from deepseek.quantization.inputs.items import Encode, ItemBatches, divide
from deepseek.quantization.inputs.opened import Opened
from deepseek.quantization.inputs.random import RANDOM, RandomBatches
from deepseek.quantization.inputs.texts import open_texts

__all__ = ["open_data"]

_MOST_RANDOM = 1000  # records; more of them say no more
_TRAINING = ("train", "training", "calib", "calibration")
_TESTING = ("test", "testing", "eval", "validation", "valid", "val", "dev")


def open_data(
    config: QuantizeFilesConfig, loaded: LoadedModel, progress: Progress = silent
) -> Opened:
    """Open what lies at ``calib_data``.

    Raises:
        InputError: It does not fit the model, or cannot be read.
    """
    return _other(config, loaded) or open_texts(config, loaded, progress)


def _other(config: QuantizeFilesConfig, loaded: LoadedModel) -> Opened | None:
    """Images, arrays or random inputs; None where it must be texts."""
    place = config.calib_data
    if str(place) == RANDOM and not place.exists():
        return _random(config, loaded)
    folders = _parts(place)
    if all(folder.is_dir() and is_image_folder(folder) for folder in folders):
        sources = [open_images(folder) for folder in folders]
        encoder, note = image_encoder(loaded, config.model, sources[0])
        return _opened(config, sources, encoder, bool(encoder.classes), note)
    files = _array_files(place)
    if files:
        sources = [open_arrays(part) for part in files]
        labelled = loaded.architecture.endswith(("Classification",))
        arrays = array_encoder(
            loaded.model, sources[0], label_column=config.label_column, labelled=labelled
        )
        return _opened(config, sources, arrays, arrays.labelled, "")
    return None


def _random(config: QuantizeFilesConfig, loaded: LoadedModel) -> Opened:
    parts = [
        RandomBatches(
            model=loaded.model,
            records=min(config.samples, _MOST_RANDOM),
            size=config.batch_size,
            seed=2 * config.seed + part,
            max_length=config.max_length,
        )
        for part in range(2)
    ]
    return Opened(
        calibration=parts[0],
        held_out=parts[1],
        counts=(parts[0].records, parts[1].records),
        labelled=False,
        notes=("calibrated and measured on random inputs: this says little about real ones",),
    )


def _opened(
    config: QuantizeFilesConfig,
    sources: Sequence[Source],
    encode: Encode,
    labelled: bool,
    note: str,
) -> Opened:
    if len(sources) == 2:
        parts = [(s, _first(s, config)) for s in sources]
    else:
        chosen = divide(sources[0], config.held_out, config.samples, config.seed)
        parts = [(sources[0], numbers) for numbers in chosen]
    calibration, held_out = (
        ItemBatches(source=source, chosen=numbers, size=config.batch_size, encode=encode)
        for source, numbers in parts
    )
    return Opened(
        calibration=calibration,
        held_out=held_out,
        counts=(len(calibration.chosen), len(held_out.chosen)),
        labelled=labelled,
        notes=(note,) if note else (),
    )


def _first(source: Source, config: QuantizeFilesConfig) -> frozenset[int]:
    """A sample of a source that is one part as a whole."""
    if not source.count:
        raise InputError(f"expected records in {source.name}, found none")
    if source.count == 1:
        return frozenset([0])
    one, other = divide(source, 0.5, source.count, config.seed)
    return frozenset([*other, *one][: config.samples])


def _parts(place: Path) -> list[Path]:
    """The folders of both parts where their names tell them; else the place itself."""
    found = [
        next((place / name for name in names if (place / name).is_dir()), None)
        for names in (_TRAINING, _TESTING)
    ]
    both = [folder for folder in found if folder is not None]
    return both if len(both) == 2 else [place]


def _array_files(place: Path) -> list[list[Path]]:
    """Files of arrays: all in one part, or in two where their names or folders tell them."""
    if place.is_file():
        return [[place]] if is_array_file(place) else []
    parts = _parts(place)
    if len(parts) == 2:
        groups = [_arrays_in(part) for part in parts]
        return groups if all(groups) else []
    files = _arrays_in(place)
    testing = [file for file in files if file.stem.lower() in _TESTING]
    training = [file for file in files if file not in testing]
    return [training, testing] if training and testing else [files] if files else []


def _arrays_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_file() and is_array_file(path))
