"""How a run went, as ``report.json`` says it."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepseek.training.config import TrainConfig
from deepseek.training.metrics import read_metrics
from deepseek.training.run_folder import RunFolder
from deepseek.training.worker import Summary

__all__ = ["make_report", "write_json"]

_SCHEMA = "deepseek.train/1"


def make_report(config: TrainConfig, run: RunFolder, summary: Summary) -> dict[str, Any]:
    """The report of a run, from what it wrote and how it ended."""
    rows = read_metrics(run.metrics)
    steps = [row for row in rows if row["kind"] == "train"]
    judged = [row for row in rows if row["kind"] == "eval"]
    seconds = sum(row["seconds"] for row in steps)
    return {
        "schema": _SCHEMA,
        "run": str(run.root),
        "model": str(run.model),
        "task": config.task,
        **asdict(summary),
        "steps": config.steps,
        "first_loss": steps[0]["loss"] if steps else None,
        "last_loss": steps[-1]["loss"] if steps else None,
        "held_out": None if not judged else _without(judged[-1], "kind"),
        "seconds": seconds,
        "unit": steps[-1]["unit"] if steps else None,
        "units_per_second": sum(row["units"] for row in steps) / seconds if seconds else None,
        "notes": [row["text"] for row in rows if row["kind"] == "note"],
    }


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a document so that it is there complete or as it was before."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)  # noqa: PTH105 - replaces in one step, as rename does not everywhere


def _without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}
