"""Quantize a checkpoint on texts out of files, and write the folder if it lost little."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from deepseek.formats.model import LoadedModel, load_model
from deepseek.outputs import refuse_existing, staged
from deepseek.progress import Progress, silent
from deepseek.quantization.config import QuantizeFilesConfig
from deepseek.quantization.formats import format_of
from deepseek.quantization.inputs.open import open_data
from deepseek.quantization.inputs.opened import Opened
from deepseek.quantization.quantize import quantize_on
from deepseek.quantization.report import Report, Source
from deepseek.quantization.write import write_folder

__all__ = ["quantize_files"]


def quantize_files(config: QuantizeFilesConfig, progress: Progress = silent) -> Report:
    """Quantize a checkpoint.

    The folder is written only when the loss is within the budget, or ``allow_drop`` is set.

    Raises:
        InputError: The checkpoint, the data or the output cannot be used.
    """
    began = time.perf_counter()
    if format_of(config.format, config.model, config.output) == "onnx":
        return _as_program(config, began, progress)
    refuse_existing(config.output, overwrite=config.overwrite)
    loaded = _loaded(config)
    opened = open_data(config, loaded, progress)
    model, report = quantize_on(
        loaded.model,
        opened.calibration,
        opened.held_out,
        config,
        progress,
        state_file=_state_file(config),
        resume=config.resume,
    )
    report = _completed(report, config, loaded, opened, began)
    if report.output:
        with staged(config.output, overwrite=config.overwrite) as place:
            write_folder(place, model, report, loaded.tokenizer)
    return report


def _as_program(config: QuantizeFilesConfig, began: float, progress: Progress) -> Report:
    from deepseek.quantization.onnx.quantize import quantize_program
    from deepseek.quantization.onnx.source import load_program
    from deepseek.quantization.onnx.write import COMPANIONS, write_program

    beside = COMPANIONS if config.output.suffix == ".onnx" else ()
    refuse_existing(config.output, overwrite=config.overwrite, companions=beside)
    loaded = load_program(config) if config.model.suffix == ".onnx" else _loaded(config)
    opened = open_data(config, loaded, progress)
    with tempfile.TemporaryDirectory(prefix="deepseek-") as folder:
        model, report = quantize_program(
            loaded,
            opened.calibration,
            opened.held_out,
            config,
            Path(folder),
            progress,
            state_file=_state_file(config),
            resume=config.resume,
        )
        report = _completed(report, config, loaded, opened, began)
        if report.output:
            with staged(config.output, overwrite=config.overwrite, companions=beside) as place:
                write_program(place, model, report, loaded)
    return report


def _loaded(config: QuantizeFilesConfig) -> LoadedModel:
    return load_model(
        config.model,
        config=config.model_config,
        allow_globals=config.allow_global,
        tokenizer=config.tokenizer,
    )


def _state_file(config: QuantizeFilesConfig) -> Path:
    return config.output.with_name(f"{config.output.name}.search.json")


def _completed(
    report: Report,
    config: QuantizeFilesConfig,
    loaded: LoadedModel,
    opened: Opened,
    began: float,
) -> Report:
    keep = report.quality.passed or config.allow_drop
    return replace(
        report,
        timing=replace(report.timing, total=time.perf_counter() - began),
        notes=(*loaded.notes, *opened.notes),
        source=_source(config, opened),
        output=str(config.output) if keep else None,
    )


def _source(config: QuantizeFilesConfig, opened: Opened) -> Source:
    return Source(
        model=str(config.model),
        calib_data=str(config.calib_data),
        calibration=opened.counts[0],
        held_out=opened.counts[1],
        labelled=opened.labelled,
    )
