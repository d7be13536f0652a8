"""Two reports side by side: what differs in settings, and what came of it."""

from pathlib import Path
from typing import Any

from deepseek.errors import InputError
from deepseek.quantization.documents import read_document

__all__ = ["lay_side_by_side"]

_SCHEMA = "deepseek.quantize/1"


def lay_side_by_side(first: Path, second: Path) -> dict[str, Any]:
    """The figures of two reports, by name; each a pair.

    Args:
        first: An output folder, or its ``report.json``.
        second: Another.

    Raises:
        InputError: There is no such report, or it is not of this command.
    """
    documents = [_read(path) for path in (first, second)]
    figures = [_figures(document) for document in documents]
    notes = []
    for key, text in (("metric", "metrics"), ("n", "numbers of records")):
        if figures[0][key] != figures[1][key]:
            notes.append(f"measured with different {text}: the drops are not comparable")
    if figures[0]["calib_data"] != figures[1]["calib_data"]:
        notes.append("measured on different data: the drops are not comparable")
    notes += [
        f"{path} was calibrated on random data"
        for path, one in zip((first, second), figures, strict=True)
        if one["calib_data"] == "random"
    ]
    names = [{layer["name"] for layer in document["layers"]} for document in documents]
    return {
        "schema": "deepseek.quantize.compare/1",
        "reports": [str(first), str(second)],
        "figures": {key: [one[key] for one in figures] for key in figures[0]},
        "only_in_int8": [sorted(names[0] - names[1]), sorted(names[1] - names[0])],
        "notes": notes,
    }


def _figures(document: dict[str, Any]) -> dict[str, Any]:
    quality, source = document["quality"], document["source"] or {}
    sizes, seconds = document["size_bytes"], document["seconds"]
    return {
        "architecture": document["architecture"],
        "model": source.get("model"),
        "calib_data": source.get("calib_data"),
        "method": document["method"],
        "verdict": document["verdict"],
        "metric": quality["metric"],
        "n": quality["n"],
        "before": quality["before"],
        "after": quality["after"],
        "drop": quality["drop"],
        "drop_low": quality["drop_interval"]["low"],
        "drop_high": quality["drop_interval"]["high"],
        "max_drop": quality["max_drop"],
        "agreement": quality["agreement"],
        "size_before": sizes["before"],
        "size_after": sizes["after"],
        "layers_in_int8": len(document["layers"]),
        "record_seconds_before": seconds["record_before"],
        "record_seconds_after": seconds["record_after"],
    }


def _read(path: Path) -> dict[str, Any]:
    file = path / "report.json" if path.is_dir() else path
    document = read_document(
        file,
        _SCHEMA,
        "a report of deepseek quantize",
        missing="a report",
        hint="name an output folder of deepseek quantize, or its report.json",
    )
    if "verdict" not in document:
        raise InputError(f"{file}: expected a report with a verdict, found that of an old version")
    return document
