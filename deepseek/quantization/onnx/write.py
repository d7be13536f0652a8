"""Write a quantized program: a folder with all that goes with it, or a file with reports beside."""

from pathlib import Path
from typing import Any

import onnx

from deepseek.formats.model import LoadedModel
from deepseek.quantization.onnx.module import OnnxModule
from deepseek.quantization.onnx.prepare import is_large
from deepseek.quantization.report import Report
from deepseek.quantization.write import stamp, write_reports

__all__ = ["COMPANIONS", "write_program"]

COMPANIONS = (".data", ".report.json", ".report.html")
"""Endings of what lies beside a program that is written as a file."""


def write_program(place: Path, model: OnnxModule, report: Report, loaded: LoadedModel) -> None:
    """Write.

    Args:
        place: Where; a name that ends in ``.onnx`` is a file, any other a folder.
        model: The quantized program.
        report: What was done to it.
        loaded: What it was made from.
    """
    if place.suffix == ".onnx":
        _save(model.path, place, report)
        reports = (place.with_name(f"{place.name}{ending}") for ending in COMPANIONS[1:])
        write_reports(report, *reports)
        return
    place.mkdir()
    _save(model.path, place / "model.onnx", report)
    settings: Any = loaded.config
    if getattr(settings, "model_type", ""):
        settings.architectures = [loaded.architecture]
        settings.to_json_file(place / "config.json")
    if loaded.tokenizer is not None:
        loaded.tokenizer.save_pretrained(place)
    write_reports(report, place / "report.json", place / "report.html")


def _save(source: Path, dest: Path, report: Report) -> None:
    program = onnx.load(source)
    said = {**stamp(report), "format": "onnx", "method": report.method}
    for key, value in said.items():
        program.metadata_props.append(
            onnx.StringStringEntryProto(key=f"deepseek.{key}", value=value)
        )
    large = is_large(source)
    onnx.save(program, dest, save_as_external_data=large, location=f"{dest.name}.data")
